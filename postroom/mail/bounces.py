"""What mail servers write about mail that they could not deliver (RFC 3464, and the many who never read it)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from postroom.mail.threads import message_key, thread_keys

LONGEST = 200_000
"""Characters of a text or a part that are searched for the returned mail, from its start and from its end."""
LOOKED_AT = 20_000
"""Characters of a text that are searched for what reports say."""

_SUBJECTS = re.compile(
    r"(?:"
    r"undeliver(?:ed|able|y)\b|undelivered mail|mail delivery (?:failed|failure|problem|system|status|warning|error)"
    r"|delivery (?:status notification|failure|has failed|error|report|notification|problem|warning)"
    r"|delivery to the following|delayed mail|failure (?:notice|delivery)|failed mail|mail failure|mail failed|mail error"
    r"|(?:message|e-?mail|mail) (?:delivery )?(?:could not be delivered|not delivered|undeliverable|delivery failure)"
    r"|(?:e-?mail|message) delivery (?:failure|failed|error)|returned (?:mail|e-?mail|message)|returned to sender"
    r"|mail (?:could not be|not) delivered|permanent delivery failure|(?:permanent|transient|temporary) delivery (?:failure|error)"
    r"|non[- ]?delivery|nondeliverable|notification d.(?:état|échec)|warning: (?:message|could not send|.{0,80}user unknown)"
    r"|your (?:message|mail|e-?mail) .{0,120}could not be delivered|could not send message|processing error"
    r"|automatically rejected mail|rejected:|message (?:delayed|bounced)|bounced? (?:mail|message|e-?mail)|\[postmaster\]"
    r"|unzustellbar|nicht zugestellt|zustellung(?:sbenachrichtigung| fehlgeschlagen)|fehler bei der zustellung|.{0,80}nicht zustellbar"
    r"|échec (?:de la )?(?:remise|distribution)|non remis|message non (?:délivré|distribué)|.{0,120}: non remis"
    r"|no se (?:puede|pudo) entregar|correo (?:no entregado|devuelto)|notificación de (?:error|estado) de entrega|mensaje no entregado"
    r"|mancata consegna|recapito non riuscito|impossibile recapitare|messaggio non recapitato"
    r"|não entreg|falha na entrega|mensagem não entregue|devolvid[ao]"
    r"|onbestelbaar|niet bezorgd|bezorging mislukt|kan niet worden bezorgd"
    r"|olevererbar|ej levererat|kunne ikke leveres|ikke levert|leveringsfejl|toimittaminen epäonnistui|toimitusvirhe"
    r"|niedostarczon|nie można dostarczyć|zwrot poczty|nedoručiteln|nedoručeno|kézbesíthetetlen|sikertelen kézbesítés"
    r"|teslim edile|iletilemedi|недостав|не доставлен|ваше сообщение не доставлено|сообщение не доставлено|не вдалося доставити"
    r"|配信不能|配達不能|メール配信エラー|送信できません|退信|无法投递|無法投遞|邮件投递失败|系统退信|배달 실패|반송"
    r")",
    re.IGNORECASE,
)
# fmt: off
_PHRASES = (
    "could not be delivered", "couldn't be delivered", "could not deliver", "unable to deliver", "was not delivered",
    "not be delivered to", "undeliverable", "undelivered", "delivery failed", "delivery failure", "delivery to the following",
    "failed to deliver", "delivery has failed", "did not reach the following", "wasn't able to deliver", "returned to sender",
    "returned to you", "returning message", "message is being returned", "has been delayed", "not yet been delivered",
    "user unknown", "unknown user", "no such user", "user not found", "user does not exist", "unknown recipient",
    "recipient rejected", "recipient address rejected", "mailbox unavailable", "mailbox full", "mailbox is full", "over quota",
    "quota exceeded", "exceeded storage", "mailbox not found", "no mailbox here", "account has been disabled", "host unknown",
    "unrouteable address", "unroutable address", "final-recipient:", "diagnostic-code:", "action: failed", "permanent error",
    "permanent fatal errors", "transcript of session", "smtp error from remote", "mail server permanently rejected",
    "this is the mail system at host", "message was rejected", "550 5.1.1", "550-5.1.1", "554 5.", "550 ", "5.1.1",
    "konnte nicht zugestellt", "nicht zugestellt werden", "n'a pas pu être", "non remis", "no se pudo entregar",
    "non è stato possibile", "não pôde ser entregue", "kon niet worden", "не доставлено", "не может быть доставлено",
    "невозможно доставить", "配信できません", "could not send", "fatal error", "has failed", "message could not",
    "not deliver", "rejected by", "disabled or discontinued", "doesn't have a", "no local mailbox",
)
_DAEMONS = frozenset(("mailer-daemon", "mailerdaemon", "mail-daemon", "maildaemon", "mdaemon", "mailer_daemon", "mail.delivery.system"))
_MASTERS = frozenset(("postmaster", "mail-delivery", "ndr", "bounce", "bounces", "system administrator"))
# fmt: on
_HEADER = re.compile(r"([A-Za-z][A-Za-z0-9-]{0,60}):(.*)", re.DOTALL)
_LONGEST_LINE = 2_000


def is_daemon(address: str) -> bool:
    """Whether an address is one under which mail servers report."""
    return _local(address) in _DAEMONS


def is_master(address: str) -> bool:
    """Whether an address is one under which mail servers, but people too, write about mail."""
    return _local(address) in _MASTERS


def bounce_subject(subject: str) -> bool:
    """Whether a subject begins as those of delivery reports do."""
    return _SUBJECTS.match(subject.lstrip()[:300]) is not None


def reports_failure(text: str) -> bool:
    """Whether the beginning of a text says what delivery reports say."""
    looked_at = text[:LOOKED_AT].lower()
    return any(phrase in looked_at for phrase in _PHRASES)


def returned_keys(text: str | None, parts: Iterable[bytes] = ()) -> tuple[str, ...]:
    """The thread keys of the mail that a bounce returns: its Message-ID, then what it refers to, newest first.

    They stand in the headers of the returned mail, which is a part of its own (RFC 3462) or a copy at the end of the
    text. Empty where neither holds any.
    """
    for part in parts:
        if keys := _keys_in(part[:LONGEST].decode("utf-8", "replace")):
            return keys
    if not text:
        return ()
    return _keys_in(text[:LONGEST]) or (_keys_in(text[-LONGEST:]) if len(text) > LONGEST else ())


def _keys_in(text: str) -> tuple[str, ...]:
    """Of the first block of headers that holds a Message-ID."""
    if "message-id" not in text.lower():
        return ()
    block: dict[str, str] = {}
    name = ""
    for raw in text.splitlines():
        line = raw[:_LONGEST_LINE]
        quoted = line.lstrip("> \t")
        folded = bool(name) and line.startswith((" ", "\t")) and not _HEADER.match(quoted)
        found = None if folded else _HEADER.match(quoted)
        if folded:
            block[name] = f"{block[name]} {quoted}"[:_LONGEST_LINE]
        elif found:
            name = found[1].lower()
            block.setdefault(name, found[2])
        else:
            if "message-id" in block:
                break
            block, name = {}, ""
    own = message_key(block.get("message-id"))
    if own is None:
        return ()
    return tuple(dict.fromkeys((own, *thread_keys(block.get("in-reply-to"), block.get("references")))))[:20]


def _local(address: str) -> str:
    return address.rpartition("@")[0].strip('"<> ').lower() or address.strip("<> ").lower()
