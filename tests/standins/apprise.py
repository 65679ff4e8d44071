from __future__ import annotations

from typing import Any
from urllib.parse import quote

from postroom.fields import Secret
from tests.kinds import SECRET
from tests.standins import Standin


class AppriseStandin(Standin):
    """A service of apprise that takes JSON: what it answers, apprise makes true or false of."""

    kind = "apprise"
    speaks_http = False
    """Not by our road: what an answer means, apprise decides."""

    def options(self) -> dict[str, Any]:
        address = self.receiver.url.removeprefix("http://")
        return {"url": [Secret(f"json://postroom:{quote(SECRET, safe='')}@{address}/take")]}

    def integration(self, **options: Any) -> Any:
        integration = super().integration(**options)
        integration.http.timeout = 20.0  # a process takes longer to start than an exchange
        return integration

    def made(self) -> int:
        return len(self.receiver.requests)

    def texts(self) -> list[str]:
        return [request.json()["message"] for request in self.receiver.requests]
