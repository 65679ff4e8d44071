"""Stand-ins for the systems that integrations deliver to: one module a kind, with its class `<Kind>Standin`.

They have the documented states, errors and limits. What they speak is HTTP over a real socket.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, ClassVar

from postroom import testing
from postroom.integration import Integration
from tests.kinds import build


class Standin(testing.Standin):
    """A stand-in that names its kind as config.yaml does."""

    kind: ClassVar[str]

    def integration(self, **options: Any) -> Integration:
        return build(self.kind, self.data_dir, timeout=0.5, **(self.options() | options))


def standins() -> dict[str, type[Standin]]:
    """Every kind's stand-in by kind."""
    found = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for each in vars(module).values():
            if isinstance(each, type) and issubclass(each, Standin) and each.__module__ == module.__name__:
                found[each.kind] = each
    return found
