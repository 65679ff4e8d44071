from __future__ import annotations

from typing import Any

from tests.standins import Standin


class FileStandin(Standin):
    kind = "file"
    speaks_http = False

    def options(self) -> dict[str, Any]:
        return {"path": "out/delivered.jsonl"}

    def made(self) -> int:
        path = self.data_dir / "out/delivered.jsonl"
        return len(path.read_text().splitlines()) if path.exists() else 0
