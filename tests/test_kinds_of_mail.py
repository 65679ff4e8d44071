"""How mails are classed, and what a bounce says about the mail that it returns."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mail.bounces import returned_keys
from postroom.mail.kinds import Kind, classify
from tests.corpus import SOCKETLABS, needs_socketlabs

PLAIN: dict[str, Any] = {
    "headers": (),
    "return_path": "jo@example.org",
    "sender": "jo@example.org",
    "subject": "Printer on fire",
    "text": "It burns.",
}
DSN_TYPE = 'multipart/report; report-type=delivery-status; boundary="x"'


def kinds(**mail: Any) -> dict[str, str]:
    return {verdict.kind: verdict.evidence for verdict in classify(**{**PLAIN, **mail})}


def header(name: str, value: str) -> dict[str, Any]:
    return {"headers": ((name, value),)}


@pytest.mark.parametrize(
    ("mail", "expected"),
    [
        ({}, {"new"}),
        ({"subject": None, "text": None, "sender": None, "return_path": None}, {"new"}),
        # answers
        ({"answers": "it refers to <1@x>"}, {"reply"}),
        ({"subject": "Re: Printer on fire"}, {"reply"}),
        ({"subject": "[list] AW: Drucker"}, {"reply"}),
        ({"subject": "Fwd: Printer on fire"}, {"new"}),
        ({"subject": "Fwd: Undelivered Mail Returned to Sender", "text": "user unknown"}, {"new"}),
        ({"subject": "Re: Undelivered Mail", "text": "user unknown, what now?"}, {"reply"}),
        ({"subject": "Re: Out of office"}, {"reply"}),
        ({"subject": "Re: your absence", "text": "You were out of office"}, {"reply"}),
        # bounces
        ({"headers": (("Content-Type", DSN_TYPE),)}, {"bounce"}),
        ({"headers": (("CONTENT-TYPE", "multipart/report;\r\n\treport-type=Delivery-Status"),)}, {"bounce"}),
        ({"attachment_types": ["text/plain", "message/delivery-status"]}, {"bounce"}),
        (header("X-Failed-Recipients", "a@b.example"), {"bounce"}),
        ({"return_path": ""}, {"bounce"}),
        ({"return_path": "", "answers": "it refers to <1@x>"}, {"bounce"}),
        ({"sender": "MAILER-DAEMON@mx.example.net"}, {"bounce"}),
        ({"sender": "Mailer-Daemon@mx.example.net", "headers": (("Auto-Submitted", "auto-replied"),)}, {"bounce"}),
        ({"return_path": "MAILER-DAEMON"}, {"bounce"}),
        ({"sender": "postmaster@x.example", "subject": "Undeliverable: Hello"}, {"bounce"}),
        ({"sender": "postmaster@x.example", "subject": "Hello", "text": "mailbox is full"}, {"bounce"}),
        ({"sender": "postmaster@x.example", "subject": "Server move on Sunday", "text": "We move."}, {"new"}),
        ({"sender": "gw@x.example", "subject": "Undeliverable: Hello", "text": "User unknown"}, {"bounce"}),
        ({"subject": "Unzustellbar: Hallo", "text": "konnte nicht zugestellt werden"}, {"bounce"}),
        ({"subject": "failure notice", "text": "Hi. This is the qmail-send program. no mailbox here"}, {"bounce"}),
        (
            {"subject": "Mail delivery failed: returning message to sender", "text": "SMTP error from remote"},
            {"bounce"},
        ),
        ({"subject": "Warning: message 1a-b delayed 24 hours", "text": "has not yet been delivered"}, {"bounce"}),
        ({"subject": "Échec de la remise", "text": "n'a pas pu être remis"}, {"bounce"}),
        ({"subject": "Недоставленное сообщение", "text": "не доставлено"}, {"bounce"}),
        # a person who writes about a bounce
        ({"subject": "Mail to you bounces", "text": "I got: 550 5.1.1 user unknown"}, {"new"}),
        ({"subject": "Failure of pump 3", "text": "The pump has failed."}, {"new"}),
        ({"subject": "Undeliverable promises", "text": "Let us talk about them."}, {"new"}),
        ({"subject": "Delivery report for your parcel", "text": "It arrived."}, {"new"}),
        # automatic answers
        (header("Auto-Submitted", "auto-replied"), {"auto_reply"}),
        (header("auto-submitted", "Auto-Replied (vacation)"), {"auto_reply"}),
        (header("Auto-Submitted", "auto-replied; owner-email=x"), {"auto_reply"}),
        (header("X-Autoreply", "yes"), {"auto_reply"}),
        (header("X-Autoreply", "no"), {"new"}),
        (header("X-Autorespond", "Re: x"), {"auto_reply"}),
        (header("X-Autoresponse", "1"), {"auto_reply"}),
        (header("X-AutoReply-From", "a@b"), {"auto_reply"}),
        (header("X-Mail-Autoreply", "vacation"), {"auto_reply"}),
        (header("Precedence", "auto_reply"), {"auto_reply"}),
        (header("Content-Type", "multipart/report; report-type=disposition-notification"), {"auto_reply"}),
        ({"subject": "Automatic reply: Hello"}, {"auto_reply"}),
        ({"subject": "Out of Office: Hello"}, {"auto_reply"}),
        ({"subject": "Automatische Antwort: Hallo"}, {"auto_reply"}),
        ({"subject": "Réponse automatique : Bonjour"}, {"auto_reply"}),
        ({"subject": "Respuesta automática: Hola"}, {"auto_reply"}),
        ({"subject": "自動応答: こんにちは"}, {"auto_reply"}),
        ({"return_path": "", "headers": (("Auto-Submitted", "auto-replied"),)}, {"auto_reply"}),
        ({"return_path": "", "subject": "Abwesenheitsnotiz: Urlaub"}, {"auto_reply"}),
        ({"headers": (("Auto-Submitted", "auto-replied"),), "answers": "it refers to <1@x>"}, {"auto_reply"}),
        # what is no automatic answer
        (header("Auto-Submitted", "no"), {"new"}),
        (header("Auto-Submitted", "No; comment"), {"new"}),
        (header("X-Auto-Response-Suppress", "All"), {"new"}),
        ({"subject": "Automatic doors in hall 3"}, {"new"}),
        # lists
        (header("List-Id", "<list.example.org>"), {"new", "list"}),
        (header("LIST-UNSUBSCRIBE", "<mailto:x@y>"), {"new", "list"}),
        (header("List-Post", "<mailto:x@y>"), {"new", "list"}),
        (header("Precedence", "list"), {"new", "list"}),
        (header("Precedence", "bulk"), {"new", "list", "automated"}),
        ({"headers": (("List-Id", "<x>"),), "subject": "Re: [list] hello"}, {"reply", "list"}),
        # programs
        (header("Auto-Submitted", "auto-generated"), {"new", "automated"}),
        (header("Auto-Submitted", "auto-notified"), {"new", "automated"}),
        (header("Precedence", "junk"), {"new", "automated"}),
        ({"sender": "noreply@example.org"}, {"new", "automated"}),
        ({"sender": "no-reply@example.org"}, {"new", "automated"}),
        ({"sender": "no.reply+17@example.org"}, {"new", "automated"}),
        ({"sender": "do-not-reply@example.org"}, {"new", "automated"}),
        ({"sender": "donotreply@example.org"}, {"new", "automated"}),
        ({"sender": "jira-noreply@example.org"}, {"new", "automated"}),
        ({"sender": "notifications@github.example", "answers": "it refers to <1@x>"}, {"reply", "automated"}),
        ({"sender": "nagios@example.org", "subject": "** PROBLEM alert **"}, {"new", "automated"}),
        ({"sender": "noreen@example.org"}, {"new"}),
        ({"sender": "reply@example.org"}, {"new"}),
        ({"sender": "nota@example.org"}, {"new"}),
        # loops
        ({"headers": (("Received", "by a"),) * 25}, {"new"}),
        ({"headers": (("received", "by a"),) * 26}, {"loop", "new"}),
        ({"own_loop": "X-Loop: postroom-x"}, {"loop", "new"}),
    ],
)
def test_kinds(mail: dict[str, Any], expected: set[str]) -> None:
    assert set(kinds(**mail)) == expected


@pytest.mark.parametrize(
    ("mail", "kind", "evidence"),
    [
        (header("Auto-Submitted", "auto-replied (vacation)"), "auto_reply", "Auto-Submitted: auto-replied (vacation)"),
        ({"return_path": ""}, "bounce", "the envelope sender is empty"),
        (
            {"return_path": "", "headers": (("Content-Type", DSN_TYPE),)},
            "bounce",
            "Content-Type: report-type=delivery-status",
        ),
        (header("List-Id", "The\r\n list <l.example.org>"), "list", "List-Id: The list <l.example.org>"),
        ({"headers": (("Received", "x"),) * 31}, "loop", "31 Received headers"),
        ({"subject": "Re: " + "long " * 100}, "reply", "Subject: Re: " + ("long " * 100)[:136] + "…"),
        ({"answers": "our token in the recipient"}, "reply", "our token in the recipient"),
    ],
)
def test_evidence(mail: dict[str, Any], kind: str, evidence: str) -> None:
    assert kinds(**mail)[kind] == evidence


RETURNED = (
    b"Received: by x\r\nMessage-ID: <own@x>\r\nIn-Reply-To: <parent@x>\r\nReferences: <root@x>\r\n <parent@x>\r\n\r\nHi"
)


@pytest.mark.parametrize(
    ("text", "parts", "keys"),
    [
        (None, [RETURNED], ("<own@x>", "<parent@x>", "<root@x>")),
        ("no", [b"Reporting-MTA: dns; x\r\n\r\nFinal-Recipient: a", RETURNED], ("<own@x>", "<parent@x>", "<root@x>")),
        (RETURNED.decode(), [], ("<own@x>", "<parent@x>", "<root@x>")),
        ("It failed.\n\n> Subject: a\n> Message-ID: <own@x>\n> To: b\n", [], ("<own@x>",)),
        ("It failed.\n\n   Subject: a\n   Message-Id: <own@x>\n", [], ("<own@x>",)),
        ("It failed.\n\nSubject: a\nTo: b\n\nMessage-ID: <own@x>\n", [], ("<own@x>",)),
        ("The mail <own@x> failed.", [], ()),
        (None, [], ()),
        ("x\n" * 200_000 + "\nMessage-ID: <late@x>\n", [], ("<late@x>",)),
    ],
)
def test_returned_keys(text: str | None, parts: list[bytes], keys: tuple[str, ...]) -> None:
    assert returned_keys(text, parts) == keys


@given(
    headers=st.lists(st.tuples(st.text(max_size=20), st.text(max_size=80)), max_size=8),
    return_path=st.none() | st.text(max_size=30),
    sender=st.none() | st.text(max_size=30),
    subject=st.none() | st.text(max_size=80),
    text=st.none() | st.text(max_size=200),
)
def test_any_mail_is_of_some_kind(**mail: Any) -> None:
    found = kinds(**mail)
    assert set(found) <= set(Kind)
    assert len({"new", "reply", "bounce", "auto_reply"} & set(found)) == 1
    assert all(len(evidence) <= 150 and "\n" not in evidence for evidence in found.values())
    returned_keys(mail["text"], [(mail["text"] or "").encode()])


@pytest.mark.parametrize(
    "hostile",
    [
        "Message-ID: <" * 80_000,
        "\n " * 500_000,
        "A:\n" * 300_000,
        "> " * 500_000,
        "a" * 3_000_000,
        "<" * 10**6,
        "no-reply" * 10**5,
    ],
)
def test_time_is_linear(hostile: str) -> None:
    started = time.process_time()
    returned_keys(hostile, [hostile.encode()])
    kinds(
        subject=hostile, text=hostile, sender=f"postmaster{hostile}@x", headers=(("List-Id", hostile), (hostile, "x"))
    )
    assert time.process_time() - started < len(hostile) / 1e6 + 0.5


@needs_socketlabs
def test_the_corpus() -> None:
    bounces: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    for path in SOCKETLABS:
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            mail, payload = entry["payload"]["Message"], entry["payload"]
            counts[path.stem] = counts.get(path.stem, 0) + 1
            found = kinds(
                headers=[(each["Name"], each["Value"] or "") for each in mail["CustomHeaders"] or []],
                return_path=payload["InboundMailFrom"] or "",
                sender=(mail["From"] or {}).get("EmailAddress"),
                subject=mail["Subject"],
                text=mail["TextBody"],
                attachment_types=[each["ContentType"] or "" for each in mail["Attachments"] or []],
            )
            if "bounce" in found:
                bounces.setdefault(path.stem, []).append(entry["_file"])
    assert len(bounces["flufl_bounce"]) >= 110, counts
    assert "talon" not in bounces and counts["talon"] > 10
