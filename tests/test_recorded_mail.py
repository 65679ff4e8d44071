"""Every recorded request of a provider, signed anew for a way in of ours, becomes the mail that was recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from postroom.message import Message
from tests.corpus import needs_recorded
from tests.senders import (
    EC_KEY,
    SECRET,
    SENDERS,
    Web,
    der,
    mandrill_sign,
    sns,
    svix,
)
from tests.waysin import Answer, Desk, Recorded, named, recorded

pytestmark = needs_recorded

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path)
    for kind, sender in SENDERS.items():
        sender.start(made, kind)
    made.add("sendgrid", f"public_key: {der(EC_KEY)}\npassword: {SECRET}", name="both")
    return made


def post(desk: Desk, each: Recorded) -> Answer:
    """The request as its provider would send it to us: same body, our keys."""
    sender, body = SENDERS[each.provider], each.body
    if each.provider == "amazon_ses":
        told = json.loads(body)
        body = json.dumps(
            sns(told["Message"], **{name: told[name] for name in ("MessageId", "Subject") if name in told})
        )
        return desk.post("amazon_ses", body.encode(), each.content_type)
    return desk.post(each.provider, body, each.content_type, sender.sign(body, each.content_type))


def addresses(found: tuple[Any, ...]) -> list[str]:
    return [each.address for each in found]


def one(desk: Desk, provider: str, name: str) -> tuple[Message, Any]:
    answer = post(desk, named(provider, name))
    assert len(answer.messages) == 1
    message, payload = desk.only()
    return message, json.loads(payload)


NO_MAIL = {
    ("amazon_ses", "test_inbound_s3"): 400,
    ("amazon_ses", "test_inbound_s3_failure_message"): 400,
    ("amazon_ses", "test_incorrect_tracking_event"): 400,
    ("brevo", "test_misconfigured_tracking"): 400,
    ("mailersend", "test_misconfigured_inbound"): 400,
    ("postal", "test_misconfigured_tracking"): 400,
    ("postmark", "test_misconfigured_tracking"): 403,
    ("sendgrid", "test_not_supported_warning"): 400,
}
"""Requests that hold no mail, and what each provider is told."""


@pytest.mark.parametrize("each", recorded(), ids=lambda each: f"{each.provider}-{each.number}")
def test_each_is_answered_as_its_provider_needs(desk: Desk, each: Recorded) -> None:
    if each.provider == "mailgun":
        assert desk.post("mailgun", each.body, each.content_type).status in (401, 415), "see test_mailgun.py"
        return
    answer = post(desk, each)
    if (expected := NO_MAIL.get((each.provider, each.name))) is not None:
        assert answer.status == expected and desk.stored() == []
    elif each.provider == "resend":
        # They name no mail, one that our Resend does not have, or none at all.
        event = json.loads(each.body)
        received = event["type"] == "email.received"
        assert answer.status == (400 if received else 200) and desk.stored() == []
    elif each.provider == "brevo" and each.name == "test_attachments":
        assert answer.messages and len(desk.only()[0].notices) == 4
    else:
        assert len(answer.messages) == 1
        assert SECRET.encode() not in desk.only()[1]


def test_postmark(desk: Desk) -> None:
    message, payload = one(desk, "postmark", "test_inbound_basics")
    assert message.recipient.address == "test@inbound.example.com"
    assert message.return_path.address == "envelope-from@example.org"
    assert message.from_ is not None and (message.from_.address, message.from_.name) == (
        "from+test@example.org", "Displayed From",
    )  # fmt: skip
    assert addresses(message.to) == ["test@inbound.example.com", "other@example.com"]
    assert addresses(message.cc) == ["cc@example.com"] and addresses(message.reply_to) == [
        "from+test@milter.example.org"
    ]
    assert (message.subject, message.text, message.html) == (
        "Test subject", "Test body plain", "<div>Test body html</div>",
    )  # fmt: skip
    assert message.message_id == "<CAEPk3R+4Zr@mail.example.org>" and message.spam_score == 1.7
    assert message.header("Date") == "Wed, 11 Oct 2017 18:31:04 -0700"
    assert payload["StrippedTextReply"] == "stripped plaintext body"


def test_postmark_with_the_raw_mail(desk: Desk) -> None:
    message, payload = one(desk, "postmark", "test_inbound_with_raw_email")
    assert message.recipient.address == "test@inbound.example.com"
    assert message.return_path.address == "envelope-from@example.org"
    assert [file.name for file in message.attachments] == ["attachment.txt"], "those of the raw mail, none twice"
    assert message.header("X-No-Duplicates") is None and message.spam_score is None
    assert payload["Attachments"][0]["Content"].startswith("sha256:")


@pytest.mark.parametrize("provider", ["postmark", "mailjet", "postal", "sparkpost", "sendgrid"])
def test_attachments(desk: Desk, provider: str) -> None:
    message, payload = one(desk, provider, "test_attachments")
    found = {file.content_type: (file, desk.content(message, n)) for n, file in enumerate(message.attachments)}
    text, picture = found["text/plain"], found["image/png"]
    assert (text[0].name, text[1].strip()) == ("test.txt", b"test attachment")
    assert (picture[0].name, picture[0].content_id, picture[0].inline) == ("image.png", "abc123", True)
    assert picture[1].startswith(b"\x89PNG")
    assert f"sha256:{picture[0].sha256}" in json.dumps(payload)
    inner, content = next(
        each for kind, each in found.items() if kind.startswith("message/") or each[0].name == "bounce.txt"
    )
    assert b"Test email" in content and inner.size == len(content)


def test_sendgrid(desk: Desk) -> None:
    message, _ = one(desk, "sendgrid", "test_inbound_basics")
    assert (message.recipient.address, message.return_path.address) == (
        "test@inbound.example.com", "envelope-from@example.org",
    )  # fmt: skip
    assert message.client_ip == "10.10.1.71" and message.spam_score == 1.7
    assert len(message.header_all("received")) == 3 and message.message_id == "<CAEPk3R+4Zr@mail.example.org>"
    assert addresses(message.cc) == ["cc@example.com"]


def test_sendgrid_in_other_charsets(desk: Desk) -> None:
    message, payload = one(desk, "sendgrid", "test_inbound_charsets")
    assert message.subject == "Como usted pidió" and message.html == "<p>¿Esto se ve como esperabas?</p>"
    assert (
        message.to[0].name == "Récipiendaire précieux" and message.from_ and message.from_.name == "Opérateur de test"
    )
    assert payload["subject"] == "Como usted pidió"
    assert message.notices == ("no envelope recipient was named",)


def test_sendgrid_raw(desk: Desk) -> None:
    message, _ = one(desk, "sendgrid", "test_inbound_mime")
    assert message.text == f"It's a body{ELLIPSIS}\n" and message.recipient.address == "test@inbound.example.com"
    assert message.return_path.address == "envelope-from@example.org"


def test_sendgrid_with_odd_names_of_files(desk: Desk) -> None:
    message, _ = one(desk, "sendgrid", "test_filtered_attachment_filenames")
    assert [file.name for file in message.attachments] == [""] * 8


def test_mandrill(desk: Desk) -> None:
    (each,) = recorded("mandrill")
    assert desk.post("mandrill", each.body, each.content_type, mandrill_sign(each.body, "")).messages
    message, payload = desk.only()
    assert message.recipient.address == "delivered-to@example.com" and message.spam_score == 1.7
    assert message.text == f"It's a body{ELLIPSIS}\n"
    assert (message.to[0].name, message.to[0].address) == ("Test, Inbound", "test@inbound.example.com")
    assert json.loads(payload)["event"] == "inbound"


@pytest.mark.parametrize("name", ["test_inbound_sns_base64", "test_inbound_sns_utf8"])
def test_amazon_ses(desk: Desk, name: str) -> None:
    message, payload = one(desk, "amazon_ses", name)
    assert message.recipient.address == "inbound@example.com", "of the receipt, not of the headers"
    assert message.return_path.address == "envelope-from@example.org"
    assert message.text == f"It's a body{ELLIPSIS}\r\n"
    assert message.notices == (("Amazon's spamVerdict: FAIL",) if name.endswith("base64") else ())
    assert payload["Message"]["content"].startswith("Return-Path: <bounce-handler@mail.example.org>")


def test_brevo(desk: Desk) -> None:
    message, _ = one(desk, "brevo", "test_inbound_basics")
    assert message.recipient.address == "test@anymail.dev" and message.spam_score == 2.9
    assert addresses(message.cc) == ["test+cc@anymail.dev"] and len(message.header_all("received")) == 2
    assert message.text == "This is a *test message*.\r\n\n- Sender\r\n"


def test_brevo_takes_the_envelope_of_the_headers(desk: Desk) -> None:
    message, _ = one(desk, "brevo", "test_envelope_attrs")
    assert (message.recipient.address, message.return_path.address) == ("recipient@example.org", "sender@example.com")


def test_mailjet(desk: Desk) -> None:
    message, _ = one(desk, "mailjet", "test_inbound_basics")
    assert message.recipient.address == "test@inbound.example.com" and message.spam_score == 1.7
    assert message.return_path.address == "envelope-from@example.org"
    assert (message.text, message.html) == ("Test body plain", "<div>Test body html</div>")


@pytest.mark.parametrize("provider", ["postal", "sparkpost"])
def test_raw_mail_in_a_document(desk: Desk, provider: str) -> None:
    message, _ = one(desk, provider, "test_inbound_basics")
    assert (message.recipient.address, message.return_path.address) == (
        "test@inbound.example.com", "envelope-from@example.org",
    )  # fmt: skip
    assert message.text == f"It's a body{ELLIPSIS}\n" and message.subject == "Test subject"


def test_mailersend(desk: Desk) -> None:
    message, payload = one(desk, "mailersend", "test_inbound")
    assert message.recipient.address == "envelope-recipient@example.com"
    assert message.return_path.address == "envelope-sender@example.org"
    assert message.subject == "Testing inbound \N{EARTH GLOBE AMERICAS}"
    assert [file.inline for file in message.attachments] == [True, False]
    kept = json.dumps(payload)
    assert all(f"sha256:{file.sha256}" in kept for file in message.attachments if file.size > 200)


@pytest.mark.parametrize(
    "name", [each.name for each in recorded("resend") if json.loads(each.body).get("data", {}).get("email_id")]
)
def test_resend(desk: Desk, name: str) -> None:
    each = named("resend", name)
    event = json.loads(each.body)
    url = f"https://api.resend.com/emails/receiving/{event['data']['email_id']}"
    answer = {"from": event["data"]["from"], "to": event["data"]["to"], "subject": "As the API has it", "text": "Text.",
              "headers": {"Message-ID": "<api@example.com>", "Received": ["by a", "by b"]},
              "attachments": [{"filename": f"{at['id']}.txt", "content_type": "text/plain",
                               "download_url": f"https://cdn.example/{at['id']}"}
                              for at in event["data"]["attachments"]]}  # fmt: skip
    pages = {f"https://cdn.example/{at['id']}": at["id"].encode() for at in event["data"]["attachments"]}
    web = Web({url: json.dumps(answer).encode(), **pages})
    desk.entries["resend"].ingress.http = web  # type: ignore[attr-defined]
    assert desk.post("resend", each.body, each.content_type, svix(each.body)).messages
    message, payload = desk.only()
    assert message.subject == "As the API has it" and addresses((message.recipient,)) == event["data"]["to"]
    assert len(message.attachments) == len(pages) and len(message.header_all("received")) == 2
    assert web.asked[0] == (url, {"Authorization": f"Bearer {SECRET}"})
    assert all(not headers for _, headers in web.asked[1:]), "the key goes to the API alone"
    assert json.loads(payload)["event"] == event


@pytest.mark.parametrize("each", recorded("mailersend"), ids=lambda each: f"{each.number}")
def test_mailersends_signatures_as_they_were_recorded(desk: Desk, each: Recorded) -> None:
    """Of two secrets that the recorded tests name; "wrong signing key" is none of them."""
    desk.add("mailersend", "secret: [TEST_WEBHOOK_SIGNING_SECRET, inbound secret]")
    answer = desk.post("mailersend", each.body, each.content_type, each.headers)
    wrong = {
        "test_verifies_bad_signature": 401,
        "test_verifies_missing_signature": 401,
        "test_misconfigured_inbound": 400,
    }
    assert answer.status == wrong.get(each.name, 200)


def test_mailguns_signatures_as_they_were_recorded(desk: Desk) -> None:
    """They are genuine, and years old: by a setting that takes any age, they are taken."""
    desk.add("mailgun", "signing_key: TEST_WEBHOOK_SIGNING_KEY\nmax_age: 50000d", name="ever")
    each = named("mailgun", "test_inbound_basics")
    assert desk.post("ever", each.body, each.content_type).messages
    desk.add("mailgun", "signing_key: TEST_WEBHOOK_SIGNING_KEY", name="now")
    assert "stale" in desk.post("now", each.body, each.content_type).document["error"]
