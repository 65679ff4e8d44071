"""What is particular to single providers: several mails a request, what is fetched, certificates, envelopes."""

from __future__ import annotations

import base64
import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from postroom.ingress import KINDS
from tests.senders import (
    CERTIFICATE_URL,
    EC_KEY,
    RSA_KEY,
    SECRET,
    SENDERS,
    SOURCE,
    TOPIC,
    Web,
    certificate,
    der,
    document,
    mandrill_events,
    mandrill_sign,
    mandrill_signature,
    resend_web,
    sendgrid_signature,
    ses,
    sns,
    svix,
)
from tests.waysin import Answer, Desk, basic, multipart, options

CONFIRM = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&Token=abc"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    made = Desk(tmp_path)
    for kind, sender in SENDERS.items():
        sender.start(made, kind)
    return made


def web(desk: Desk, kind: str) -> Web:
    found: Web = desk.entries[kind].ingress.http  # type: ignore[attr-defined]
    return found


def recipients(desk: Desk) -> list[str]:
    return [message.recipient.address for message, _ in desk.stored()]


# Raw MIME


def raw(desk: Desk, to: str | None, body: bytes = SOURCE.encode(), **more: str) -> Answer:
    headers = {"Authorization": f"Bearer {SECRET}", **({} if to is None else {"X-Envelope-To": to}), **more}
    return desk.post("raw", body, "message/rfc822", headers)


def test_a_raw_mail_to_several_recipients_is_a_message_for_each(desk: Desk) -> None:
    answer = raw(desk, 'a@x.example, "odd, one"@x.example,<b@x.example>, a@x.example', **{"X-Envelope-From": "<>"})
    assert recipients(desk) == ["a@x.example", '"odd, one"@x.example', "b@x.example"]
    assert len(set(answer.messages)) == 3
    assert all(message.return_path.address == "" for message, _ in desk.stored()), "the null sender of a bounce"


def test_a_later_attempt_for_one_recipient_more_adds_that_one(desk: Desk) -> None:
    first = raw(desk, "a@x.example, b@x.example").messages
    again = raw(desk, "b@x.example, c@x.example").messages
    assert again[0] == first[1] and recipients(desk) == ["a@x.example", "b@x.example", "c@x.example"]


def test_without_an_envelope_its_traces_are_taken(desk: Desk) -> None:
    raw(desk, None, b"Delivered-To: list@in.example.com\r\nReturn-Path: <jo@example.org>\r\n" + SOURCE.encode())
    message, payload = desk.only()
    assert (message.recipient.address, message.return_path.address) == ("list@in.example.com", "jo@example.org")
    assert payload.endswith(SOURCE.encode()), "the payload is the mail"


def test_an_envelope_in_other_letters(desk: Desk) -> None:
    raw(desk, "häns@müller.example", **{"X-Client-Address": "192.0.2.9"})
    message, _ = desk.only()
    assert message.recipient.address == "häns@müller.example" and message.client_ip == "192.0.2.9"


def test_bytes_that_are_no_mail_are_one_all_the_same(desk: Desk) -> None:
    assert raw(desk, "a@x.example", bytes(range(256)) * 40).messages
    assert raw(desk, "a@x.example", b" \r\n").status == 400


def test_too_many_recipients_are_refused(desk: Desk) -> None:
    assert raw(desk, ",".join(f"a{n}@x.example" for n in range(1_001))).status == 400


# Mandrill


def test_several_mails_in_one_request(desk: Desk) -> None:
    events = [
        {"event": "inbound", "msg": {"raw_msg": SOURCE.replace("one@", f"{n}@"), "email": f"a{n}@in.example.com"}}
        for n in range(3)
    ]
    events.insert(1, {"event": "open", "msg": {"email": "x"}})
    events.insert(2, {"event": "inbound"})
    events.insert(3, {"event": "inbound", "msg": {"raw_msg": 7, "email": "x"}})
    body, kind = mandrill_events(*events)
    answer = desk.post("mandrill", body, kind, mandrill_sign(body, kind))
    assert len(answer.messages) == 3
    assert recipients(desk) == ["a0@in.example.com", "a1@in.example.com", "a2@in.example.com"]


def test_mandrill_looks_whether_the_url_is_there(desk: Desk) -> None:
    assert desk.post("mandrill", b"", None, method="HEAD").status == 200
    assert desk.post("postmark", b"", None, method="HEAD").status == 405
    test = {"X-Mandrill-Signature": mandrill_signature({"mandrill_events": "[]"}, key="test-webhook")}
    assert desk.post("mandrill", *multipart(("mandrill_events", "[]")), test).status == 200
    forged = multipart(("mandrill_events", "[5]"))
    test = {"X-Mandrill-Signature": mandrill_signature({"mandrill_events": "[5]"}, key="test-webhook")}
    assert desk.post("mandrill", *forged, test).status == 401, "the key of tests opens nothing"


def test_mandrill_signs_the_url_with_its_query(desk: Desk) -> None:
    url = "https://mail.example.com/inbound/mandrill?a=b&c=%20"
    events = json.dumps([{"event": "inbound", "msg": {"raw_msg": SOURCE, "email": "a@x.example"}}])
    body, kind = multipart(("mandrill_events", events))
    headers = {"X-Mandrill-Signature": mandrill_signature({"mandrill_events": events}, url=url)}
    assert desk.post("mandrill", body, kind, headers).status == 401
    assert desk.post("mandrill", body, kind, headers, query="a=b&c=%20").messages
    desk.add("mandrill", f"webhook_key: {SECRET}\nurl: {url}", name="elsewhere")
    assert desk.post("elsewhere", body, kind, headers).messages


def test_a_mandrill_event_without_the_source_is_made_of_its_parts(desk: Desk) -> None:
    event = {
        "event": "inbound",
        "msg": {
            "email": "a@x.example", "subject": "Parts", "text": "Text.", "headers": {"Received": ["a", "b"]},
            "attachments": {"a.txt": {"name": "a.txt", "type": "text/plain", "content": "plain", "base64": False}},
            "images": {"i.png": {"name": "i.png", "type": "image/png", "content": "UE5H"}},
        },
    }  # fmt: skip
    body, kind = mandrill_events(event)
    assert desk.post("mandrill", body, kind, mandrill_sign(body, kind)).messages
    message, payload = desk.only()
    assert [desk.content(message, 0), desk.content(message, 1)] == [b"plain", b"PNG"]
    assert b"UE5H" not in payload and len(message.header_all("received")) == 2


# Amazon SES


def notify(desk: Desk, told: Any) -> Answer:
    return desk.post("amazon_ses", json.dumps(told).encode(), "text/plain; charset=UTF-8")


@pytest.mark.parametrize("version", ["1", "2"])
def test_both_versions_of_the_signature(desk: Desk, version: str) -> None:
    assert notify(desk, sns(ses(), version=version)).messages
    other = rsa.generate_private_key(65537, 2048)
    assert notify(desk, sns(ses(), version=version, key=other)).status == 401


def test_a_subject_is_signed_where_there_is_one(desk: Desk) -> None:
    told = sns(ses(), Subject="Amazon SES Email Receipt Notification")
    assert notify(desk, {**told, "Subject": "Another"}).status == 401
    assert notify(desk, told).messages


def test_the_certificate_is_fetched_once(desk: Desk) -> None:
    for n in range(3):
        assert notify(desk, sns(ses(SOURCE.replace("one@", f"{n}@")))).messages
    assert [url for url, _ in web(desk, "amazon_ses").asked] == [CERTIFICATE_URL]


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem",
        "https://sns.us-east-1.amazonaws.com.evil.example/SimpleNotificationService-1.pem",
        "https://evil.example/SimpleNotificationService-1.pem",
        "https://sns.us-east-1.amazonaws.com@evil.example/SimpleNotificationService-1.pem",
        "https://user:pw@sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem",
        "https://sns.us-east-1.amazonaws.com:8443/SimpleNotificationService-1.pem",
        "https://sns.us-east-1.amazonaws.com/bucket/SimpleNotificationService-1.pem",
        "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem/../../x.pem",
        "https://s3.us-east-1.amazonaws.com/SimpleNotificationService-1.pem",
        "https://sns.bucket.s3.amazonaws.com/SimpleNotificationService-1.pem",
        "https://xsns.us-east-1.amazonaws.com/SimpleNotificationService-1.pem",
        "https://[::1/x.pem", "", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_certificates_come_from_amazon_sns_alone(desk: Desk, url: str) -> None:
    web(desk, "amazon_ses").pages[url] = certificate()
    assert notify(desk, sns(ses(), SigningCertURL=url)).status == 401
    assert web(desk, "amazon_ses").asked == []


def test_other_regions_are_amazons_too(desk: Desk) -> None:
    for host in (
        "sns.us-gov-west-1.amazonaws.com",
        "sns.cn-north-1.amazonaws.com.cn",
        "sns.ap-southeast-2.amazonaws.com",
    ):
        url = f"https://{host}/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
        web(desk, "amazon_ses").pages[url] = certificate()
        assert notify(desk, sns(ses(), SigningCertURL=url)).messages


def test_a_certificate_that_is_out_of_date_signs_nothing(desk: Desk) -> None:
    web(desk, "amazon_ses").pages[CERTIFICATE_URL] = certificate(days=0)
    assert "not valid" in notify(desk, sns(ses())).document["error"]


def test_where_the_certificate_cannot_be_fetched_sns_sends_again(desk: Desk) -> None:
    page = web(desk, "amazon_ses").pages.pop(CERTIFICATE_URL)
    web(desk, "amazon_ses").status = 0
    assert notify(desk, sns(ses())).status == 503
    web(desk, "amazon_ses").pages[CERTIFICATE_URL] = b"no certificate"
    assert notify(desk, sns(ses())).status == 503
    web(desk, "amazon_ses").pages[CERTIFICATE_URL] = page
    assert notify(desk, sns(ses())).messages


def test_of_other_topics_nothing_is_believed_or_fetched(desk: Desk) -> None:
    assert notify(desk, sns(ses(), TopicArn=TOPIC + "2")).status == 401
    told = sns(
        "confirm",
        Type="SubscriptionConfirmation",
        TopicArn="arn:aws:sns:us-east-1:2:x",
        SubscribeURL=CONFIRM,
        Token="t",
    )
    assert notify(desk, told).status == 401
    assert web(desk, "amazon_ses").asked == []


def test_a_subscription_is_confirmed_by_its_url(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    told = sns("confirm", Type="SubscriptionConfirmation", SubscribeURL=CONFIRM, Token="abc")
    web(desk, "amazon_ses").status = 0
    assert notify(desk, told).status == 503, "Amazon cannot be reached: SNS tries again"
    web(desk, "amazon_ses").pages[CONFIRM] = b"<ok/>"
    assert notify(desk, told).status == 200
    assert web(desk, "amazon_ses").asked[-1][0] == CONFIRM and "is confirmed" in caplog.text
    assert desk.stored() == []
    evil = "https://evil.example/?Action=ConfirmSubscription"
    assert notify(desk, {**told, "SubscribeURL": evil}).status == 401, "it is signed"
    signed_evil = sns("confirm", Type="SubscriptionConfirmation", SubscribeURL=evil, Token="abc")
    assert notify(desk, signed_evil).status == 400
    assert evil not in [url for url, _ in web(desk, "amazon_ses").asked]


def test_the_end_of_a_subscription_is_told_in_the_log(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    told = sns("bye", Type="UnsubscribeConfirmation", SubscribeURL=CONFIRM, Token="abc")
    assert notify(desk, told).status == 200
    assert "has ended" in caplog.text


def test_ses_names_several_recipients(desk: Desk) -> None:
    notify(desk, sns(ses(recipients=("a@in.example.com", "b@in.example.com"))))
    assert recipients(desk) == ["a@in.example.com", "b@in.example.com"], "and none of the headers alone"


# Resend and Brevo: what is fetched


@pytest.mark.parametrize(
    ("status", "told"), [(0, 503), (401, 503), (403, 503), (429, 503), (500, 503), (404, 400), (410, 400)]
)
def test_resend_where_the_mail_is_not_given(desk: Desk, status: int, told: int) -> None:
    web(desk, "resend").pages.pop("https://cdn.example/raw-1")
    web(desk, "resend").status = status
    assert SENDERS["resend"].post(desk, "resend").status == told
    assert desk.stored() == []
    web(desk, "resend").pages.update(resend_web().pages)
    assert SENDERS["resend"].post(desk, "resend").messages


@pytest.mark.parametrize("age", [-400, 400])
def test_resends_timestamp_is_of_now(desk: Desk, age: float) -> None:
    body, kind = SENDERS["resend"].sample()
    assert desk.post("resend", body, kind, svix(body, at=time.time() - age)).status == 401
    assert desk.post("resend", body, kind, svix(body, at=time.time() - age * 0.7)).messages


def test_resend_by_the_names_of_standard_webhooks(desk: Desk) -> None:
    body, kind = SENDERS["resend"].sample()
    headers = {name.replace("svix", "webhook"): value for name, value in svix(body).items()}
    assert desk.post("resend", body, kind, headers).messages


def test_resend_makes_a_message_for_each_of_our_addresses(desk: Desk) -> None:
    settings = SENDERS["resend"].settings + "\ndomains: [in.example.com]"
    desk.add("resend", settings, name="ours").http = resend_web()  # type: ignore[attr-defined]
    told = {
        "email_id": "mail-1",
        "to": ["Help <help@IN.example.com>", "x@elsewhere.example"],
        "cc": ["two@in.example.com"],
    }
    body, kind = document({"type": "email.received", "data": told})
    assert desk.post("ours", body, kind, svix(body)).messages
    assert recipients(desk) == ["help@IN.example.com", "two@in.example.com"]
    assert desk.post("resend", body, kind, svix(body)).messages
    assert len(recipients(desk)) == 2 + 3, "without domains, each address is one"


def test_an_answer_that_is_no_mail_is_not_taken_for_one(desk: Desk) -> None:
    url = "https://api.resend.com/emails/receiving/mail-1"
    for body, told in ((b"[]", 503), (b"<html>", 400), (b'{"attachments": [{}]}', 503)):
        web(desk, "resend").pages[url] = body
        assert SENDERS["resend"].post(desk, "resend").status == told


def test_brevos_attachments_are_fetched_by_their_tokens(desk: Desk) -> None:
    made = desk.add("brevo", f"password: {SECRET}\napi_key: the-api-key", name="keyed")
    url = "https://api.brevo.com/v3/inbound/attachments/a%2Fb"
    made.http = Web({url: b"content"})  # type: ignore[attr-defined]
    item = {"Headers": {"Delivered-To": "a@x.example"}, "RawTextBody": "x",
            "Attachments": [{"Name": "a.txt", "ContentType": "text/plain", "DownloadToken": "a/b"}]}  # fmt: skip
    body, kind = document({"items": [item]})
    assert desk.post("keyed", body, kind, basic(SECRET)).messages
    message, _ = desk.only()
    assert desk.content(message, 0) == b"content" and made.http.asked == [(url, {"api-key": "the-api-key"})]  # type: ignore[attr-defined]
    made.http.pages.clear()  # type: ignore[attr-defined]
    made.http.status = 500  # type: ignore[attr-defined]
    assert desk.post("keyed", body, kind, basic(SECRET)).status == 503
    assert desk.post("brevo", body, kind, basic(SECRET)).messages
    assert desk.stored()[-1][0].notices == ("an attachment was not fetched: a.txt",)


def test_what_is_fetched_counts_as_mail_under_way(desk: Desk) -> None:
    web(desk, "resend").pages["https://cdn.example/raw-1"] = SOURCE.encode() + b"x" * 1_000_000
    held = 64_000_000 - 500_000
    desk.gate.add(held, 0)
    assert SENDERS["resend"].post(desk, "resend").status == 503
    desk.gate.add(-held, 0)
    assert SENDERS["resend"].post(desk, "resend").messages
    assert desk.gate._bytes == 0


def test_ways_in_that_ask_others_hold_up_nobody() -> None:
    assert {kind for kind, each in KINDS.items() if each.asks} == {"amazon_ses", "brevo", "resend"}


# SendGrid, Postal: keys


def test_sendgrid_by_signature_and_password_where_both_are_set(desk: Desk) -> None:
    desk.add("sendgrid", f"public_key: {der(EC_KEY)}\npassword: {SECRET}", name="both")
    body, kind = SENDERS["sendgrid"].sample()
    assert desk.post("both", body, kind, sendgrid_signature(body)).status == 401
    assert desk.post("both", body, kind, basic(SECRET)).status == 401
    assert desk.post("both", body, kind, {**sendgrid_signature(body), **basic(SECRET)}).messages
    desk.add("sendgrid", f"password: [new, {SECRET}]", name="login")
    assert desk.post("login", body, kind, basic("new")).messages
    assert desk.post("login", body, kind, basic(SECRET, "another")).status == 401
    old = sendgrid_signature(body, at=time.time() - 5 * 86400)
    assert desk.post("sendgrid", body, kind, old).status == 401


def test_postals_older_signature(desk: Desk) -> None:
    body, kind = SENDERS["postal"].sample()
    made = base64.b64encode(RSA_KEY.sign(body, padding.PKCS1v15(), hashes.SHA1())).decode()
    assert desk.post("postal", body, kind, {"X-Postal-Signature": made}).messages
    assert desk.post("postal", body, kind, {"X-Postal-Signature-256": made}).status == 401


@pytest.mark.parametrize(
    ("kind", "settings", "told"),
    [
        ("sendgrid", "username: x", "public_key or password"),
        ("sendgrid", "public_key: abc", "no public key"),
        ("postal", "public_key: '-----BEGIN'", "no public key"),
        ("resend", "signing_secret: whsec_!!\napi_key: x", "signing_secret"),
    ],
)
def test_options_that_are_wrong_together(kind: str, settings: str, told: str) -> None:
    assert any(told in fault for fault in KINDS[kind].faults(options(kind, settings)))
    assert KINDS[kind].faults(options(kind, SENDERS[kind].settings)) in ((), [])


def test_a_key_in_pem_is_one_too() -> None:
    pem = "-----BEGIN PUBLIC KEY-----\n" + der(EC_KEY) + "\n-----END PUBLIC KEY-----\n"
    settings = "public_key: |\n  " + pem.replace("\n", "\n  ")
    assert KINDS["sendgrid"].faults(options("sendgrid", settings)) == []


# CloudMailin, Mailjet


def test_cloudmailin_as_a_form(desk: Desk) -> None:
    body, kind = multipart(
        ("envelope[to]", "a@in.example.com"), ("envelope[from]", "jo@example.org"),
        ("envelope[recipients][0]", "a@in.example.com"), ("envelope[recipients][1]", "b@in.example.com"),
        ("envelope[remote_ip]", "192.0.2.3"), ("headers[subject]", "Form"), ("headers[message_id]", "<f@x>"),
        ("headers[received][0]", "by a"), ("headers[received][1]", "by b"), ("headers[mime_version]", "1.0"),
        ("plain", "Text."), ("html", "<p>Text.</p>"), ("attachments[0]", b"\x00\xff", "a.bin", "application/x-a"),
        ("attachments[1][url]", "https://bucket.example/b.pdf"),
    )  # fmt: skip
    assert len(desk.post("cloudmailin", body, kind, basic(SECRET)).messages) == 2
    message = desk.stored()[0][0]
    assert recipients(desk) == ["a@in.example.com", "b@in.example.com"] and message.client_ip == "192.0.2.3"
    assert (message.subject, message.text, message.message_id) == ("Form", "Text.", "<f@x>")
    assert message.header_all("Received") == ["by a", "by b"] and message.headers[-1] == ("MIME-Version", "1.0")
    assert desk.content(message, 0) == b"\x00\xff"
    assert message.notices == ("an attachment was not fetched: https://bucket.example/b.pdf",)


@pytest.mark.parametrize("file", [(), ("message.eml", "message/rfc822")])
def test_cloudmailin_raw(desk: Desk, file: tuple[str, ...]) -> None:
    body, kind = multipart(("message", SOURCE, *file), ("envelope[to]", "a@in.example.com"))
    assert desk.post("cloudmailin", body, kind, basic(SECRET)).messages
    message, payload = desk.only()
    assert message.subject == "Printer on fire" and "It burns." in json.loads(payload)["message"]


def test_cloudmailins_files_in_json(desk: Desk) -> None:
    told = {
        "headers": {"Subject": "Hash"}, "envelope": {"to": "a@in.example.com", "from": ""},
        "attachments": [
            {"content": "UE5H", "file_name": "i.png", "content_type": "image/png", "content_id": "<i@x>"},
            {"url": "https://bucket.example/b.pdf", "file_name": "b.pdf"},
        ],
    }  # fmt: skip
    assert desk.post("cloudmailin", *document(told), basic(SECRET)).messages
    message, payload = desk.only()
    assert message.attachments[0].content_id == "i@x" and message.attachments[0].inline
    assert message.notices == ("an attachment was not fetched: b.pdf",) and b"UE5H" not in payload
    assert message.return_path.address == ""


def test_a_password_is_taken_as_a_bearer_token_too(desk: Desk) -> None:
    body, kind = SENDERS["postmark"].sample()
    assert desk.post("postmark", body, kind, {"Authorization": f"Bearer {SECRET}"}).messages
    assert desk.post("postmark", body, kind, {"Authorization": "Bearer x"}).status == 401
    (row,) = desk.entries["postmark"].ingress.panel("https://mail.example.com/inbound/postmark")
    assert row[1] == f"https://postroom:{SECRET}@mail.example.com/inbound/postmark"
