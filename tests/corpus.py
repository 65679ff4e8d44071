"""The corpus of test mail: it lies beside the project, or where POSTROOM_TEST_MAIL says, and is no part of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.instance import ROOT

PLACE = Path(os.environ.get("POSTROOM_TEST_MAIL") or ROOT.parent / "shared" / "mail")
EML = sorted(path for path in PLACE.glob("eml/**/*") if path.is_file())
SOCKETLABS = sorted(PLACE.glob("socketlabs/*.jsonl"))
REPLIES = PLACE / "reply_cases.jsonl"
RECORDED = PLACE / "provider_payloads.jsonl"


def _needs(what: str, there: bool) -> pytest.MarkDecorator:
    reason = f"the corpus of test mail is not here: no {what} in {PLACE}; POSTROOM_TEST_MAIL names its place"
    return pytest.mark.skipif(not there, reason=reason)


needs_eml = _needs("eml/", bool(EML))
needs_socketlabs = _needs("socketlabs/*.jsonl", bool(SOCKETLABS))
needs_replies = _needs(REPLIES.name, REPLIES.exists())
needs_recorded = _needs(RECORDED.name, RECORDED.exists())
