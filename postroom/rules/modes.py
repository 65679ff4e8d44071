"""`mode` of a rule: whether it acts, for which share of the conversations, or only says what it would have done."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from postroom.message import Message
from postroom.problems import did_you_mean
from postroom.rules.reading import Reading
from postroom.yamlfile import Node

WORDS = ("live", "log_only", "disabled")


@dataclass(frozen=True, slots=True)
class Mode:
    """A rule that does not act is absent for `stop`, `unmatched` and `first_only`; that it matched is recorded."""

    word: str
    share: float = 1.0
    """Of the conversations, from 0 to 1."""

    def acts(self, rule: str, message: Message) -> bool:
        """The same answer for all mails of one conversation, as far as their headers show it."""
        if self.word != "share":
            return self.word == "live"
        root = message.references[-1] if message.references else message.message_id or message.id
        digest = hashlib.blake2b(f"{rule}\0{root}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "big") < self.share * 2**64

    def __str__(self) -> str:
        return f"{self.share * 100:.6g}%" if self.word == "share" else self.word


LIVE = Mode("live")


def read_mode(node: Node, what: str, reading: Reading) -> Mode | None:
    """None, and reported, where it is no mode."""
    scalar = reading.text(node, what)
    if scalar is None:
        return None
    if scalar.value in WORDS:
        return Mode(scalar.value)
    found = re.fullmatch(r"(\d{1,3}(?:\.\d{1,3})?) ?%", scalar.value.strip())
    if found and float(found[1]) <= 100:
        return Mode("share", float(found[1]) / 100)
    hint = did_you_mean(scalar.value, WORDS) or "; or a share of the conversations, such as 10%"
    reading.report(scalar, f"{what} must be live, log_only or disabled{hint}")
    return None
