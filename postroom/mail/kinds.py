"""What kind of mail a message is, each verdict with its evidence.

The marks are those of RFC 3834 (automatic answers), RFC 3464 (delivery reports), RFC 2369 and 2919 (lists), and of the
programs that came before them. A verdict is no judgement: rules decide what becomes of a mail.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence

import msgspec

from postroom.mail.bounces import bounce_subject, is_daemon, is_master, reports_failure
from postroom.mail.subjects import has_reply_prefix

MOST_RECEIVED = 25
"""More Received headers than these are a loop."""


class Kind(enum.StrEnum):
    """A mail can be of several kinds."""

    NEW = "new"
    """Neither an answer of anybody nor of a program."""
    REPLY = "reply"
    """Somebody answers. Automatic answers and bounces are none: nobody wrote them."""
    AUTO_REPLY = "auto_reply"
    """A program answered: an absence note, a receipt."""
    BOUNCE = "bounce"
    """A mail server reports that a mail could not be delivered, or not yet."""
    LIST = "list"
    """It came over a mailing list."""
    AUTOMATED = "automated"
    """A program wrote it, unasked."""
    LOOP = "loop"
    """It is ours and came back, or it goes in a circle."""


class Verdict(msgspec.Struct, frozen=True, array_like=True):
    """One kind and the strongest evidence for it."""

    kind: str
    evidence: str
    """A short phrase on one line."""


_LIST_HEADERS = (
    "list-id", "list-post", "list-unsubscribe", "list-subscribe", "list-help", "list-owner", "list-archive"
)  # fmt: skip
_AUTO_HEADERS = (
    "x-autoreply",
    "x-autorespond",
    "x-autoresponse",
    "x-autoreply-from",
    "x-auto-reply-from",
    "x-mail-autoreply",
)
_LOOKED_AT = frozenset(
    (*_LIST_HEADERS, *_AUTO_HEADERS, "content-type", "x-failed-recipients", "auto-submitted", "precedence")
)
_AUTO_SUBJECTS = re.compile(
    r"(?:\[?(?:automatic|automated|auto)[- ]?(?:reply|response|answer|responder)\b|autoreply|autoresponse"
    r"|out[- ]of[- ](?:the )?office|ooo:|i am out of|away from (?:my mail|the office)|vacation (?:reply|notice|message)|on vacation"
    r"|abwesenheit|abwesend|automatische (?:antwort|rückantwort)|automatische beantwortung|auto(?:matisch)? antwoord|automatisch antwoord"
    r"|afwezig|réponse automatique|absence du bureau|absent du bureau|message d.absence|respuesta autom[áa]tica|fuera de (?:la )?oficina"
    r"|ausente|risposta automatica|fuori sede|fuori ufficio|resposta autom[áa]tica|ausência|fora do escritório"
    r"|autosvar|automatiskt svar|automatisk svar|frånvaro|fravær|automaattinen vastaus|poissa"
    r"|autoodpowiedź|odpowiedź automatyczna|automatyczna odpowiedź|nieobecno|automatická odpověď|automatická odpoveď|mimo kancelář"
    r"|automatikus válasz|răspuns automat|otomatik (?:yanıt|cevap)|автоматический ответ|автоответ|автоматична відповідь"
    r"|αυτόματη απάντηση|自動応答|自動返信|不在|自动回复|自動回覆|自动答复|외출|부재중|자동 회신|תשובה אוטומטית|رد تلقائي"
    r"|read: |gelesen: |lu ?: |read receipt|return receipt|lesebestätigung)",
    re.IGNORECASE,
)
_NO_REPLY = re.compile(r"(?:do[-_.]?)?no?t?[-_.]?reply(?:[-_.+].*)?|(?:.{1,60}[-_.+])?no[-_.]?reply", re.IGNORECASE)
_NOTIFIERS = frozenset(
    ("notification", "notifications", "alerts", "nagios", "zabbix", "icinga", "cron", "daemon", "root", "www-data")
)
_DSN = ("message/delivery-status", "message/global-delivery-status")
_LONGEST_VALUE = 1_000
_LONGEST_EVIDENCE = 150


def classify(
    *,
    headers: Sequence[tuple[str, str]],
    return_path: str | None,
    sender: str | None,
    subject: str | None,
    text: str | None,
    attachment_types: Sequence[str] = (),
    answers: str | None = None,
    own_loop: str | None = None,
) -> tuple[Verdict, ...]:
    """The kinds of a mail; `new` where it is neither reply nor bounce nor automatic answer.

    `return_path` is the envelope sender, empty for the null sender, None where it is not known. `answers` and
    `own_loop` are evidence that the caller has: that the mail answers another, that it is one of ours that came back.
    """
    known: dict[str, str] = {}
    received = 0
    for name, value in headers:
        folded = name.lower()
        if folded == "received":
            received += 1
        elif folded in _LOOKED_AT:
            known.setdefault(folded, value[:_LONGEST_VALUE])
    subject = subject or ""
    automatic = _auto_reply(known, subject, return_path)
    bounce = _bounce(known, return_path, sender or "", subject, text or "", attachment_types, bool(automatic))
    found: list[tuple[Kind, str]] = []
    if own_loop:
        found.append((Kind.LOOP, own_loop))
    elif received > MOST_RECEIVED:
        found.append((Kind.LOOP, f"{received} Received headers"))
    if bounce:
        found.append((Kind.BOUNCE, bounce))
    elif automatic:
        found.append((Kind.AUTO_REPLY, automatic))
    elif answers or has_reply_prefix(subject):
        found.append((Kind.REPLY, answers or f"Subject: {subject}"))
    else:
        found.append((Kind.NEW, "nothing shows that it answers another mail"))
    if listed := _list(known):
        found.append((Kind.LIST, listed))
    if automated := _automated(known, sender or ""):
        found.append((Kind.AUTOMATED, automated))
    return tuple([Verdict(kind.value, _short(evidence)) for kind, evidence in found])


def _bounce(
    known: Mapping[str, str],
    return_path: str | None,
    sender: str,
    subject: str,
    text: str,
    attachment_types: Sequence[str],
    automatic: bool,
) -> str | None:
    content_type = known.get("content-type", "").lower()
    if "delivery-status" in content_type and "report-type" in content_type:
        return "Content-Type: report-type=delivery-status"
    if any(each in _DSN for each in attachment_types):
        return "a part of type message/delivery-status"
    if "x-failed-recipients" in known:
        return f"X-Failed-Recipients: {known['x-failed-recipients']}"
    for address, what in ((sender, "sender"), (return_path or "", "envelope sender")):
        if address and is_daemon(address):
            return f"the {what} is {address}"
    if return_path == "" and not automatic:
        return "the envelope sender is empty"
    # Weaker signs count in pairs: people write about bounces too.
    reported = bounce_subject(subject)
    if reported and is_master(sender):
        return f"{sender} writes: {subject}"
    if (reported or is_master(sender) or return_path == "") and reports_failure(text):
        return f"Subject: {subject}" if reported else f"{sender or 'the null sender'} writes of a failed delivery"
    return None


def _auto_reply(known: Mapping[str, str], subject: str, return_path: str | None) -> str | None:
    if _word(known.get("auto-submitted", "")) == "auto-replied":
        return f"Auto-Submitted: {known['auto-submitted']}"
    if "disposition-notification" in known.get("content-type", "").lower():
        return "Content-Type: report-type=disposition-notification"
    for name in _AUTO_HEADERS:
        if name in known and known[name].strip().lower() not in ("no", "false", "0"):
            return f"{name.title()}: {known[name]}"
    if _word(known.get("precedence", "")) in ("auto_reply", "auto-reply"):
        return f"Precedence: {known['precedence']}"
    if _AUTO_SUBJECTS.match(subject.lstrip()[:200]):
        return f"Subject: {subject}"
    return None


def _list(known: Mapping[str, str]) -> str | None:
    for name in _LIST_HEADERS:
        if name in known:
            return f"{name.title()}: {known[name]}"
    return f"Precedence: {known['precedence']}" if _word(known.get("precedence", "")) in ("list", "bulk") else None


def _automated(known: Mapping[str, str], sender: str) -> str | None:
    submitted = _word(known.get("auto-submitted", ""))
    if submitted and submitted not in ("no", "auto-replied"):
        return f"Auto-Submitted: {known['auto-submitted']}"
    local = sender.rpartition("@")[0].lower()
    if local and (local in _NOTIFIERS or _NO_REPLY.fullmatch(local[:100])):
        return f"the sender is {sender}"
    return f"Precedence: {known['precedence']}" if _word(known.get("precedence", "")) in ("bulk", "junk") else None


def _word(value: str) -> str:
    """The keyword of a header, without its parameters and comments (RFC 3834, 5)."""
    return value.partition(";")[0].partition("(")[0].strip().lower()


def _short(evidence: str) -> str:
    told = " ".join(evidence[: 4 * _LONGEST_EVIDENCE].split())
    return told if len(told) <= _LONGEST_EVIDENCE else f"{told[: _LONGEST_EVIDENCE - 1]}…"
