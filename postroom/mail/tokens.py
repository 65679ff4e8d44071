"""What our own mail carries, so that its answers find their way back: signed, for anyone can write to us.

A *token* stands at the end of a reply address (`support+TOKEN@example.com`), the same signature in the Message-IDs that
we make. Both hold the number of a conversation. Tokens are made of small letters and digits, since mail servers may
change the case of a local part, and are checked without regard to it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re

_SIGNATURE_BYTES = 10
"""80 bits: to guess one takes longer than any server listens."""
_TOKEN = re.compile(r"c([a-z2-7]{2,13})-([a-z2-7]{16})", re.IGNORECASE)
_TAGGED = re.compile(r"(?s)(.*)\+(c[a-z2-7]{2,13}-[a-z2-7]{16})(@[^@]*)", re.IGNORECASE)
_LONGEST_ADDRESS = 400
_OWN_ID = re.compile(r"<([^<>@\s]{1,200})\.(c[a-z2-7]{2,13}-[a-z2-7]{16})@[^<>\s]{1,300}>", re.IGNORECASE)


def reply_token(key: bytes, conversation: int) -> str:
    """The token of a conversation, of at most 31 characters. `key` is the installation's secret."""
    return f"c{_number(conversation)}-{_signature(key, 'reply', conversation)}"


def read_token(key: bytes, token: str) -> int | None:
    """The conversation that a token names; None where we did not make it."""
    return _checked(key, "reply", token)


def tagged(address: str, token: str) -> str:
    """The address with a token as the last part of its detail; unchanged where it has no domain."""
    local, at, domain = address.rpartition("@")
    return f"{local}+{token}@{domain}" if at else address


def untagged(key: bytes, address: str) -> tuple[str, int] | None:
    """The address without its token, and the token's conversation; None where it carries no token of ours."""
    found = _TAGGED.fullmatch(address) if len(address) <= _LONGEST_ADDRESS else None
    conversation = _checked(key, "reply", found[2]) if found else None
    return None if found is None or conversation is None else (found[1] + found[3], conversation)


def own_message_id(key: bytes, conversation: int, unique: str, domain: str) -> str:
    """A Message-ID of ours, with its brackets. `unique`: letters, digits and hyphens that no other mail of ours has."""
    purpose = f"id {unique.lower()}"
    return f"<{unique}.c{_number(conversation)}-{_signature(key, purpose, conversation)}@{domain}>"


def read_message_id(key: bytes, message_id: str) -> int | None:
    """The conversation of a Message-ID that we made; None where it is anyone else's."""
    found = _OWN_ID.fullmatch(message_id)
    return _checked(key, f"id {found[1].lower()}", found[2]) if found else None


def loop_mark(key: bytes) -> str:
    """What the header X-Loop of our own mail says: the same for all mail of one installation."""
    return f"postroom-{_signature(key, 'loop', 0)}"


def _checked(key: bytes, purpose: str, token: str) -> int | None:
    found = _TOKEN.fullmatch(token)
    if found is None:
        return None
    digits = found[1].upper()
    try:
        conversation = int.from_bytes(base64.b32decode(digits + "=" * (-len(digits) % 8)), "big")
    except binascii.Error:
        return None
    good = hmac.compare_digest(_signature(key, purpose, conversation), found[2].lower())
    return conversation if good else None


def _number(conversation: int) -> str:
    data = conversation.to_bytes(max(1, (conversation.bit_length() + 7) // 8), "big")
    return base64.b32encode(data).decode().rstrip("=").lower()


def _signature(key: bytes, purpose: str, conversation: int) -> str:
    digest = hmac.digest(key, f"{purpose}\0{conversation}".encode("utf-8", "surrogatepass"), "sha256")
    return base64.b32encode(digest[:_SIGNATURE_BYTES]).decode().lower()
