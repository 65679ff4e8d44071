"""Kind `smtp`: what it hands to a mail server, and what it makes of the server's answers."""

from __future__ import annotations

import base64
import dataclasses
import email.policy
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from postroom import connection
from postroom.answer import Answer
from postroom.destination import Destination
from postroom.exchange import DeliveryError
from postroom.fields import Secret
from postroom.integration import Integration, Job, JobAttachment, NothingToDo
from postroom.mail.kinds import Kind, Verdict
from postroom.message import Address, Attachment
from tests.kinds import SECRET, attachment, build
from tests.kinds import job as any_job
from tests.servers import closed_port, raw_server
from tests.smtp_sink import Sink, scripted

TEAM = "team@example.net"


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as server:
        yield server


@pytest.fixture
def here(sink: Sink, tmp_path: Path) -> Integration:
    return plain(tmp_path, sink.port)


def plain(folder: Path, port: int, **options: Any) -> Integration:
    settings = {"host": "127.0.0.1", "port": port, "security": "none", "to": [TEAM]}
    return build("smtp", folder, **(settings | options))


def job(*files: JobAttachment, answer: bool = False, message: dict[str, Any] | None = None, **options: Any) -> Job:
    """A job; `message` replaces what stands in its message."""
    made = any_job(*files, **options)
    if answer:
        message = {"text": "Their text"} | (message or {})
    headers = {"Message-ID": "<ack.caa-x@example.com>", "Reply-To": "bugs+caa-token@example.com",
               "Auto-Submitted": "auto-replied", "X-Loop": "postroom-x",
               "In-Reply-To": "<1@example.org>", "References": "<0@example.org> <1@example.org>"}  # fmt: skip
    return dataclasses.replace(
        made,
        message=replace(made.message, **(message or {})),
        reply_address="bugs+caa-token@example.com",
        answer=Answer("jo@example.org", "Re: Printer on fire", headers) if answer else None,
        own_headers={"Message-ID": f"<{made.key}.caa-x@example.com>", "Auto-Submitted": "auto-generated",
                     "X-Auto-Response-Suppress": "All", "X-Loop": "postroom-x"},
    )  # fmt: skip


def failure(integration: Integration, job: Job) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        integration.deliver(job)
    return caught.value


def original(mail: EmailMessage) -> EmailMessage:
    (part,) = [part for part in mail.walk() if part.get_content_type() == "message/rfc822"]
    found = part.get_content()
    assert isinstance(found, EmailMessage)
    return found


def words(mail: EmailMessage, kind: str = "plain") -> str:
    body = mail.get_body((kind,))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n").strip()


# Forward


def test_forward(sink: Sink, here: Integration) -> None:
    html = '<p>It <b>burns</b>: <img src="cid:fire@x"></p>'
    files = (
        attachment("log.txt", b"line\n" * 50_000),
        JobAttachment(Attachment("fire.png", "image/png", 3, "0" * 64, "fire@x", True), lambda: iter([b"PNG"])),
    )
    delivery = job(*files, body="Please look.", message={"html": html, "text": "It burns"})
    receipt = here.deliver(delivery)
    mail = sink.only.mail
    assert (sink.only.sender, sink.only.recipients) == ("bugs+caa-token@example.com", [TEAM])
    assert mail["From"] == "bugs@example.com" and mail["To"] == TEAM and mail["Reply-To"] == "Jo Ünal <jo@example.org>"
    assert mail["Subject"] == "Printer on fire" and mail["Date"].datetime.timestamp() == 1_795_000_000
    assert mail["Auto-Submitted"] == "auto-generated" and mail["X-Loop"] == "postroom-x"
    assert mail["Message-ID"] == receipt.reference == f"<{delivery.key}.caa-x@example.com>"
    assert mail["References"] == "<0@example.org> <1@example.org>"
    assert words(mail) == "Please look.\n\na footer"
    kept = original(mail)
    assert kept.items()[:3] == [("From", "Jo <jo@example.org>"), ("X-A", "1"), ("X-A", "2")]
    assert kept["Subject"] == "Printer on fire" and kept["Message-ID"] == "<1@example.org>"
    assert words(kept) == "It burns" and words(kept, "html") == html
    assert [(part.get_filename(), part.get_content()) for part in kept.iter_attachments()] == [
        ("log.txt", "line\n" * 50_000)
    ]
    (picture,) = [part for part in kept.walk() if part.get_filename() == "fire.png"]
    assert (picture["Content-ID"], picture.get_content(), picture.get_content_disposition()) == (
        "<fire@x>", b"PNG", "inline"
    )  # fmt: skip
    assert f"SIZE={len(sink.only.content)}" in sink.commands[-1], "the announced size is that of what is sent"


def test_every_attempt_sends_the_same_bytes(sink: Sink, here: Integration) -> None:
    delivery = job(attachment())
    here.deliver(delivery)
    time.sleep(1.1)  # the clock of a Date
    here.deliver(delivery)
    assert sink.handed[0] == sink.handed[1]


def test_addresses_of_a_rule_and_of_the_destination(sink: Sink, tmp_path: Path) -> None:
    here = plain(tmp_path, sink.port, from_='"Support, Ltd." <desk@example.com>', return_path="from")
    here.deliver(job(to=["Jo Ünal <jo@bücher.example>", "a@b.example"], cc=["A@B.example", "c@d.example"]))
    mail = sink.only.mail
    assert sink.only.recipients == ["jo@xn--bcher-kva.example", "A@B.example", "c@d.example"], "each once"
    assert sink.only.sender == "desk@example.com"
    assert mail["To"] == "Jo Ünal <jo@xn--bcher-kva.example>, a@b.example" and mail["Cc"].count("@") == 2
    assert mail["From"].addresses[0].display_name == "Support, Ltd."


def test_markdown_of_a_rule(sink: Sink, tmp_path: Path) -> None:
    plain(tmp_path, sink.port, format="markdown").deliver(job(body="**Look** at [it](https://x.example/)"))
    mail = sink.only.mail
    assert "<strong>Look</strong>" in words(mail, "html") and "**" not in words(mail)
    assert original(mail)["Subject"] == "Printer on fire"


def test_a_bounce_is_forwarded_by_nobody(sink: Sink, here: Integration) -> None:
    """Its own bounce would come back, and be forwarded."""
    here.deliver(job(message={"return_path": Address(), "from_": Address("mailer-daemon@example.org")}))
    assert sink.only.sender == ""


def test_the_way_in_may_list_addresses_beside_the_headers(sink: Sink, here: Integration) -> None:
    here.deliver(job(message={"headers": (("Received", "by x"), ("Content-Type", "text/html; boundary=x"))}))
    kept = original(sink.only.mail)
    assert kept.items()[:1] == [("Received", "by x")] and kept["From"] == "Jo Ünal <jo@example.org>"
    assert kept["To"] == "Bugs <bugs@example.com>" and kept.get_content_type() == "text/plain"


# Resend


def test_resend(sink: Sink, here: Integration) -> None:
    file = attachment("ä" * 80 + ".bin", bytes(range(256)) * 999, "application/x-y")
    theirs = {"subject": "Their own", "text": "Their text\n.\n..\nFrom me"}
    delivery = job(file, mode="resend", body="not this", title="nor this", message=theirs)
    here.deliver(delivery)
    mail = sink.only.mail
    assert mail["From"] == "Jo Ünal <bugs@example.com>" and mail["Reply-To"] == "Jo Ünal <jo@example.org>"
    assert mail["Subject"] == "Their own" and words(mail) == "Their text\n.\n..\nFrom me"
    assert mail["X-Loop"] == "postroom-x" and mail["Message-ID"] != "<1@example.org>"
    (part,) = mail.iter_attachments()
    assert (part.get_filename(), part.get_content()) == ("ä" * 80 + ".bin", bytes(range(256)) * 999)


def test_answers_go_where_the_original_asked_for_them(sink: Sink, here: Integration) -> None:
    here.deliver(job(mode="resend", message={"reply_to": (Address("list@example.org"), Address("jo@x.example", "Jo"))}))
    assert sink.only.mail["Reply-To"] == "list@example.org, Jo <jo@x.example>"


# Reply


def test_reply(sink: Sink, here: Integration) -> None:
    here.deliver(job(attachment(), answer=True, mode="reply", body="We have it.", to=["x@ignored.example"]))
    mail = sink.only.mail
    assert (sink.only.sender, sink.only.recipients) == ("", ["jo@example.org"])
    assert mail["To"] == "jo@example.org" and mail["From"] == "bugs@example.com"
    assert mail["Subject"] == "Re: Printer on fire" and words(mail) == "We have it.\n\na footer"
    assert mail["Reply-To"] == "bugs+caa-token@example.com" and mail["Auto-Submitted"] == "auto-replied"
    assert mail["In-Reply-To"] == "<1@example.org>" and mail["References"] == "<0@example.org> <1@example.org>"
    assert mail["Message-ID"] == "<ack.caa-x@example.com>" and not mail.is_multipart(), "no file goes back"


def test_a_reply_may_have_a_title_of_its_own(sink: Sink, here: Integration) -> None:
    here.deliver(job(answer=True, mode="reply", body="Yes.", title="We have it", message={"subject": "Printer"}))
    assert sink.only.mail["Subject"] == "We have it"


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ({"kinds": (Verdict(Kind.AUTO_REPLY, "Auto-Submitted: auto-replied"),)}, "auto_reply .*auto-replied"),
        ({"return_path": Address()}, "its envelope has no sender"),
        ({"from_": None}, "it names no sender"),
        ({}, "its sender asks for none"),
    ],
)
def test_no_answer_where_there_must_be_none(sink: Sink, here: Integration, message: dict[str, Any], why: str) -> None:
    with pytest.raises(NothingToDo, match=why):
        here.deliver(job(mode="reply", body="We have it.", message=message))
    assert not sink.handed


@pytest.mark.parametrize("own", ["JO@example.org", "jo@example.org"])
def test_no_answer_to_ourselves(here: Integration, own: str) -> None:
    with pytest.raises(NothingToDo, match="where the mail was sent to"):
        here.deliver(job(answer=True, mode="reply", body="We have it.", message={"recipient": Address(own)}))


@pytest.mark.parametrize("body", ["It burns.", " It *burns*.\n", ""])
def test_a_reply_without_a_body_of_its_own_reflects_nothing(sink: Sink, here: Integration, body: str) -> None:
    text = "" if not body else "It burns."
    error = failure(here, job(answer=True, mode="reply", body=body, message={"text": text}))
    assert error.permanent and "needs a `body`" in error.reason and not sink.handed


# Loops


@pytest.mark.parametrize("mode", ["forward", "resend"])
def test_our_own_mail_is_not_sent_on(sink: Sink, here: Integration, mode: str) -> None:
    with pytest.raises(NothingToDo, match=r"circle.*X-Loop: postroom-x"):
        here.deliver(job(mode=mode, message={"kinds": (Verdict(Kind.LOOP, "X-Loop: postroom-x"),)}))
    assert not sink.handed


@pytest.mark.parametrize("back", ["Bugs <BUGS@example.com>", "bugs+caa-token@example.com", "bugs+old@example.com"])
def test_nothing_goes_back_to_where_it_came_from(sink: Sink, here: Integration, back: str) -> None:
    error = failure(here, job(to=[TEAM, back], message={"envelope_recipient": "bugs+old@example.com"}))
    assert error.permanent and "a loop" in error.reason and not sink.handed


# Hostile content

HOSTILE = (
    "x\r\nBcc: victim@example.net\r\n\r\nbody\n.\r\nMAIL FROM:<a@b> =?utf-8?q?=0D=0AX:_y?= \x00\u2028\x85 é \ud800"
)


@pytest.mark.parametrize("mode", ["forward", "resend"])
def test_no_text_of_a_mail_breaks_out_of_a_header(sink: Sink, here: Integration, mode: str) -> None:
    text = HOSTILE.encode("utf-8", "replace").decode().replace("\x00", "")
    file = JobAttachment(
        Attachment(text + '"; name="y', "text/html\r\nX-Evil: 1", 2, "0" * 64, "c>\r\nX-Evil: 2", True),
        lambda: iter([b"ok"]),
    )
    delivery = job(
        file,
        mode=mode,
        title=text,
        message={
            "subject": text,
            "html": "<p>",
            "from_": Address("jo@example.org", text),
            "reply_to": (Address("e@x.example>\r\nX-Evil: 3", text), Address("ok@x.example", f'a"b\\ {text}')),
            "headers": (("X-A\r\nX-Evil", "4"), ("X-B", text), ("To", text), ("X-C", "w" * 3000), ("Bcc", "b@x")),
            "message_id": "<a b\r\nX-Evil: 5@x>",
            "references": ("<r\r\nX-Evil:6@x>",),
        },
    )  # fmt: skip
    here.deliver(delivery)
    content = sink.only.content
    assert len(sink.handed) == 1 and sink.only.recipients == [TEAM]
    assert content.count(b"\n") == content.count(b"\r\n") == content.count(b"\r")
    assert max(map(len, content.split(b"\r\n"))) <= 998 and content.isascii()
    mails = [sink.only.mail] + ([original(sink.only.mail)] if mode == "forward" else [])
    for mail in mails:
        for part in mail.walk():
            assert not {"bcc", "x-evil", "x"} & {name.lower() for name, _ in part.items()}
    assert "MAIL FROM:<a@b>" in mails[0]["Subject"] and "=?utf-8?q?" in mails[0]["Subject"], (
        "shown, never decoded twice"
    )


@pytest.mark.parametrize(
    "to",
    ["a@b.example, c@d.example", "x", "<a@b.example>\r\nDATA", "a@b.example\nRCPT TO:<c@d>", "a b@c.example", "@x", ""],
)
def test_what_is_no_single_address_is_sent_nowhere(sink: Sink, here: Integration, to: str) -> None:
    error = failure(here, job(to=[to]))
    assert error.permanent and "is no address" in error.reason and not sink.commands


def test_nobody_to_send_to(tmp_path: Path, sink: Sink) -> None:
    error = failure(plain(tmp_path, sink.port, to=[]), job())
    assert error.permanent and "`to`" in error.reason


# International addresses


def test_international_addresses_where_the_server_takes_them(sink: Sink, here: Integration) -> None:
    here.deliver(job(to=["jö@example.net"], message={"from_": Address("zoë@example.org", "Zoë")}))
    assert sink.only.recipients == ["jö@example.net"] and "SMTPUTF8" in sink.commands[-1]
    headers = sink.only.content.decode().partition("\r\n\r\n")[0]
    assert "To: jö@example.net" in headers and "<zoë@example.org>" in headers


def test_international_addresses_where_it_does_not(tmp_path: Path) -> None:
    with Sink(utf8=False) as sink:
        here = plain(tmp_path, sink.port)
        error = failure(here, job(to=["jö@example.net"]))
        assert error.permanent and "SMTPUTF8" in error.reason and "jö@example.net" in error.reason
        here.deliver(job(message={"from_": Address("zoë@example.org", "Zoë")}))
        assert sink.only.mail["Reply-To"] is None and sink.only.content.isascii()
        here = plain(tmp_path, sink.port, from_="post@example.com")
        here.deliver(dataclasses.replace(job(), reply_address="bügs+token@example.com"))
        assert sink.handed[1].sender == "post@example.com"


# Answers of the server


def test_who_is_refused_is_told(sink: Sink, here: Integration) -> None:
    sink.on_rcpt = lambda address: "550 5.1.1 no such user" if "gone" in address else None
    receipt = here.deliver(job(to=["gone@x.example", TEAM]))
    assert sink.only.recipients == [TEAM]
    assert receipt.reference is not None and "gone@x.example: 550 5.1.1 no such user" in receipt.reference
    error = failure(here, job(to=["gone@x.example", "gone2@x.example"]))
    assert error.permanent and error.reason.count("550 5.1.1 no such user") == 2


def test_who_is_put_off_gets_it_later_and_nobody_twice(sink: Sink, here: Integration) -> None:
    steps: dict[str, str] = {}
    delivery = job(to=[TEAM, "slow@x.example"], record=steps.__setitem__)
    sink.on_rcpt = lambda address: "451 4.7.1 greylisted" if "slow" in address else None
    error = failure(here, delivery)
    assert not error.permanent and not error.unknown and "slow@x.example: 451 4.7.1 greylisted" in error.reason
    sink.on_rcpt = lambda address: None
    here.deliver(dataclasses.replace(delivery, attempt=2, steps=steps))
    here.deliver(dataclasses.replace(delivery, attempt=3, steps=steps))
    assert [handed.recipients for handed in sink.handed] == [[TEAM], ["slow@x.example"]]
    assert sink.handed[0].content == sink.handed[1].content


@pytest.mark.parametrize(
    ("answers", "permanent", "unknown"),
    [
        ({"greeting": "554 no"}, True, False),
        ({"greeting": "421 busy"}, False, False),
        ({"greeting": "HTTP/1.1 400 Bad Request"}, False, False),
        ({"greeting": None}, False, False),
        ({"EHLO": "250-" + "x" * 9000}, False, False),
        ({"EHLO": "\r\n".join(["250-x" * 30] * 5000)}, False, False),
        ({"MAIL": "550 not you"}, True, False),
        ({"MAIL": "452 full"}, False, False),
        ({"RCPT": "421 going down"}, False, False),
        ({"DATA": "554 no"}, True, False),
        ({"DATA": "250 what?"}, False, False),
        ({"DATA": None}, False, False),
        ({"text": None}, False, False),
        ({"end": "554 spam"}, True, False),
        ({"end": "451 later"}, False, False),
        ({"end": "421 going down"}, False, True),
        ({"end": None}, False, True),
        ({"end": "\x00\x01"}, False, True),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_answers_are_sorted(tmp_path: Path, answers: dict[str, str | None], permanent: bool, unknown: bool) -> None:
    with scripted(answers) as (port, _):
        error = failure(plain(tmp_path, port), job(attachment("a", b"x" * 3_000_000)))
    assert (error.permanent, error.unknown) == (permanent, unknown), error.reason
    assert len(error.reason) < 2000


def test_nobody_there(tmp_path: Path) -> None:
    error = failure(plain(tmp_path, closed_port()), job())
    assert not error.permanent and not error.unknown and "refused" in error.reason


@pytest.mark.parametrize("answers", [{"greeting": ""}, {"DATA": ""}, {"end": ""}], ids=lambda each: next(iter(each)))
def test_everything_ends_in_time(tmp_path: Path, answers: dict[str, str | None]) -> None:
    with scripted(answers) as (port, _):
        here = build("smtp", tmp_path, timeout=0.4, host="127.0.0.1", port=port, security="none", to=[TEAM])
        began = time.monotonic()
        error = failure(here, job())
    assert "within 0.4 s" in error.reason and time.monotonic() - began < 10
    assert error.unknown is ("end" in answers)


def test_a_server_that_takes_a_byte_now_and_then_is_left(tmp_path: Path) -> None:
    def talk(client: Any) -> None:
        client.sendall(b"220 hi\r\n")
        client.recv(100)
        while True:
            client.sendall(b"250-x\r\n")
            time.sleep(0.02)

    with raw_server(talk) as url:
        here = build(
            "smtp",
            tmp_path,
            timeout=0.4,
            host="127.0.0.1",
            port=int(url.rpartition(":")[2]),
            security="none",
            to=[TEAM],
        )
        began = time.monotonic()
        assert "within 0.4 s" in failure(here, job()).reason
    assert time.monotonic() - began < 10


# Size


@pytest.mark.parametrize("said", ["announced", "at MAIL", "at the end"])
def test_files_that_are_too_large_are_left_out_and_told(tmp_path: Path, said: str) -> None:
    if said == "announced":
        with Sink(largest=5000) as sink:
            plain(tmp_path, sink.port).deliver(job(attachment("big.bin", b"x" * 9000)))
            mail = sink.only.mail
        assert "Attachment not taken: big.bin (9000 bytes)" in words(mail)
        assert "https://mail.example.com/messages/" in words(mail)
        return
    seen: list[int] = []

    def answer() -> str | None:
        seen.append(1)
        return "552 5.3.4 too big" if len(seen) == 1 else None

    if said == "at the end":
        with Sink() as sink:
            sink.on_data = answer
            plain(tmp_path, sink.port).deliver(job(attachment("big.bin", b"x" * 9000), mode="resend"))
            assert "Attachment not taken: big.bin" in words(sink.only.mail)
        return
    with scripted({"MAIL": "552 too big"}, extensions=("SIZE",)) as (port, came):
        error = failure(plain(tmp_path, port), job(attachment("big.bin", b"x" * 9000)))
    assert error.permanent and sum(line.startswith("MAIL") for line in came) == 2


def test_too_large_without_files(tmp_path: Path) -> None:
    with Sink(largest=1000) as sink:
        error = failure(plain(tmp_path, sink.port), job(body="x" * 2000))
    assert error.permanent and "1000 bytes" in error.reason


def test_a_full_mailbox_is_not_a_mail_that_is_too_large(sink: Sink, here: Integration) -> None:
    sink.on_data = lambda: "552 5.2.2 mailbox full"
    error = failure(here, job(attachment()))
    assert error.permanent and "mailbox full" in error.reason


# Login and TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(
        [*command.split(), "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True
    )
    return folder


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return context


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    connection.authorities.cache_clear()
    yield
    connection.authorities.cache_clear()


@pytest.mark.usefixtures("trusted")
def test_starttls_and_login(tmp_path: Path, tls: ssl.SSLContext) -> None:
    with Sink(user="postroom", password=SECRET, tls=tls) as sink:
        options = {"host": "localhost", "port": sink.port, "username": "postroom", "to": [TEAM]}
        here = build("smtp", tmp_path, password=Secret(SECRET), **options)
        here.deliver(job(attachment("a", b"x" * 500_000)))
        assert len(sink.only.content) > 600_000
        said = here.check()
        assert "over TLSv1" in said[0] and said[1] == "logged in as postroom" and "50000000" in said[2]
        assert len(sink.handed) == 1
        wrong = failure(build("smtp", tmp_path, password=Secret("wrong"), **options), job())
        assert wrong.permanent and wrong.status == 535 and "refused the login" in wrong.reason
        assert Destination(here).is_at_fault(wrong), "the circuit opens: deliveries wait for the right password"
        with pytest.raises(DeliveryError, match="refused the login"):
            build("smtp", tmp_path, password=Secret("wrong"), **options).check()
        other = build("smtp", tmp_path, password=Secret("pässword"), **options)
        assert "ASCII" in failure(other, job()).reason


def test_an_unknown_authority_is_refused(tmp_path: Path, tls: ssl.SSLContext) -> None:
    connection.authorities.cache_clear()
    with Sink(user="postroom", password=SECRET, tls=tls) as sink:
        here = build(
            "smtp", tmp_path, host="localhost", port=sink.port, username="postroom", password=Secret(SECRET), to=[TEAM]
        )
        error = failure(here, job())
    assert "self-signed" in error.reason and not error.permanent and not error.unknown and not sink.handed


@pytest.mark.usefixtures("trusted")
def test_a_certificate_of_another_name_is_refused(tmp_path: Path, tls: ssl.SSLContext) -> None:
    with Sink(tls=tls) as sink:
        error = failure(build("smtp", tmp_path, host="127.0.0.1", port=sink.port, to=[TEAM]), job())
    assert "no encrypted connection" in error.reason and not sink.handed


@pytest.mark.usefixtures("trusted")
def test_tls_from_the_start(tmp_path: Path, tls: ssl.SSLContext) -> None:
    came: list[bytes] = []

    def talk(client: Any) -> None:
        with tls.wrap_socket(client, server_side=True) as secure:
            lines = secure.makefile("rb")
            secure.sendall(b"220 hi\r\n")
            for line in lines:
                came.append(line.strip())
                secure.sendall(b"250 ok\r\n")

    with raw_server(talk) as url:
        port = int(url.rpartition(":")[2])
        said = build("smtp", tmp_path, host="localhost", port=port, security="tls", to=[TEAM]).check()
    assert "over TLSv1" in said[0] and came[0].lower() == b"ehlo [127.0.0.1]"


def test_no_password_without_encryption(tmp_path: Path) -> None:
    """Neither where the server offers none, nor where somebody on the way took the offer out."""
    with scripted({}, extensions=("AUTH PLAIN LOGIN",)) as (port, came):
        here = build("smtp", tmp_path, host="127.0.0.1", port=port, username="u", password=Secret(SECRET), to=[TEAM])
        error = failure(here, job())
    assert "offers no encryption" in error.reason and not error.permanent
    assert [line.split()[0] for line in came] == ["EHLO"]


def test_what_stands_behind_starttls_in_plain_text_is_not_believed(tmp_path: Path) -> None:
    with scripted({"STARTTLS": "220 go\r\n250-AUTH PLAIN\r\n250 ok"}, extensions=("STARTTLS",)) as (port, came):
        error = failure(build("smtp", tmp_path, host="127.0.0.1", port=port, timeout=1, to=[TEAM]), job())
    assert not error.permanent and came[1] == "STARTTLS" and not any("AUTH" in line for line in came)


def test_no_secret_is_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    echo = base64.b64encode(f"\0u\0{SECRET}".encode()).decode()
    with scripted({"AUTH": f"535 you sent {echo} and {SECRET}"}, extensions=("AUTH PLAIN",)) as (port, _):
        here = plain(tmp_path, port, username="u", password=Secret(SECRET))
        error = failure(here, job())
    shown = [error.reason, error.answer, repr(here), repr(here.options), repr(here._server), caplog.text]  # type: ignore[attr-defined]
    assert "***" in error.reason and not any(SECRET in text or echo in text for text in shown)


def test_many_threads(sink: Sink, here: Integration) -> None:
    threads = [threading.Thread(target=here.deliver, args=(job(attachment()),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({handed.mail["Message-ID"] for handed in sink.handed}) == 8


# Settings


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"host": "mail.example.com:25"}, "its port goes into `port`"),
        ({"host": "https://mail.example.com"}, "no name of a host"),
        ({"port": 70000}, "no port"),
        ({"username": "u"}, "go together"),
        ({"security": "none", "username": "u", "password": Secret(SECRET)}, "for everyone to read"),
        ({"helo": "a b"}, "helo"),
        ({"from_": "Support"}, "is no address"),
        ({"from_": "a@b.example, c@d.example"}, "is no address"),
        ({"to": ["team"]}, "is no address"),
    ],
)
def test_refuses_settings(tmp_path: Path, options: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong) as caught:
        build("smtp", tmp_path, **({"host": "mail.example.com"} | options))
    assert SECRET not in str(caught.value)


def test_policy_of_the_standard_library_reads_what_is_written(sink: Sink, here: Integration) -> None:
    here.deliver(job(title="Ünïcode " * 60, message={"subject": "x"}))
    assert sink.only.mail["Subject"] == ("Ünïcode " * 60).strip()
    assert not any(part.defects for part in sink.only.mail.walk())
    assert email.policy.default
