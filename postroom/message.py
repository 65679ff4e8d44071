"""The message: a mail normalised once, for one envelope recipient, and immutable from then on.

Every ingress produces it, rules and templates read it, the store keeps it. Texts hold no NUL and no lone surrogate.
"""

from __future__ import annotations

import msgspec

from postroom.mail.addresses import split_address, split_local
from postroom.mail.dates import parse_date
from postroom.mail.kinds import Verdict


class Address(msgspec.Struct, frozen=True, array_like=True):
    """A mailbox. `address` is as written, without angle brackets; `name` is the decoded display name or empty.

    The null sender of bounces is the empty address. The parts follow RFC 5233: `user+detail@domain`.
    """

    address: str = ""
    name: str = ""

    @property
    def local(self) -> str | None:
        """What stands before the last `@`, unquoted; None where there is no `@`. The null sender's is empty."""
        return split_address(self.address)[0]

    @property
    def domain(self) -> str | None:
        """The domain as written; None where there is no `@`. The null sender's is empty."""
        return split_address(self.address)[1]

    @property
    def user(self) -> str | None:
        """The local part up to the first `+`."""
        local = self.local
        return None if local is None else split_local(local)[0]

    @property
    def detail(self) -> str | None:
        """What follows the first `+` of the local part; None where there is no `+`. The null sender's is empty."""
        if not self.address:
            return ""
        local = self.local
        return None if local is None else split_local(local)[1]

    def __str__(self) -> str:
        return self.address


class Attachment(msgspec.Struct, frozen=True, array_like=True):
    """A part of the mail that is a file. Its bytes lie in the store under `sha256` (lower-case hex)."""

    name: str
    content_type: str
    size: int
    """Decoded size in bytes."""
    sha256: str
    content_id: str = ""
    """Without angle brackets; empty where the part has none."""
    inline: bool = False
    """True for media that the HTML shows in place."""


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One mail to one envelope recipient. Absent texts are None, absent lists empty."""

    id: str
    """UUIDv7 in its usual form; sorts by time of receipt."""
    received_at: int
    """When Postroom received it: milliseconds since 1970, UTC."""
    ingress: str
    """Name of the configured way in."""
    recipient: Address
    """SMTP envelope recipient: where the mail was really sent, our own reply token taken off."""
    envelope_recipient: str = ""
    """The same as it was, where it carried our token; else empty."""
    return_path: Address = Address()
    """SMTP envelope sender; empty for bounces."""
    from_: Address | None = None
    """The From header (the first mailbox of it)."""
    to: tuple[Address, ...] = ()
    cc: tuple[Address, ...] = ()
    reply_to: tuple[Address, ...] = ()
    subject: str | None = None
    text: str | None = None
    """Plain text; made from the HTML where the mail has none."""
    html: str | None = None
    """HTML as received: not safe to show."""
    headers: tuple[tuple[str, str], ...] = ()
    """In the order of the mail; names as written, repeated names kept."""
    attachments: tuple[Attachment, ...] = ()
    message_id: str | None = None
    """With its angle brackets, as every thread key."""
    references: tuple[str, ...] = ()
    """Thread keys of In-Reply-To, then of References, newest first, at most twenty. Of a bounce: those of the mail
    that it returns."""
    kinds: tuple[Verdict, ...] = ()
    """How the mail was classed, each kind with its evidence; empty until `recognise`."""
    auth: tuple[tuple[str, str], ...] = ()
    """Results of `spf`, `dkim` and `dmarc` by method, as a trusted host wrote them (mail/authentication.py)."""
    client_ip: str | None = None
    """The host that handed the mail to the provider."""
    spam_score: float | None = None
    size: int = 0
    """Of the mail in bytes, decoded: headers, bodies and attachments."""
    notices: tuple[str, ...] = ()
    """What the provider or our parser stumbled over."""

    @property
    def date(self) -> int | None:
        """The Date header in milliseconds since 1970; None where it is missing or unreadable."""
        value = self.header("Date")
        return None if value is None else parse_date(value)

    def header(self, name: str) -> str | None:
        """The first value of a header; names compare without regard to case."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)

    def header_all(self, name: str) -> list[str]:
        """All values of a header in the order of the mail."""
        wanted = name.lower()
        return [value for key, value in self.headers if key.lower() == wanted]
