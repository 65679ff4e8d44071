"""Kind `webhook`: bodies, headers, signatures over what is sent, and which answers are success."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from postroom.exchange import DeliveryError
from postroom.fields import Secret
from postroom.integration import Integration
from tests.kinds import build, job
from tests.servers import Receiver, Reply, Request


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        yield server


def signed(request: Request, *secrets: bytes) -> bool:
    """As a receiver checks it: over the bytes that came."""
    said = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    wanted = [base64.b64encode(hmac.new(secret, said, hashlib.sha256).digest()).decode() for secret in secrets]
    return request.headers["webhook-signature"] == " ".join(f"v1,{each}" for each in wanted)


def hook(receiver: Receiver, folder: Path, **options: Any) -> Integration:
    return build("webhook", folder, url=receiver.url, **options)


# Bodies


def test_a_form(receiver: Receiver, tmp_path: Path) -> None:
    form = {"text": "Grüße & more = 1+1\n@all", "empty": "", "payload[x]": "y"}
    hook(receiver, tmp_path, secret=[Secret("new"), Secret("old")]).deliver(job(form=form))
    (request,) = receiver.requests
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qsl(request.body.decode("ascii"), keep_blank_values=True) == list(form.items())
    assert signed(request, b"new", b"old")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_raw_body(receiver: Receiver, tmp_path: Path, method: str) -> None:
    xml = '<alert from="Jo">Grüße</alert>\n'
    options = {"content_type": "application/xml", "method": method, "secret": [Secret("key")]}
    hook(receiver, tmp_path, **options).deliver(job(raw=xml))
    (request,) = receiver.requests
    assert (request.body, request.method) == (xml.encode(), method)
    assert request.headers["content-type"] == "application/xml" and signed(request, b"key")


@pytest.mark.parametrize("raw", ["", None])
def test_a_raw_body_that_came_out_empty(receiver: Receiver, tmp_path: Path, raw: str | None) -> None:
    hook(receiver, tmp_path, secret=[Secret("key")]).deliver(job(raw=raw))
    (request,) = receiver.requests
    assert request.body == b"" and request.headers["content-length"] == "0" and signed(request, b"key")
    assert request.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"data": {}, "raw": "x"}, "data and raw"),
        ({"form": {"a": "b"}, "raw": "x"}, "form and raw"),
        ({"data": [], "form": {}}, "data and form"),
    ],
)
def test_two_bodies_are_one_too_many(receiver: Receiver, tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(DeliveryError, match=words) as caught:
        hook(receiver, tmp_path).deliver(job(**fields))
    assert caught.value.permanent and not receiver.requests


def test_the_signature_covers_json_as_it_is_sent(receiver: Receiver, tmp_path: Path) -> None:
    integration = hook(receiver, tmp_path, secret=[Secret("whsec_" + base64.b64encode(b"raw key").decode())])
    integration.deliver(job(data={"ü": [1, None], "b": "\u2028"}))
    integration.deliver(job())
    assert all(signed(request, b"raw key") for request in receiver.requests)


# Headers


def test_headers_of_a_rule(receiver: Receiver, tmp_path: Path) -> None:
    integration = hook(receiver, tmp_path, headers={"Authorization": Secret("Bearer x"), "X-A": Secret("ours")})
    headers = {
        "x-subject": " voilà ",
        "authorization": "Basic y",
        "x-a": "theirs",
        "content-type": "application/ld+json",
    }
    integration.deliver(job(data={}, headers=headers))
    sent = receiver.requests[0].headers
    assert sent["x-subject"].encode("latin-1").decode() == "voilà"
    assert (sent["authorization"], sent["x-a"]) == ("Bearer x", "ours")
    assert sent["content-type"] == "application/ld+json"


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({"X-A": "a\r\nX-B: b"}, "holds what no header may hold"),
        ({"X-A": "a\nb"}, "holds what no header may hold"),
        ({"X-A": "a\x00b"}, "holds what no header may hold"),
        ({"X-A\r\nB": "a"}, "cannot be set"),
        ({"X A": "a"}, "cannot be set"),
        ({"Host": "evil.example"}, "cannot be set"),
        ({"Content-Length": "1"}, "cannot be set"),
        ({"Webhook-Id": "1"}, "cannot be set"),
        ({"webhook-signature": "v1,x"}, "cannot be set"),
    ],
)
def test_headers_that_are_refused(receiver: Receiver, tmp_path: Path, headers: dict[str, str], words: str) -> None:
    with pytest.raises(DeliveryError, match=words) as caught:
        hook(receiver, tmp_path).deliver(job(headers=headers))
    assert caught.value.permanent and not receiver.requests


# Answers


@pytest.mark.parametrize(("status", "well"), [(200, True), (409, True), (303, True), (201, False), (204, False)])
def test_success_as_the_destination_says(receiver: Receiver, tmp_path: Path, status: int, well: bool) -> None:
    receiver.answer = Reply(status, headers={"Location": "http://elsewhere.example/"})
    integration = hook(receiver, tmp_path, success=[200, 303, 409])
    if well:
        integration.deliver(job())
        return
    with pytest.raises(DeliveryError, match=f"answered {status}, which `success` does not name") as caught:
        integration.deliver(job())
    assert caught.value.unknown and not caught.value.permanent


def test_other_answers_are_sorted_as_ever(receiver: Receiver, tmp_path: Path) -> None:
    integration = hook(receiver, tmp_path, success=[200, 409])
    for status, permanent, unknown in ((400, True, False), (503, False, True), (301, True, False)):
        receiver.answer = Reply(status)
        with pytest.raises(DeliveryError) as caught:
            integration.deliver(job())
        assert (caught.value.permanent, caught.value.unknown) == (permanent, unknown)


def test_gone_closes_the_destination(receiver: Receiver, tmp_path: Path) -> None:
    receiver.answer = Reply(410, b"no such hook")
    with pytest.raises(DeliveryError) as caught:
        hook(receiver, tmp_path).deliver(job())
    error = caught.value
    assert error.closed and error.permanent and error.status == 410 and error.answer == "no such hook"
    hook(receiver, tmp_path, success=[410]).deliver(job())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"success": [200, 99]}, "success: 99 is no status"),
        ({"success": [600]}, "success: 600 is no status"),
        ({"content_type": "text/plain\r\nX-A: b"}, "content_type: .* holds what no header may hold"),
    ],
)
def test_refuses_settings(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build("webhook", tmp_path, url="http://x", **options)


def test_nothing_is_asked_by_a_check(receiver: Receiver, tmp_path: Path) -> None:
    assert list(hook(receiver, tmp_path).check()) == [] and not receiver.requests
