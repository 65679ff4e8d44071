"""Addresses in headers (RFC 5322, 3.4), as they really occur, and when two of them are equal."""

from __future__ import annotations

import re
from functools import lru_cache

from postroom.mail.folding import fold, fold_domain

LONGEST_HEADER = 60_000
"""Characters of one header that are read."""
MOST = 1_000
"""Addresses of one header that are read."""

_PLAIN = re.compile(r"(?!')[^\s\"(),:;<>@\[\]\\]{1,64}@[^\s\"(),:;<>@\[\]\\]{1,255}")
_ENCODED = r"=\?[^?\s]{1,40}\?[bBqQ]\?[^?\s]{0,300}\?="
_SPECIAL = re.compile(rf"[\"(<,;:]|@\[|{_ENCODED}")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_PAIR = re.compile(r"\\(.)", re.DOTALL)
_BLANKS = re.compile(r"\s+")
_LITERAL_END = re.compile(r"[\]>,;\s]")
_SHORT_COMMENT = re.compile(r"\([^()]{0,200}\)")
_COMMENT = re.compile(r"[()]|\\.", re.DOTALL)
_ANGLE = re.compile(r"[<>]")
_SEPARATOR = re.compile(r"[,;]")


def parse_addresses(value: str) -> list[tuple[str, str]]:
    """Display name and address of each mailbox of a header such as To, Cc, From or Reply-To.

    Groups are expanded, semicolons separate like commas, a comma in an unquoted name stays in it (`Smith, J <j@x>`).
    What has no `@` is left out. Encoded words are left as they are: they are decoded after the addresses were told
    apart, for they may hold commas. Of a header, LONGEST_HEADER characters and MOST mailboxes are read.
    """
    plain = value.strip()
    if _PLAIN.fullmatch(plain):
        return [("", plain)]
    return _Parser(value[:LONGEST_HEADER]).mailboxes()


class _Parser:
    """One pass over the header. What stands before a mailbox is collected until a separator or an angle bracket."""

    def __init__(self, value: str) -> None:
        self._value = value
        self._found: list[tuple[str, str]] = []
        self._words: list[str] = []
        """Of the mailbox at hand: texts as they stand, quoted ones without their quotes."""
        self._quoted_local = ""
        self._comment = ""
        self._kept: list[str] = []
        """Words before a comma that were no address: the beginning of an unquoted name such as `Smith, J`."""

    def mailboxes(self) -> list[tuple[str, str]]:
        value, at = self._value, 0
        # A comment or a quotation that never ends makes every later one endless too: each is looked for once.
        open_quote = open_comment = False
        while at < len(value) and len(self._found) < MOST:
            found = _SPECIAL.search(value, at)
            if found is None:
                self._word(value[at:])
                break
            self._word(value[at : found.start()])
            at, char = found.end(), found[0]
            if char == '"' and not open_quote:
                quoted = _QUOTED.match(value, found.start())
                if quoted is None:
                    open_quote = True
                    continue
                at = quoted.end()
                self._quotation(quoted, value[at : at + 1] == "@")
            elif char == "(" and not open_comment:
                end = _comment_end(value, at)
                if end < 0:
                    open_comment = True
                    continue
                self._comment = self._comment or value[at : end - 1]
                at = end
            elif char == "<":
                end = _angle_end(value, at)
                self._angle(value[at:end])
                at = end + 1 if value[end : end + 1] == ">" else end
            elif char == "@[":
                end_of = _LITERAL_END.search(value, at)
                at = len(value) if end_of is None else end_of.end() if end_of[0] == "]" else end_of.start()
                self._domain_literal(value[found.start() : at])
            elif char[0] == "=":
                self._word(char)
            elif char == ",":
                self._separator(keep=True)
            elif char == ";":
                self._separator(keep=False)
            elif char == ":":
                self._colon()
        self._separator(keep=False)
        return self._found[:MOST]

    def _word(self, text: str) -> None:
        if word := text.strip():
            self._words.append(word)

    def _domain_literal(self, text: str) -> None:
        local = self._words.pop() if self._words else ""
        self._words.append(local + text)

    def _quotation(self, quoted: re.Match[str], is_local: bool) -> None:
        if is_local:
            # `"jo doe"@example.org`: the quotes belong to the address.
            self._words.append(quoted[0])
            self._quoted_local = quoted[0]
        else:
            self._words.append(_PAIR.sub(r"\1", quoted[1]))

    def _angle(self, inside: str) -> None:
        address = _BLANKS.sub("", _SHORT_COMMENT.sub("", inside)) if '"' not in inside else inside.strip()
        address = address.strip("<> ")
        if address.startswith("@") and ":" in address:
            address = address.rpartition(":")[2]  # a route, RFC 5322, 4.4
        if address[:7].lower() == "mailto:":
            address = address[7:]
        name = " ".join([*self._kept, *self._words])
        if "@" in address.strip("@"):
            self._found.append((_name(name or self._comment), address))
        self._reset()

    def _separator(self, *, keep: bool) -> None:
        if not self._words:
            self._comment = ""
            if not keep:
                self._reset()
            return
        text = "".join(self._words) if self._quoted_local else " ".join(self._words)
        bare = text[7:] if text[:7].lower() == "mailto:" else text
        candidates = [bare] if self._quoted_local else [word for word in bare.split() if "@" in word.strip("@")]
        if candidates:
            # `jo@example.org Jo Doe`: what stands beside is a name without its brackets.
            for address in candidates:
                others = "" if len(candidates) > 1 else bare.replace(address, "", 1).strip(">")
                self._found.append((_name(others.strip() or self._comment), address.strip("'>")))
            self._reset()
        elif keep:
            self._kept = [*self._kept[-8:], text + ","]
            self._words = []
        else:
            self._reset()

    def _colon(self) -> None:
        if self._words and self._words[-1].lower() == "mailto":
            self._words.pop()
        else:
            # What stands before is the name of a group; its members follow.
            self._reset()

    def _reset(self) -> None:
        self._words, self._kept, self._comment, self._quoted_local = [], [], "", ""


def _comment_end(value: str, at: int) -> int:
    """Where a comment ends, comments inside it included; -1 where it never does."""
    depth = 1
    for found in _COMMENT.finditer(value, at):
        depth += {"(": 1, ")": -1}.get(found[0], 0)
        if depth == 0:
            return found.end()
    return -1


def _angle_end(value: str, at: int) -> int:
    """Where the address in angle brackets ends: at its bracket, or where another sign shows that it has none."""
    while value[at : at + 1] == "<":
        at += 1
    quoted = _QUOTED.match(value, at)
    start = quoted.end() if quoted else at
    end = _ANGLE.search(value, start)
    if end is None or end[0] == "<":
        end = _SEPARATOR.search(value, start, end.start() if end else len(value)) or end
    return end.start() if end else len(value)


def _name(text: str) -> str:
    shown = _BLANKS.sub(" ", text).strip().rstrip(",")
    if len(shown) > 1 and shown[0] == shown[-1] == "'":
        shown = shown[1:-1]
    return shown.strip()


def split_address(address: str) -> tuple[str | None, str | None]:
    """Local part, unquoted, and domain. Both are None without an `@`, and empty for the null sender."""
    if not address:
        return "", ""
    local, at, domain = address.rpartition("@")
    if not at:
        return None, None
    if len(local) > 1 and local[0] == local[-1] == '"':
        local = _PAIR.sub(r"\1", local[1:-1])
    return local, domain


def split_local(local: str) -> tuple[str, str | None]:
    """User and detail (RFC 5233): what stands before and after the first `+`. No `+`: no detail."""
    user, plus, detail = local.partition("+")
    return user, detail if plus else None


def address_key(address: str) -> str:
    """The form in which equal addresses are equal: without regard to case, the local part unquoted and in NFC, the
    domain as A-labels without a dot at its end. What has no `@` is folded as it is."""
    return _cached_key(address) if len(address) < 400 else _key(address)


def _key(address: str) -> str:
    local, domain = split_address(address)
    if local is None or domain is None:
        return fold(address)
    return f"{fold(local)}@{fold_domain(domain)}" if address else ""


_cached_key = lru_cache(maxsize=4096)(_key)


def same_address(one: str, other: str) -> bool:
    """Whether two addresses name one mailbox."""
    return address_key(one) == address_key(other)
