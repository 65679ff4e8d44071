"""Kind `smtp`: sends the mail on, to people or to a system that reads mail, or answers its sender.

RFC 5321 (transport), RFC 5322 (format), RFC 3834 (what automatic answers must do). No mail server absorbs a repeat:
where a connection is lost after the last line, the next attempt sends the same bytes, under the same Message-ID.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from postroom import outgoing
from postroom.bodies import markdown_of
from postroom.composition import compose, not_taken, title_of
from postroom.fields import Secret
from postroom.integration import (
    DeliveryError,
    Guarantee,
    Http,
    Integration,
    Job,
    Markup,
    NothingToDo,
    Receipt,
    setting,
)
from postroom.mail.addresses import address_key
from postroom.message import Address, Message
from postroom.outgoing import Part
from postroom.rebuilt import original_body, original_headers
from postroom.submission import MailServer, Outcome, Session, TooLarge, session

_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_SUBJECT = 1_000
_MOST_RECIPIENTS = 100
_MOST_REFERENCES = 10
_HOST = re.compile(r"[^\s/@:\[\]]{1,253}|\[?[0-9A-Fa-f:.]+\]?")
_HELO = re.compile(r"[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.IPv]{2,60}\]")
_SENT = "sent:"
"""Begins the steps that record who got the mail: positions among its recipients, as JSON."""
Mode = Literal["forward", "resend", "reply"]


@dataclass(frozen=True)
class SmtpOptions:
    host: str = setting("name or address of the mail server that takes our mail")
    port: int | None = setting("by default 587 with starttls, 465 with tls, 25 with none", default=None)
    security: Literal["starttls", "tls", "none"] = setting(
        "how the connection is encrypted; `none` is for a server on this machine", default="starttls"
    )
    username: str | None = setting("for the login; absent: no login", default=None)
    password: Secret | None = setting("for the login", default=None)
    from_: str | None = setting(
        "the address that our mail comes from, such as `Support <support@example.com>`; absent: the address that the"
        " mail was sent to",
        default=None,
    )
    mode: Mode = setting("what a delivery does where a rule does not say", default="forward")
    to: list[str] = setting("addresses, where a rule names none", default_factory=list)
    format: Literal["plain", "markdown"] = setting(
        "`markdown`: body and footer of a rule are Markdown, sent as HTML and as plain text", default="plain"
    )
    return_path: Literal["conversation", "from"] = setting(
        "where bounces of forwards go: into the conversation, by its signed address, or to the address in `from`",
        default="conversation",
    )
    helo: str | None = setting("name by which we greet the server; absent: our address", default=None)


@dataclass(frozen=True)
class SmtpFields:
    mode: Mode | None = setting(
        "`forward`: a mail of ours with the original attached; `resend`: the original with its own subject, text and"
        " files; `reply`: an answer to the sender",
        default=None,
    )
    to: list[str] | None = setting("addresses of a forward or resend, each alone or as `Jo Doe <jo@x>`", default=None)
    cc: list[str] | None = setting("further addresses of a forward or resend", default=None)


@dataclass(frozen=True)
class _Letter:
    """A mail to send. `made` builds it: with or without the files, with or without UTF-8 in addresses."""

    mode: Mode
    sender: str
    """Of the envelope; empty: the null sender."""
    from_: Address
    to: list[Address]
    cc: list[Address]
    reply_to: list[Address]
    headers: dict[str, str]

    @property
    def recipients(self) -> list[str]:
        """Of the envelope, each once."""
        found = {address_key(each.address): outgoing.wire_address(each.address) for each in [*self.to, *self.cc]}
        return list(found.values())


class Smtp(Integration):
    """Sends mail. The reference is the Message-ID of what was sent."""

    kind = "smtp"
    summary = "Forwards the mail, sends it on as it is, or answers its sender, by a mail server."
    guarantee = Guarantee.NONE
    makes_items = False
    example = """\
kind: smtp
host: mail.example.com
username: postroom
password: "${SMTP_PASSWORD}"
from: Support <support@example.com>
to: [team@example.com]
"""
    Options = SmtpOptions
    Fields = SmtpFields

    def __init__(self, name: str, options: SmtpOptions, *, http: Http, data_dir: Path) -> None:
        super().__init__(name, options, http=http, data_dir=data_dir)
        if not _HOST.fullmatch(options.host):
            raise ValueError(f"host: '{options.host}' is no name of a host; its port goes into `port`")
        if options.port is not None and not 0 < options.port < 65536:
            raise ValueError(f"port: {options.port} is no port")
        if (options.username is None) != (options.password is None):
            raise ValueError("username and password go together")
        if options.security == "none" and options.password is not None and not _is_here(options.host):
            raise ValueError("security: `none` would send the password for everyone to read; use starttls or tls")
        if options.helo is not None and not _HELO.fullmatch(options.helo):
            raise ValueError(f"helo: '{options.helo}' is no name of a host")
        self._from = outgoing.read_mailbox(options.from_) if options.from_ is not None else None
        for each in [*options.to, *([options.from_] if options.from_ is not None else [])]:
            outgoing.wire_address(outgoing.read_mailbox(each).address)
        self._server = MailServer(
            host=options.host.strip("[]"),
            port=options.port or _PORTS[options.security],
            security=options.security,
            username=options.username,
            password=None if options.password is None else str(options.password),
            helo=options.helo,
            timeout=http.timeout,
            allow_private=http.allow_private,
            mask=http.mask,
        )

    @classmethod
    def markup(cls, options: SmtpOptions) -> Markup:
        return Markup.MARKDOWN if options.format == "markdown" else Markup.PLAIN

    def check(self) -> Sequence[str]:
        with session(self._server) as opened:
            opened.noop()
            how = f"over {opened.encryption}" if opened.encryption else "without encryption"
            largest = opened.largest
            return [
                f"{self._server.shown} answers {how}",
                "no login is configured" if self.options.username is None else f"logged in as {self.options.username}",
                "it states no limit of size" if largest is None else f"it takes mails of up to {largest} bytes",
                f"it takes {'' if opened.international else 'no '}international addresses (SMTPUTF8)",
            ]

    def deliver(self, job: Job) -> Receipt:
        letter = self._letter(job)
        done = {at for step, sent in job.steps.items() if step.startswith(_SENT) for at in json.loads(sent)}
        everyone = letter.recipients
        owed = {address: at for at, address in enumerate(everyone) if at not in done}
        refused: dict[str, str] = {}
        if owed:
            with session(self._server) as opened:
                outcome = self._send(opened, letter, job, list(owed))
                if outcome.accepted:
                    # Before anything else: whoever has it must not get it again.
                    job.record(f"{_SENT}{job.attempt}", json.dumps([owed[each] for each in outcome.accepted]))
            refused = outcome.refused
            if outcome.deferred:
                raise DeliveryError(f"{self._server.shown} does not take it now for {_listed(outcome.deferred)}")
            if not outcome.accepted and not done:
                raise DeliveryError(f"{self._server.shown} refused {_listed(refused)}", permanent=True)
        key = letter.headers["Message-ID"]
        return Receipt(f"{key} (not taken for {_listed(refused)})" if refused else key)

    def _send(self, opened: Session, letter: _Letter, job: Job, recipients: list[str]) -> Outcome:
        sender, from_ = letter.sender, _wired(letter.from_.address)
        if not opened.international and not sender.isascii() and from_.isascii():
            sender = from_  # bounces go there, rather than the mail nowhere
        ours = [*recipients, sender, from_]
        utf8 = not all(each.isascii() for each in ours)
        if utf8 and not opened.international:
            strange = next(each for each in ours if not each.isascii())
            raise DeliveryError(
                f"{self._server.shown} takes no international addresses (SMTPUTF8): {strange}", permanent=True
            )
        try:
            mail = self._written(letter, job, files=True, utf8=utf8)
            return opened.send(sender, recipients, mail.size, mail.chunks(), utf8=utf8)
        except TooLarge:
            if not job.attachments:
                raise
        mail = self._written(letter, job, files=False, utf8=utf8)
        return opened.send(sender, recipients, mail.size, mail.chunks(), utf8=utf8)

    # What is sent

    def _letter(self, job: Job) -> _Letter:
        mode: Mode = job.content.fields.get("mode") or self.options.mode
        from_ = self._from or Address(job.message.recipient.address, job.message.recipient.name)
        try:
            outgoing.wire_address(from_.address)
        except ValueError as error:
            raise DeliveryError(f"the mail has no sender: {error}", permanent=True) from None
        return self._answer(job, from_) if mode == "reply" else self._onward(job, mode, from_)

    def _answer(self, job: Job, from_: Address) -> _Letter:
        if job.answer is None:
            raise NothingToDo(_why_unanswered(job.message))
        try:
            outgoing.wire_address(job.answer.to)
        except ValueError as error:
            raise NothingToDo(f"its sender cannot be answered: {error}") from None
        if address_key(job.answer.to) in self._own_addresses(job):
            raise NothingToDo(f"it gets no answer: that would go to {job.answer.to}, where the mail was sent to")
        plain = self.options.format == "plain"
        if _same_words(job.content.body, (job.message.text or "") if plain else markdown_of(job.message)):
            # It would carry anybody's text to whatever address stands in a forged From.
            raise DeliveryError("a reply needs a `body`: the mail's own text is not sent back", permanent=True)
        headers = dict(job.answer.headers)
        reply_to = [Address(headers.pop("Reply-To"))] if "Reply-To" in headers else []
        return _Letter("reply", "", from_, [Address(job.answer.to)], [], reply_to, headers)

    def _onward(self, job: Job, mode: Mode, from_: Address) -> _Letter:
        message, fields = job.message, job.content.fields
        loop = next((verdict for verdict in message.kinds if verdict.kind == "loop"), None)
        if loop is not None:
            raise NothingToDo(f"it goes in a circle, and is not sent on: {loop.evidence}")
        try:
            to = [outgoing.read_mailbox(each) for each in (fields.get("to") or self.options.to)]
            cc = [outgoing.read_mailbox(each) for each in (fields.get("cc") or [])]
            wired = [outgoing.wire_address(each.address) for each in [*to, *cc]]
        except ValueError as error:
            raise DeliveryError(str(error), permanent=True) from None
        if not to:
            raise DeliveryError("neither the rule nor the destination says `to` whom", permanent=True)
        if len(wired) > _MOST_RECIPIENTS:
            raise DeliveryError(f"{len(wired)} recipients are too many for one mail", permanent=True)
        own = self._own_addresses(job)
        if back := next((each for each in wired if address_key(each) in own), None):
            reason = f"it would go back to {back}, where it came from: a loop"
            raise DeliveryError(reason, permanent=True)
        # A notice of a bounce must never bounce itself (RFC 5321, 4.5.5).
        sender = ""
        if message.return_path.address:
            conversation = self.options.return_path == "conversation" and _is_address(job.reply_address)
            sender = outgoing.wire_address(job.reply_address if conversation else from_.address)
        writers = [*message.reply_to] or ([message.from_] if message.from_ else [])
        shown = from_
        if mode == "resend" and message.from_ is not None:
            shown = Address(from_.address, message.from_.name or message.from_.address)
        return _Letter(mode, sender, shown, to, cc, writers, _onward_headers(job, from_))

    def _own_addresses(self, job: Job) -> set[str]:
        """Where mail would come back to this very conversation."""
        found = (job.message.recipient.address, job.message.envelope_recipient, job.reply_address)
        return {address_key(each) for each in found if each}

    def _written(self, letter: _Letter, job: Job, *, files: bool, utf8: bool) -> Part:
        """The whole mail: the same bytes at every attempt."""
        message = job.message
        notes = []
        if not files:
            why = f"the mail server takes no mail that large; on the page of this mail: {job.message_url}"
            notes = [not_taken(each.info.name, each.info.size, why) for each in job.attachments]
        attachments = job.attachments if files else ()
        token = hashlib.sha256(job.key.encode()).hexdigest()[:32]
        if letter.mode == "resend":
            subject = message.subject or ""
            body = original_body(message, attachments, token, notes)
        elif letter.mode == "reply":
            subject = _answer_subject(job)
            body = self._text(job, token, [])
        else:
            subject = title_of(job, _SUBJECT)
            original = outgoing.whole(original_headers(message), original_body(message, attachments, token, []))
            parts = [self._text(job, token, notes), outgoing.attached_mail(original)]
            body = outgoing.multipart("mixed", f"=_f{token}", parts)
        headers = [
            outgoing.mailboxes_header("From", [letter.from_], utf8=utf8),
            outgoing.mailboxes_header("To", letter.to, utf8=utf8),
            outgoing.mailboxes_header("Cc", letter.cc, utf8=utf8),
            outgoing.mailboxes_header("Reply-To", letter.reply_to, utf8=utf8),
            outgoing.header("Subject", subject),
            # Of the mail's receipt: an attempt hours later must say the same.
            outgoing.date_header(message.received_at / 1000),
        ]
        for name, value in letter.headers.items():
            is_of_keys = name in ("Message-ID", "In-Reply-To", "References")
            headers.append(outgoing.keys_header(name, value) if is_of_keys else outgoing.header(name, value))
        return outgoing.whole(headers, body)

    def _text(self, job: Job, token: str, notes: Sequence[str]) -> Part:
        """What the rule says: plain, or from Markdown as HTML too."""
        text = compose(job, self.markup(self.options), notes=notes, marker="")
        if self.options.format == "plain":
            return outgoing.text_part(text)
        from postroom.markdown import html
        from postroom.markdown import text as plain

        both = [outgoing.text_part(plain.convert(text)), outgoing.text_part(html.convert(text), "html")]
        return outgoing.multipart("alternative", f"=_t{token}", both)


def _onward_headers(job: Job, from_: Address) -> dict[str, str]:
    """Marks of our own mail; and references to the original and what it answers, by which mail programs group it."""
    headers = dict(job.own_headers) or {"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All"}
    headers.setdefault("Message-ID", f"<{job.key}@{from_.domain or 'localhost'}>")
    own = job.message.message_id
    older = [key for key in reversed(job.message.references[:_MOST_REFERENCES]) if key != own]
    if own or older:
        headers["References"] = " ".join([*older, *([own] if own else [])])
    return headers


def _answer_subject(job: Job) -> str:
    """`Re:` and the mail's own subject, unless the rule gave a title of its own."""
    assert job.answer is not None
    own = (job.message.subject or "").split()
    return job.answer.subject if not own or job.content.title.split() == own else title_of(job, _SUBJECT)


def _why_unanswered(message: Message) -> str:
    kinds = [v for v in message.kinds if v.kind in ("bounce", "auto_reply", "list", "loop")]
    if kinds:
        why = f"it is of the kind {kinds[0].kind} ({kinds[0].evidence})"
    elif not message.return_path.address:
        why = "its envelope has no sender"
    elif message.from_ is None and not message.reply_to:
        why = "it names no sender"
    else:
        why = "its sender asks for none, or has no address"
    return f"it gets no automatic answer: {why}"


def _same_words(body: str, text: str) -> bool:
    """Whether two texts begin alike, whatever markup stands between the words."""
    mine, theirs = ("".join(re.findall(r"\w", each[:10_000]))[:1_000] for each in (body, text))
    return mine == theirs


def _wired(address: str) -> str:
    try:
        return outgoing.wire_address(address) if address else ""
    except ValueError as error:
        raise DeliveryError(str(error), permanent=True) from None


def _is_address(text: str) -> bool:
    try:
        return bool(outgoing.wire_address(text))
    except ValueError:
        return False


def _listed(answers: dict[str, str]) -> str:
    return "; ".join(f"{address}: {said}" for address, said in answers.items())[:1000]


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
