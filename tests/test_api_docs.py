"""What docs/api.md says is true: each of its examples is run against an instance, and its table is that of the code."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from test_destination_docs import generate

from postroom.ids import now_ms
from postroom.store import tokens as store_tokens
from postroom.store.writer import Writer
from postroom.web import tokens
from tests.conftest import Start
from tests.instance import document

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
RULES = """\
rules:
  - {name: Wait, when: {subject: {contains: wait}}, then: [hold: {reason: wait}]}
  - {name: Everything, when: always, then: [archive]}
"""


def test_the_table_of_routes_is_that_of_the_code() -> None:
    assert generate.api_page(PAGE) == PAGE, "`make docs` renews it"


def test_every_example_does_what_it_says(start_instance: Start, tmp_path: Path) -> None:
    house = start_instance(rules=RULES)
    file = {"Name": "log.txt", "ContentType": "text/plain", "ContentId": None, "Content": "YWJj"}
    message = house.post(document("Printer on fire", attachments=[file])).message
    held = house.post(document("Please wait")).message
    (delivery,) = house.wait_for_states(message, "delivered")
    key = tokens.new_key()
    Writer(house.database).run(
        lambda db: store_tokens.add(db, tokens.hash_of(key), "docs", "editor", None, "test", now_ms())
    )
    names = {
        "KEY": key,
        "POSTROOM": f"http://127.0.0.1:{house.port}",
        "MESSAGE": message,
        "HELD": held,
        "DELIVERY": delivery["id"],
        "PATH": "/usr/bin:/bin",
    }
    examples = [
        line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines() if line
    ]
    assert len(examples) > 15
    for example in examples:
        command = ["sh", "-c", example.replace("curl ", "curl -sS --fail-with-body ", 1)]
        run = subprocess.run(command, env=names, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert run.returncode == 0, (example, run.stdout, run.stderr)
        if " -o " not in example:
            assert json.loads(run.stdout), example
    assert (tmp_path / "log.txt").read_bytes() == b"abc"
    assert (house.folder / "rules" / "extra.yaml").read_text() == "rules: []\n"
