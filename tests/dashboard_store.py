"""A store for the tests of history and dashboard, filled row by row."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from postroom.ids import new_id, now_ms
from postroom.message import Address, Attachment, Message
from postroom.plan import Content
from postroom.store import content, database
from postroom.store.conversations import addressee_key, sender_key

JO = Address("jo@example.org", "Jo")


class StoreBuilder:
    """Inserts what a running Postroom would; every method gives the id or seq of what it made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        database.migrate(path)
        self.db = database.connect(path)
        self.db.execute("INSERT INTO rule_sets (hash, files, created_at) VALUES ('h', ?, 1)", (content.pack_files({}),))

    def message(
        self,
        subject: str | None = "Hello",
        *,
        sender: Address | None = JO,
        recipient: str = "support@example.com",
        state: str = "routed",
        reason: str | None = None,
        matched: tuple[str, ...] = (),
        conversation: int | None = None,
        files: tuple[tuple[str, bytes], ...] = (),
        payload: bytes | None = b'{"Message": 1}',
        keep_content: bool = True,
        received_at: int | None = None,
        found_by: str | None = None,
        **more: Any,
    ) -> str:
        """One message with its content; `files` are names and bytes of attachments."""
        (seq,) = self.db.execute("SELECT COALESCE(MAX(seq), 0) + 1 FROM messages").fetchone()
        parts = tuple(
            Attachment(name, "application/pdf", len(data), hashlib.sha256(data).hexdigest()) for name, data in files
        )
        more.setdefault("text", "Some text.")
        message = Message(
            id=new_id(),
            received_at=now_ms() if received_at is None else received_at,
            ingress="socketlabs",
            recipient=Address(recipient),
            return_path=Address("bounce@example.org"),
            from_=sender,
            subject=subject,
            attachments=parts,
            size=4321,
            **more,
        )
        self.db.execute(
            f"INSERT INTO messages VALUES ({', '.join('?' * 22)})",
            (
                seq,
                message.id,
                message.received_at,
                message.ingress,
                recipient,
                message.return_path.address,
                sender.address if sender else None,
                sender.name if sender else None,
                subject[:1000] if subject else subject,
                state,
                reason,
                1,
                "\n".join(matched),
                conversation or seq,
                message.size,
                len(parts),
                sender_key(message),
                addressee_key(message),
                " ".join(verdict.kind for verdict in message.kinds),
                found_by,
                None,
                None,
            ),
        )
        if keep_content:
            self.db.execute("INSERT INTO contents VALUES (?, ?)", (seq, content.pack(message, payload)))
        for position, (part, (_, data)) in enumerate(zip(parts, files, strict=True)):
            blob = self.db.execute("INSERT INTO blobs (sha256, size) VALUES (?, ?)", (part.sha256, part.size)).lastrowid
            for number, start in enumerate(range(0, len(data), 1000)):
                self.db.execute("INSERT INTO chunks VALUES (?, ?, ?)", (blob, number, data[start : start + 1000]))
            self.db.execute("INSERT INTO attachments VALUES (?, ?, ?)", (seq, position, blob))
        return message.id

    def seq(self, message: str) -> int:
        """The seq of a message."""
        seq: int = self.db.execute("SELECT seq FROM messages WHERE id = ?", (message,)).fetchone()[0]
        return seq

    def delivery(
        self,
        message: str,
        state: str = "delivered",
        *,
        destination: str = "jira",
        reference: str | None = None,
        url: str | None = None,
        reason: str | None = None,
        rule: str = "Crash reports",
        attempts: tuple[tuple[Any, ...], ...] = (),
        sends: Content | None = None,
        next_at: int = 0,
    ) -> str:
        """One delivery; `attempts` are (started_at, took_ms, result, status, error, answer)."""
        id, seq = new_id(), self.seq(message)
        row = self.db.execute(
            "INSERT INTO deliveries (id, message, conversation, rule, action, destination, state, reason, attempts,"
            " tries, next_at, created_at, content, reference, url)"
            " VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                id,
                seq,
                seq,
                rule,
                destination,
                state,
                reason,
                len(attempts),
                len(attempts),
                next_at,
                now_ms(),
                content.pack_content(sends) if sends else None,
                reference,
                url,
            ),
        ).lastrowid
        for number, attempt in enumerate(attempts, 1):
            self.db.execute(
                "INSERT INTO attempts (delivery, number, started_at, took_ms, result, status, error, answer)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (row, number, *attempt),
            )
        return id

    def event(self, message: str, what: str, who: str = "ada", detail: str | None = None) -> None:
        """Something that happened to a message."""
        self.db.execute(
            "INSERT INTO events (at, who, what, message, detail) VALUES (?, ?, ?, ?, ?)",
            (now_ms(), who, what, self.seq(message), detail),
        )

    def item(self, message: str, destination: str, reference: str, url: str | None = None) -> None:
        """The item of a message's conversation at a destination."""
        self.db.execute(
            "INSERT INTO items SELECT conversation, ?, ?, ?, 1, ? FROM messages WHERE id = ?",
            (destination, reference, url, now_ms(), message),
        )

    def step(self, delivery: str, step: str, reference: str) -> None:
        """A finished step of a delivery."""
        self.db.execute(
            "INSERT INTO steps SELECT seq, ?, ?, ? FROM deliveries WHERE id = ?", (step, reference, now_ms(), delivery)
        )
