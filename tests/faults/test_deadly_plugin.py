"""A destination that ends the dispatcher each time it is tried."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Start
from tests.instance import document

PLUGIN = '''
"""A kind that takes the whole process with it."""
import os
from dataclasses import dataclass
from postroom.integration import Guarantee, Integration, Job, Receipt, setting

@dataclass(frozen=True)
class Options:
    word: str = setting("any word", default="x")

@dataclass(frozen=True)
class Fields:
    pass

class Deadly(Integration):
    kind = "deadly"
    summary = "Ends the process."
    guarantee = Guarantee.NONE
    makes_items = False
    Options = Options
    Fields = Fields

    def deliver(self, job: Job) -> Receipt:
        os._exit(1)
'''

RULES = """\
rules:
  - name: Deadly
    when: {recipient.user: deadly}
    then: [deadly]
    stop: true
  - name: Everything else
    when: always
    then: [archive]
"""


def test_a_delivery_that_ends_the_program_is_given_up_and_mail_is_taken_meanwhile(
    make_instance: Start, tmp_path: Path
) -> None:
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / "deadly.py").write_text(PLUGIN, encoding="utf-8")
    deadly = {"kind": "deadly", "retry": ["0s", "0s", "0s"]}
    instance = make_instance(rules=RULES, destinations={"deadly": deadly}, plugins_dir=str(plugins)).start()
    fatal = instance.post(document("fatal", recipient="deadly@customer.example")).message
    other = instance.post(document("other")).message
    (dead,) = instance.wait_for_states(fatal, "dead", seconds=40)
    assert "the program ended" in dead["reason"]
    assert dead["attempts"] == 3
    instance.wait_for_states(other, "delivered", seconds=40)
    assert "giving up" not in instance.log()
