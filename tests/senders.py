"""Providers for tests: what each would send to its way in, signed as it signs."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from postroom.exchange import Answer, DeliveryError
from postroom.ingress.base import Ingress
from tests.waysin import URL, Desk, basic, multipart
from tests.waysin import Answer as Told

SECRET = "secret-Kx7Rm2Wq9"
EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)
TOPIC = "arn:aws:sns:us-east-1:111111111111:SES_Inbound"
CERTIFICATE_URL = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-12345abcde.pem"
SOURCE = (
    "From: Jo Doe <jo@example.org>\r\nTo: help@in.example.com\r\nSubject: Printer on fire\r\n"
    "Message-ID: <one@example.org>\r\nDate: Fri, 1 May 2026 10:00:00 +0000\r\n\r\nIt burns.\r\n"
)
HEADERS = {
    "From": "Jo Doe <jo@example.org>", "To": "help@in.example.com", "Subject": "Printer on fire",
    "Message-ID": "<one@example.org>", "Date": "Fri, 1 May 2026 10:00:00 +0000",
}  # fmt: skip


def der(key: Any) -> str:
    """A public key as providers show it."""
    made = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(made).decode()


def certificate(key: Any = RSA_KEY, *, days: int = 30) -> bytes:
    """A certificate that is valid from yesterday for so many days."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(start + datetime.timedelta(days=days))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


@dataclass
class Web:
    """What a way in can fetch: bodies by URL, in place of the network. Everything asked for stands in `asked`."""

    pages: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    status: int = 404
    """Of what is not there; 0: it cannot be reached."""

    def get(self, url: str, *, headers: Mapping[str, str] | None = None, limit: int = 1 << 20) -> Answer:
        self.asked.append((url, dict(headers or {})))
        body = self.pages.get(url)
        if body is None:
            raise DeliveryError("it is not there", status=self.status or None)
        return Answer(200, {}, body[:limit], len(body) > limit)


@dataclass(frozen=True)
class Sender:
    """One provider. `sign` gives the headers for a body; `sample` makes one genuine body with one mail."""

    settings: str
    sample: Callable[[], tuple[bytes, str]]
    sign: Callable[[bytes, str], dict[str, str]] = lambda body, kind: {}
    web: Callable[[], Web] | None = None
    forged: Callable[[bytes], bytes] | None = None
    """Where the signature stands in the body: the body with another."""

    def start(self, desk: Desk, kind: str) -> Ingress:
        made = desk.add(kind, self.settings)
        if self.web is not None:
            made.http = self.web()  # type: ignore[attr-defined]
        return made

    def post(self, desk: Desk, kind: str, sample: tuple[bytes, str] | None = None, **more: Any) -> Told:
        body, content_type = sample or self.sample()
        return desk.post(kind, body, content_type, self.sign(body, content_type), **more)


def document(value: Any) -> tuple[bytes, str]:
    return json.dumps(value).encode(), "application/json"


def mailgun(token: str = "t" * 50, **more: Any) -> tuple[bytes, str]:
    now = str(int(time.time()))
    made = hmac.new(SECRET.encode(), f"{now}{token}".encode(), hashlib.sha256).hexdigest()
    fields = {"recipient": "help@in.example.com", "sender": "jo@example.org", "body-mime": SOURCE, **more}
    return multipart(*fields.items(), ("timestamp", now), ("token", token), ("signature", made))


def sendgrid_signature(body: bytes, kind: str = "", *, at: float | None = None) -> dict[str, str]:
    now = str(int(time.time() if at is None else at))
    made = EC_KEY.sign(now.encode() + body, ec.ECDSA(hashes.SHA256()))
    name = "X-Twilio-Email-Event-Webhook"
    return {f"{name}-Timestamp": now, f"{name}-Signature": base64.b64encode(made).decode()}


def mandrill_signature(fields: Mapping[str, str], *, key: str = SECRET, url: str = f"{URL}/inbound/mandrill") -> str:
    data = url + "".join(name + fields[name] for name in sorted(fields))
    return base64.b64encode(hmac.new(key.encode(), data.encode(), hashlib.sha1).digest()).decode()


def mandrill_sign(body: bytes, kind: str) -> dict[str, str]:
    """Of the only field of a form."""
    value = body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0] if b"\r\n\r\n" in body else b""
    return {"X-Mandrill-Signature": mandrill_signature({"mandrill_events": value.decode("utf-8", "replace")})}


def mandrill_events(*events: Any) -> tuple[bytes, str]:
    return multipart(("mandrill_events", json.dumps(events)))


def sns(message: Any, *, version: str = "1", key: Any = RSA_KEY, **more: Any) -> dict[str, Any]:
    """A notification, signed."""
    told: dict[str, Any] = {
        "Type": "Notification", "MessageId": "m-1", "TopicArn": TOPIC, "Timestamp": "2026-05-01T10:00:00.000Z",
        "Message": message if isinstance(message, str) else json.dumps(message), "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE_URL, **more,
    }  # fmt: skip
    names = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
    if told["Type"] != "Notification":
        names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    data = "".join(f"{name}\n{told[name]}\n" for name in names if told.get(name) is not None).encode()
    made = key.sign(data, padding.PKCS1v15(), hashes.SHA256() if version == "2" else hashes.SHA1())
    return {**told, "Signature": base64.b64encode(made).decode()}


def ses(source: str = SOURCE, *, recipients: tuple[str, ...] = ("help@in.example.com",)) -> dict[str, Any]:
    """What SES says of a mail."""
    return {
        "notificationType": "Received",
        "mail": {"source": "jo@example.org", "destination": ["help@in.example.com", "boss@elsewhere.example"]},
        "receipt": {"recipients": list(recipients), "action": {"type": "SNS", "encoding": "BASE64"}},
        "content": base64.b64encode(source.encode()).decode(),
    }


def svix(body: bytes, kind: str = "", *, secret: str = SECRET, at: float | None = None) -> dict[str, str]:
    now = str(int(time.time() if at is None else at))
    made = hmac.new(secret.encode(), f"msg_1.{now}.".encode() + body, hashlib.sha256).digest()
    given = "v1," + base64.b64encode(made).decode()
    return {"svix-id": "msg_1", "svix-timestamp": now, "svix-signature": f"v1,bm90IHRoaXM= {given}"}


def resend_web() -> Web:
    answer = {"id": "mail-1", "to": ["help@in.example.com"], "raw": {"download_url": "https://cdn.example/raw-1"}}
    pages = {"https://api.resend.com/emails/receiving/mail-1": json.dumps(answer).encode()}
    return Web({**pages, "https://cdn.example/raw-1": SOURCE.encode()})


def postal_sign(body: bytes, kind: str) -> dict[str, str]:
    made = RSA_KEY.sign(body, padding.PKCS1v15(), hashes.SHA256())
    return {"X-Postal-Signature-256": base64.b64encode(made).decode()}


def _login(body: bytes, kind: str) -> dict[str, str]:
    return basic(SECRET)


LOGIN = f"password: {SECRET}"
WHSEC = "whsec_" + base64.b64encode(SECRET.encode()).decode()
PARSED = {"Headers": [{"Name": name, "Value": HEADERS[name]} for name in ("Message-ID",)], "Date": HEADERS["Date"]}

SENDERS: dict[str, Sender] = {
    "mailgun": Sender(
        f"signing_key: {SECRET}", mailgun, forged=lambda body: body.replace(b't' * 50, b"u" * 50)
    ),
    "postmark": Sender(LOGIN, lambda: document({
        "OriginalRecipient": "help@in.example.com", "FromFull": {"Email": "jo@example.org", "Name": "Jo Doe"},
        "Subject": "Printer on fire", "TextBody": "It burns.\r\n", **PARSED,
    }), _login),
    "sendgrid": Sender(f"public_key: {der(EC_KEY)}", lambda: multipart(
        ("email", SOURCE), ("envelope", '{"to": ["help@in.example.com"], "from": "jo@example.org"}'),
    ), sendgrid_signature),
    "mandrill": Sender(f"webhook_key: {SECRET}", lambda: mandrill_events(
        {"event": "inbound", "msg": {"raw_msg": SOURCE, "email": "help@in.example.com"}},
    ), mandrill_sign),
    "cloudmailin": Sender(LOGIN, lambda: document({
        "headers": {name.lower().replace("-", "_"): value for name, value in HEADERS.items()},
        "envelope": {"to": "help@in.example.com", "from": "jo@example.org"}, "plain": "It burns.\r\n",
    }), _login),
    "amazon_ses": Sender(
        f"topics: {TOPIC}", lambda: (document(sns(ses()))[0], "text/plain; charset=UTF-8"),
        web=lambda: Web({CERTIFICATE_URL: certificate()}),
        forged=lambda body: body.replace(b'"m-1"', b'"m-2"'),
    ),
    "brevo": Sender(LOGIN, lambda: document({"items": [{
        "Headers": {**HEADERS, "Delivered-To": "help@in.example.com"}, "RawTextBody": "It burns.\r\n",
    }]}), _login, web=Web),
    "resend": Sender(f"signing_secret: {WHSEC}\napi_key: {SECRET}", lambda: document(
        {"type": "email.received", "data": {"email_id": "mail-1", "to": ["help@in.example.com"]}}
    ), svix, web=resend_web),
    "mailjet": Sender(LOGIN, lambda: document({
        "Sender": "jo@example.org", "Recipient": "help@in.example.com", "Headers": HEADERS,
        "Text-part": "It burns.\r\n",
    }), _login),
    "raw": Sender(f"token: {SECRET}", lambda: (SOURCE.encode(), "message/rfc822"), lambda body, kind: {
        "Authorization": f"Bearer {SECRET}", "X-Envelope-From": "jo@example.org",
        "X-Envelope-To": "help@in.example.com",
    }),
    "mailersend": Sender(f"secret: {SECRET}", lambda: document({"type": "inbound.message", "data": {
        "raw": SOURCE, "recipients": {"rcptTo": [{"email": "help@in.example.com"}]},
        "sender": {"email": "jo@example.org"},
    }}), lambda body, kind: {"Signature": hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()}),
    "sparkpost": Sender(LOGIN, lambda: document([{"msys": {"relay_message": {
        "content": {"email_rfc822": SOURCE, "email_rfc822_is_base64": False},
        "rcpt_to": "help@in.example.com", "msg_from": "jo@example.org",
    }}}]), lambda body, kind: {"X-MessageSystems-Webhook-Token": SECRET}),
    "postal": Sender(f"public_key: {der(RSA_KEY)}", lambda: document({
        "rcpt_to": "help@in.example.com", "mail_from": "jo@example.org", "base64": True,
        "message": base64.b64encode(SOURCE.encode()).decode(),
    }), postal_sign),
}  # fmt: skip
"""Every kind but SocketLabs, which has tests of its own."""
