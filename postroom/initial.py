"""The first config.yaml, with fresh secrets."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

_TEMPLATE = Path(__file__).with_name("config.initial.yaml")


def write_config(path: Path, *, listen: str, public_url: str | None, rules_dir: str) -> None:
    """Writes a new file that only its owner can read. Raises FileExistsError where there is one."""
    values = {
        "LISTEN": listen,
        "PUBLIC_URL": public_url or f"http://{listen}",
        "RULES_DIR": rules_dir,
        "SECRET_KEY": secrets.token_urlsafe(24),
        "VALIDATION_KEY": secrets.token_urlsafe(24),
    }
    text = _TEMPLATE.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
