"""Every answer of the API is one that its OpenAPI document tells of, whatever is asked: schemathesis asks."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from api_site import KEYS, ApiSite
from flask import Flask
from hypothesis import HealthCheck, settings
from schemathesis.core import NOT_SET
from schemathesis.core.failures import FailureGroup

from postroom.web.api import serving
from postroom.web.api.contract import Call, Done, Fault, Route

_FOLDER = tempfile.TemporaryDirectory()
SITE = ApiSite(Path(_FOLDER.name))
MESSAGES = [
    SITE.store.message(f"A crash {number}", state=state, files=(("log.txt", b"bytes of %d" % number),))
    for number, state in enumerate(("routed", "held", "unmatched", "routed"))
]
DELIVERIES = [
    SITE.store.delivery(MESSAGES[0], state, attempts=((1, 2, "failed", 500, "no", "no"),))
    for state in ("delivered", "dead", "retrying", "pending")
]
SITE.store.delivery(MESSAGES[3], "dead")
AUTHORIZED = {"Authorization": f"Bearer {KEYS['edda']}"}
BOUNDED = settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", SITE.app)


def test_the_document_is_openapi_3_1() -> None:
    assert schema.raw_schema["openapi"].startswith("3.1")
    schema.validate()


@schema.parametrize()
@BOUNDED
def test_no_answer_is_outside_of_the_document(case: Any) -> None:
    case.call_and_validate(headers=AUTHORIZED)


OF_ONE = {"messages": MESSAGES, "deliveries": DELIVERIES, "destinations": ["archive", "jira"], "users": ["edda"]}


@pytest.mark.parametrize("what", OF_ONE)
def test_nor_about_things_that_are_there(what: str) -> None:
    """What is made up names nothing that is there: here each path is asked about something that is."""
    asked = 0
    for operation in (found.ok() for found in schema.get_all_operations()):
        if operation.path.startswith(f"/api/v1/{what}/{{"):
            for named in OF_ONE[what]:
                name = "id" if "{id}" in operation.path else "name"
                parameters = {name: named, **({"n": 0} if "{n}" in operation.path else {})}
                body = {} if operation.body else NOT_SET
                case = operation.Case(path_parameters=parameters, body=body, media_type="application/json")
                asked += case.call_and_validate(headers=AUTHORIZED).status_code == 200
    assert asked or what == "users"


@pytest.mark.parametrize("fault", ["status", "member", "server"])
def test_the_test_itself_sees_faults(fault: str) -> None:
    def handler(_: Call) -> Any:
        if fault == "status":
            raise Fault(409, "It is not in the document.")
        if fault == "server":
            raise RuntimeError
        return {"done": "perhaps"}

    app = Flask(__name__)
    serving.install(app, [Route("GET", "/broken", "It is.", handler, Done, role="")], lambda header: None)
    broken = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app)
    with pytest.raises(FailureGroup):
        broken["/api/v1/broken"]["GET"].Case().call_and_validate()
