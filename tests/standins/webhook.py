from __future__ import annotations

from typing import Any

from postroom.fields import Secret
from tests.kinds import SECRET
from tests.standins import Standin


class WebhookStandin(Standin):
    kind = "webhook"

    def options(self) -> dict[str, Any]:
        secrets = {"secret": [Secret(SECRET)], "headers": {"Authorization": Secret(f"Bearer {SECRET}")}}
        return {"url": f"{self.receiver.url}/hook", **secrets}

    def made(self) -> int:
        return len({request.headers["webhook-id"] for request in self.receiver.requests})
