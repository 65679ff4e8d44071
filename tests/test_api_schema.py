"""Every answer of the API is one that its OpenAPI document tells of, whatever is asked: schemathesis asks."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import schemathesis
from api_site import KEYS, ApiSite
from hypothesis import HealthCheck, settings

_FOLDER = tempfile.TemporaryDirectory()
SITE = ApiSite(Path(_FOLDER.name))
schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", SITE.app)


def test_the_document_is_openapi_3_1() -> None:
    assert schema.raw_schema["openapi"].startswith("3.1")
    schema.validate()


@schema.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_answer_is_outside_of_the_document(case: Any) -> None:
    case.call_and_validate(headers={"Authorization": f"Bearer {KEYS['edda']}"})
