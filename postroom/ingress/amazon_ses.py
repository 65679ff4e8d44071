"""Amazon SES receiving, through an SNS topic: JSON notifications that hold the mail as it is.

The contract (Amazon SES's developer guide, "Publish to Amazon SNS topic action", "Contents of notifications"; Amazon
SNS's developer guide, "Verifying the signatures of Amazon SNS messages", "HTTP/HTTPS subscription confirmation"):

- A receipt rule with an SNS action (encoding Base64, which keeps every mail as it is, or UTF-8) and a subscription of
  this URL to its topic. SNS takes mails of up to 150 kB: larger ones SES refuses with a bounce. The S3 action is not
  supported: its notifications hold no mail. Neither is raw message delivery, which leaves the signature out.
- `receipt.recipients` are the envelope's recipients, `mail.source` its sender.
- Known by SNS's signature, version 1 (SHA-1) or 2 (SHA-256), under a certificate from an address of `amazonaws.com`
  that is fetched once and kept, and by the topic, which must be one of `topics`. Nothing is fetched for other topics.
- A subscription to one of the topics is confirmed by fetching its SubscribeURL.
- **200** stored, or the subscription is confirmed. **401** another topic, or a signature that is none. **400** no mail
  in it, **415** no JSON. SNS gives up at these: it takes a 4xx for final. **503** the certificate could not be fetched,
  or send again: SNS tries for an hour and, where the topic says so, longer.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging
import re
import threading
from typing import Any
from urllib.parse import urlsplit

from postroom.exchange import Http
from postroom.fields import setting
from postroom.ingress.base import Accepted, Ingress, Mail, Refusal, Request
from postroom.ingress.fetching import fetch
from postroom.ingress.jsonbody import JSON_TYPES, Members, decode_json, encode_json, read_document
from postroom.ingress.mails import mails_of_source, readable, texts
from postroom.ingress.publickeys import verified_by

log = logging.getLogger("postroom.inbound")

_TYPES = JSON_TYPES | {"text/plain"}
"""SNS calls its JSON `text/plain; charset=UTF-8`."""
_HOST = re.compile(r"sns\.[a-z]{2}(?:-[a-z]+){1,3}-\d{1,2}\.amazonaws\.com(?:\.cn)?")
_CERTIFICATE = re.compile(r"/SimpleNotificationService-[0-9A-Za-z]{1,64}\.pem")
_MOST_CERTIFICATES = 16
_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")


@dataclasses.dataclass(frozen=True)
class Options:
    topics: list[str] = setting("ARNs of the SNS topics whose notifications are taken (arn:aws:sns:...)")


class AmazonSes(Ingress):
    kind = "amazon_ses"
    summary = "Amazon SES through an SNS topic, by the signature of each notification."
    Options = Options
    asks = True

    def __init__(self, name: str, options: Any) -> None:
        super().__init__(name, options)
        self.http = Http(timeout=10)
        self._certificates: dict[str, Any] = {}
        self._lock = threading.Lock()

    def accept(self, request: Request) -> Accepted:
        document = read_document(request, _TYPES)
        if document.text("TopicArn") not in self.options.topics:
            raise Refusal(401, "the notification comes from a topic that is none of `topics`")
        kind = document.text("Type")
        self._authenticate(document, _NOTIFICATION if kind == "Notification" else _CONFIRMATION)
        if kind == "SubscriptionConfirmation":
            self._confirm(document)
            return Accepted(())
        if kind == "UnsubscribeConfirmation":
            log.warning("ingress %r: its subscription to %s has ended", self.name, document.text("TopicArn"))
            return Accepted(())
        if kind != "Notification":
            raise Refusal(400, "the Type is neither Notification nor a confirmation")
        return Accepted(self._mails(document))

    def _authenticate(self, document: Members, signed: tuple[str, ...]) -> None:
        url, version = document.text("SigningCertURL") or "", document.text("SignatureVersion")
        if version not in ("1", "2"):
            raise Refusal(401, "the notification has no signature of version 1 or 2")
        if not _is_amazons(url) or not _CERTIFICATE.fullmatch(urlsplit(url).path):
            raise Refusal(401, "the SigningCertURL is no address of Amazon SNS")
        values = [(name, document.get(name)) for name in signed]
        told = [(name, value) for name, value in values if isinstance(value, str)]
        data = "".join(f"{name}\n{value}\n" for name, value in told).encode("utf-8", "surrogatepass")
        signature = document.text("Signature") or ""
        certificate = self._certificate(url)
        if not verified_by(certificate, signature, b"", data, "sha256" if version == "2" else "sha1"):
            raise Refusal(401, "the signature does not match")

    def _certificate(self, url: str) -> Any:
        """The public key of a certificate of Amazon's, fetched where it is not at hand, or no longer valid."""
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import rsa

        now = datetime.datetime.now(datetime.UTC)
        with self._lock:
            known = self._certificates.get(url)
        if known is None:
            pem = fetch(self.http, url, what="the certificate", limit=100_000)
            try:
                known = x509.load_pem_x509_certificate(pem)
            except ValueError:
                raise Refusal(503, "what lies at the SigningCertURL is no certificate") from None
        if not known.not_valid_before_utc <= now <= known.not_valid_after_utc:
            raise Refusal(401, "the certificate at the SigningCertURL is not valid now")
        key = known.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise Refusal(401, "the certificate at the SigningCertURL holds no RSA key")
        with self._lock:
            if len(self._certificates) >= _MOST_CERTIFICATES:
                self._certificates.clear()
            self._certificates[url] = known
        return key

    def _confirm(self, document: Members) -> None:
        url = document.text("SubscribeURL") or ""
        if not _is_amazons(url):
            raise Refusal(400, "the SubscribeURL is no address of Amazon SNS")
        fetch(self.http, url, what="the confirmation", limit=100_000)
        log.info("ingress %r: its subscription to %s is confirmed", self.name, document.text("TopicArn"))

    def _mails(self, document: Members) -> tuple[Mail, ...]:
        found, scrub = decode_json((document.text("Message") or "").encode())
        if not isinstance(found, dict):
            raise Refusal(400, "the notification is none of SES")
        notice = Members(found, "Message.", scrub)
        receipt, mail = notice.object("receipt"), notice.object("mail")
        if notice.text("notificationType") != "Received" or receipt is None or mail is None:
            raise Refusal(400, "the notification is of no received mail: its topic serves something else")
        if notice.get("content") is None:
            raise Refusal(400, "the notification holds no mail: the receipt rule needs an SNS action, not S3")
        action = receipt.object("action")
        is_base64 = action is not None and (action.text("encoding") or "").upper() == "BASE64"
        source = notice.take_base64("content") if is_base64 else (notice.text("content") or "").encode()
        recipients = texts(receipt.get("recipients")) or texts(mail.get("destination"))
        verdicts = []
        for name in ("spamVerdict", "virusVerdict"):
            verdict = receipt.object(name)
            status = verdict.text("status") if verdict else None
            if status in ("FAIL", "GRAY"):
                verdicts.append(f"Amazon's {name}: {status}")

        def outlined(outline: bytes) -> bytes:
            notice.source["content"] = readable(outline)
            # The notification in a notification, readable: it is JSON as a text otherwise.
            return encode_json({**document.source, "Message": notice.source})

        return mails_of_source(
            source,
            outlined,
            ingress=self.name,
            recipients=recipients,
            return_path=mail.text("source") or "",
            notices=verdicts,
        )

    def panel(self, url: str) -> list[tuple[str, str]]:
        return [("Subscription endpoint", url), ("Encoding of the SNS action", "Base64")]


def _is_amazons(url: str) -> bool:
    """Whether a URL leads to Amazon SNS, by https and nothing else."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    plain = parts.username is None and parts.password is None and port in (None, 443)
    return parts.scheme == "https" and plain and bool(_HOST.fullmatch(parts.hostname or ""))
