"""What tests need that is not everywhere."""

from __future__ import annotations

import os

import pytest


def require(reason: str | None) -> None:
    """`reason`: why something is absent. With one tests fail where CI=true, and are skipped elsewhere."""
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    if reason:
        pytest.skip(reason)
