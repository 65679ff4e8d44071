"""A test delivery: proves the way to one destination from the outbox on, with a message that nobody sent.

It is a message like any other, of the way in `test`, and stays on record. No rule is asked, so none has to be there:
what the destination gets stands in the delivery from the beginning, under a rule of the name `(test)`.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime

from postroom.identity import identify
from postroom.ids import new_id
from postroom.mail.targets import Markup, escape
from postroom.message import Address, Message
from postroom.plan import Content, Plan, Step
from postroom.recognise import NO_TIES
from postroom.store.brake import Brake
from postroom.store.content import pack, pack_content
from postroom.store.conversations import addressee_key, sender_key
from postroom.store.messages import Inserter, NewMessage
from postroom.store.rulesets import active

INGRESS, RULE = "test", "(test)"
# RFC 2606: nobody has this domain, and no answer finds there.
_NOBODY = Address("test@postroom.invalid", "Postroom")


def send(db: sqlite3.Connection, destination: str, markup: Markup, who: str, now: int) -> str:
    """Stores a test message with one delivery, inside the transaction of its caller. Returns the message's id.

    `markup`: of the destination; `now`: milliseconds since 1970. Raises LookupError before the first rule set.
    """
    rule_set = active(db)
    if rule_set is None:
        raise LookupError("no rule set is active")
    id, moment = new_id(), datetime.fromtimestamp(now / 1000, UTC)
    text = (
        f"This is a test, sent by {who} from the dashboard at {moment:%Y-%m-%d %H:%M:%S} UTC, to see whether deliveries"
        f" reach {destination}. No mail stands behind it; what it made here may be deleted."
    )
    message = Message(
        id=id,
        received_at=now,
        ingress=INGRESS,
        recipient=_NOBODY,
        from_=_NOBODY,
        to=(_NOBODY,),
        subject=f"Test from Postroom, by {who}",
        text=text,
        message_id=f"<{id}@postroom.invalid>",
        size=len(text),
    )
    new = NewMessage(
        message=message,
        identity=identify(message),
        block=pack(message, None),
        contents=(),
        plan=Plan(steps=(Step(RULE, 0, destination, reuse=False),)),
        rule_set=rule_set,
        ties=NO_TIES,
        sender=sender_key(message),
        addressee=addressee_key(message),
    )
    # Without the loop brake: it is a person who presses the button again.
    Inserter(Brake()).insert_all(db, [new])
    content = Content(message.subject or "", escape(markup, text))
    message_seq, delivery_seq = db.execute(
        "SELECT m.seq, d.seq FROM messages m JOIN deliveries d ON d.message = m.seq WHERE m.id = ?", (id,)
    ).fetchone()
    db.execute("UPDATE deliveries SET content = ? WHERE seq = ?", (pack_content(content), delivery_seq))
    reason = f"a test delivery to {destination}; no rule was asked"
    db.execute("UPDATE messages SET reason = ? WHERE seq = ?", (reason, message_seq))
    db.execute(
        "INSERT INTO events (at, who, what, message, delivery, detail) VALUES (?, ?, 'test delivery', ?, ?, ?)",
        (now, who, message_seq, delivery_seq, destination),
    )
    return id
