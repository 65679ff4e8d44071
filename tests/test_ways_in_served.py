"""Ways in through the front door: the real server, real sockets, the program as it is wired."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.instance import Instance
from tests.senders import EC_KEY, SECRET, SENDERS, SOURCE, der, mailgun, mandrill_signature, sendgrid_signature
from tests.waysin import basic, multipart

URL = "https://mail.example.com"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    instance = Instance(
        tmp_path_factory.mktemp("waysin"),
        server={"public_url": URL},
        ingress={
            "raw": {"token": SECRET},
            "mailgun": {"signing_key": SECRET},
            "postmark": {"password": SECRET, "allow_ips": ["127.0.0.1"]},
            "mandrill": {"webhook_key": SECRET},
            "sendgrid": {"public_key": der(EC_KEY)},
            "far": {"kind": "postmark", "password": SECRET, "allow_ips": ["192.0.2.1"]},
        },
    )
    try:
        yield instance.start()
    finally:
        instance.kill()


@pytest.fixture(autouse=True)
def well(house: Instance) -> Iterator[None]:
    yield
    assert house.get("/readyz").status == 200
    assert "Traceback" not in house.log() and SECRET not in house.log()


def test_headers_that_come_several_times(house: Instance) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=30)
    body = SOURCE.replace("one@", "headers@").encode()
    connection.putrequest("POST", "/inbound/raw")
    for name, value in (
        ("Content-Type", "message/rfc822; charset=utf-8"), ("Content-Length", str(len(body))),
        ("Authorization", f"Bearer {SECRET}"), ("X-Envelope-From", "<>"), ("X-Envelope-To", "a@in.example.com"),
        ("X-Envelope-To", "<b@in.example.com>"), ("X-Envelope-To", "c@in.example.com, d@in.example.com"),
    ):  # fmt: skip
        connection.putheader(name, value)
    connection.endheaders(body)
    answer = connection.getresponse()
    messages = json.loads(answer.read())["messages"]
    stored = [house.history().message(each) for each in messages]
    found = [each.message.recipient.address for each in stored if each is not None]
    assert found == [f"{name}@in.example.com" for name in "abcd"]
    assert all(each is not None and each.message.return_path.address == "" for each in stored)


def test_each_goes_through_rules_and_out(house: Instance) -> None:
    raw = {"Authorization": f"Bearer {SECRET}", "X-Envelope-To": "help@in.example.com"}
    body, kind = mailgun("s" * 50)
    answers = {
        "raw": house.post(SOURCE.encode(), path="/inbound/raw", content_type="message/rfc822", headers=raw),
        "mailgun": house.post(body, path="/inbound/mailgun", content_type=kind),
        "postmark": house.post(SENDERS["postmark"].sample()[0], path="/inbound/postmark", headers=basic(SECRET)),
    }
    for name, answer in answers.items():
        assert house.wait_for_states(answer.message, "delivered"), name
        found = house.history().message(answer.message)
        assert found is not None and found.message.ingress == name


def test_a_large_form_in_chunks(house: Instance) -> None:
    content = bytes(range(256)) * 12_000
    body, kind = multipart(
        ("headers", "Subject: Large\r\nMessage-ID: <large@example.org>"), ("from", "jo@example.org"),
        ("envelope", '{"to": ["help@in.example.com"], "from": "jo@example.org"}'),
        ("attachment1", content, "a.bin", "application/octet-stream"),
    )  # fmt: skip
    headers = {**sendgrid_signature(body), "Content-Type": kind}
    pieces = (body[start : start + 100_000] for start in range(0, len(body), 100_000))
    answer = house.request("POST", "/inbound/sendgrid", body=pieces, headers=headers)
    found = house.history().message(answer.message)
    assert found is not None and found.message.attachments[0].size == len(content)


def test_mandrill_looks_and_signs_the_public_url(house: Instance) -> None:
    assert house.request("HEAD", "/inbound/mandrill").status == 200
    assert house.request("HEAD", "/inbound/raw").status == 405
    fields = {"mandrill_events": json.dumps([{"event": "inbound", "msg": {"raw_msg": SOURCE, "email": "m@x.example"}}])}
    headers = {"X-Mandrill-Signature": mandrill_signature(fields, url=f"{URL}/inbound/mandrill")}
    body, kind = multipart(*fields.items())
    assert house.post(body, path="/inbound/mandrill", content_type=kind, headers=headers).message


def test_addresses_that_are_not_allowed_are_403(house: Instance) -> None:
    body = SENDERS["postmark"].sample()[0]
    assert house.post(body, path="/inbound/far", headers=basic(SECRET)).status == 403


def test_check_finds_a_rule_on_a_way_in_that_is_not_there(make_instance: Start) -> None:
    rules = "rules:\n  - name: A\n    when: {ingress: mailgn}\n    then: [archive]\n"
    instance = make_instance(rules=rules, ingress={"mailgun": {"signing_key": SECRET}})
    told = instance.command("check")
    assert told.returncode == 1
    assert "config.yaml has no ingress 'mailgn'; did you mean 'mailgun'?" in told.stdout + told.stderr


def test_the_pipe_script_is_one_that_runs(tmp_path: Path) -> None:
    """What it tells a mail server without any: its exit code says to try again later."""

    script = Path(__file__).parent.parent / "contrib" / "postroom-pipe"
    done = subprocess.run([script, "x"], capture_output=True, text=True, check=False)
    assert done.returncode == 75 and "usage" in done.stdout
