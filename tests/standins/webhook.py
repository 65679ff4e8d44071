from __future__ import annotations

from typing import Any

from postroom.fields import Secret
from tests.kinds import SECRET
from tests.servers import Request
from tests.standins import Standin


class WebhookStandin(Standin):
    kind = "webhook"
    takes_attachments = False

    def options(self) -> dict[str, Any]:
        secrets = {"secret": [Secret(SECRET)], "headers": {"Authorization": Secret(f"Bearer {SECRET}")}}
        return {"url": f"{self.receiver.url}/hook", **secrets}

    def made(self) -> int:
        return len(self._received())

    def texts(self) -> list[str]:
        return [str(request.json()["body"]) for request in self._received().values()]

    def _received(self) -> dict[str, Request]:
        """By webhook-id: what comes again, a receiver ignores."""
        found: dict[str, Request] = {}
        for request in self.receiver.requests:
            found.setdefault(request.headers["webhook-id"], request)
        return found
