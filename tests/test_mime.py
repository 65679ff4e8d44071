"""Raw mail, as it really occurs: what is told apart, and that nothing in it raises or takes more than linear time."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postroom.ingress.imitate import document_of, documents
from postroom.mail.charsets import decode_text
from postroom.mail.encoded_words import decode_words
from postroom.mail.mime import DEEPEST, MOST_PARTS, read_mime
from postroom.mail.transfer import decode_base64, decode_transfer
from postroom.rawmail import message_of, raw_mails
from tests.corpus import EML, needs_eml


def mail(*lines: str) -> bytes:
    return "\r\n".join(lines).encode()


WORDS = [
    ("plain", "plain"),
    ("=?utf-8?Q?caf=C3=A9_au_lait?=", "café au lait"),
    ("=?UTF-8?B?Y2Fmw6k=?=", "café"),
    ("=?utf-8?Q?caf=C3?= =?utf-8?Q?=A9?=", "café"),
    ("=?utf-8?Q?caf=C3?=\r\n =?utf-8?Q?=A9?= au lait", "café au lait"),
    ("a =?iso-8859-1?q?=E9?= =?utf-8?b?w6k=?= b", "a éé b"),
    ("=?gb2312?B?xOO6ww==?=", "你好"),
    ("=?ks_c_5601-1987?B?vsiz5w==?=", "안녕"),
    ("=?us-ascii?Q?=93quoted=94?=", "“quoted”"),
    ("=?utf-8*de?Q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
    ("=?x-unknown?Q?caf=C3=A9?=", "café"),
    ("=?utf-8?Q?a b?= c", "a b c"),
    ("=?utf-8?B?w6k?=", "é"),
    ("=?utf-8?Q??= end", " end"),
    ("not =?a word?= at all", "not =?a word?= at all"),
    ("=?utf-8?X?abc?=", "=?utf-8?X?abc?="),
    ("[list] =?utf-8?q?=C3=A9?=: x", "[list] é: x"),
]


@pytest.mark.parametrize(("text", "shown"), WORDS)
def test_encoded_words(text: str, shown: str) -> None:
    assert decode_words(text) == shown


TEXTS = [
    (b"caf\xc3\xa9", None, "café"),
    (b"caf\xe9", None, "café"),
    (b"caf\xe9", "us-ascii", "café"),
    (b"caf\xc3\xa9", "nonsense", "café"),
    (b"caf\xc3\xa9", "idna", "café"),
    (b"caf\xc3\xa9", "base64", "café"),
    (b"\xc4\xe3\xba\xc3", "GB2312", "你好"),
    (b"\x81\x30\x81\x30", "gb2312", "\x80"),
    (b"\x83\x6e", "Shift_JIS", "ハ"),
    (b"\x93x\x94", "ISO-8859-1", "“x”"),
    (b"\xff\xfeh\x00", "utf-16", "h"),
    (b"", "utf-8", ""),
    (b"\x81\xff", None, "��"),
]


@pytest.mark.parametrize(("data", "declared", "text"), TEXTS)
def test_character_sets(data: bytes, declared: str | None, text: str) -> None:
    assert decode_text(data, declared) == text


def test_transfer_encodings() -> None:
    assert decode_transfer(b"aGk=\r\n", "base64") == b"hi"
    assert decode_transfer(b"a=\r\nb=3D=20", "quoted-printable") == b"ab= "
    assert decode_transfer(b"begin 644 a.txt\n#0V%T\n`\nend\n", "x-uuencode") == b"Cat"
    assert decode_transfer(b"as it is", "8bit") == decode_transfer(b"as it is", "nonsense") == b"as it is"
    for whole in (b"aG k=", b"aGk", b"a!G#k=\n-- \n"):
        assert decode_base64(whole)[:2] == b"hi"
    assert decode_base64(b"aGk=aGk=") == b"hihi", "two pieces, one after the other"
    assert decode_base64(b"aGkx4") == b"hi1", "a sign too many is no byte"


def test_the_parts_of_a_usual_mail() -> None:
    raw = mail(
        "Return-Path: <jo@example.org>",
        "Delivered-To: support+x@example.com",
        'From: =?utf-8?Q?D=C3=B6e=2C_Jo?= <jo@example.org>, "B, C" <bc@example.org>',
        "To: Support <support@example.com>; boss@example.com",
        "Subject: =?utf-8?Q?caf=C3?=",
        " =?utf-8?Q?=A9?=",
        "Date: Tue, 24 Nov 2026 10:00:00 +0100",
        "Message-ID: <1@example.org>",
        "Content-Type: multipart/mixed; boundary=outer",
        "",
        "preamble",
        "--outer",
        "Content-Type: multipart/alternative; boundary=inner",
        "",
        "--inner",
        "Content-Type: text/plain; charset=iso-8859-1",
        "Content-Transfer-Encoding: quoted-printable",
        "",
        "Gr=FC=DFe",
        "--inner",
        "Content-Type: multipart/related; boundary=images",
        "",
        "--images",
        "Content-Type: text/html; charset=utf-8",
        "",
        "<p>Grüße <img src='cid:logo@x'></p>",
        "--images",
        "Content-Type: image/png",
        "Content-ID: <logo@x>",
        "Content-Transfer-Encoding: base64",
        "",
        "aGk=",
        "--images--",
        "--inner--",
        "--outer",
        "Content-Type: application/pdf; name*0*=utf-8''Rech%C3%B6; name*1=\"nung.pdf\"",
        "Content-Disposition: attachment; filename*=utf-8''../Rech%C3%B6nung.pdf",
        "",
        "%PDF",
        "--outer",
        "Content-Type: message/rfc822",
        "",
        "Subject: the old one",
        "",
        "its text",
        "--outer",
        "Content-Type: text/plain; name=notes.txt",
        "",
        "a file",
        "--outer--",
        "epilogue",
    )
    message, contents = message_of(raw, ingress="mime")
    assert message.from_ and message.from_.name == "Döe, Jo" and message.from_.address == "jo@example.org"
    assert [each.address for each in message.to] == ["support@example.com", "boss@example.com"]
    assert message.recipient.address == "support+x@example.com" and message.return_path.address == "jo@example.org"
    assert message.subject == "café" and message.message_id == "<1@example.org>"
    assert message.date == 1795510800000
    assert message.text == "Grüße"
    assert message.html == "<p>Grüße <img src='cid:logo@x'></p>"
    files = [(each.name, each.content_type, each.content_id, each.inline) for each in message.attachments]
    assert files == [
        ("", "image/png", "logo@x", True),
        ("Rechönung.pdf", "application/pdf", "", False),
        ("the old one.eml", "message/rfc822", "", False),
        ("notes.txt", "text/plain", "", False),
    ]
    assert contents == (b"hi", b"%PDF", b"Subject: the old one\r\n\r\nits text", b"a file")
    assert message.header("subject") == "café" and not message.notices
    again = document_of(raw)
    assert again["Message"]["Subject"] == "café" and len(again["Message"]["EmbeddedMedia"]) == 1
    assert base64.b64decode(again["Message"]["Attachments"][0]["Content"]) == b"%PDF"


SHAPES = [
    (b"", None, None),
    (b"no mail at all", "no mail at all", None),
    (b"\r\n\r\njust text", "just text", None),
    (b"Subject: a\n\nb", "b", None),
    (b"\n\nFrom jo Mon Jan 1\nSubject: a\n\nb", "b", None),
    (b"Subject: a\nno header\n\nb", "no header\n\nb", None),
    (b"Content-Type: text/html\n\n<p>x", "x", "<p>x"),
    (b"Content-Type: text/html\n\n<meta charset=iso-8859-1>\xe9", "é", "<meta charset=iso-8859-1>é"),
    (b"Content-Type: text; charset=latin1\n\n\xe9", "é", None),
    (b"Content-Type: multipart/mixed\n\nx", "x", None),
    (b"Content-Type: multipart/mixed; boundary=b\n\nx", "x", None),
    (b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx", "x", None),
    (b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\n\ny\n--b--\n", "x\ny", None),
    (b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--bb\n\ny\n--b--\n", "x\n--bb\n\ny", None),
    (b'Content-Type: multipart/mixed; boundary="b c"\n\n--b c \n\nx\n--b c--', "x", None),
    (b"Content-Type: multipart/mixed; boundary=b\r\r--b\r\rx\r--b--", "x", None),
    (
        b"Content-Type: multipart/alternative; boundary=b\n\n--b\n\nx\n--b\nContent-Type: text/html\n\n<i>x</i>\n--b--",
        "x",
        "<i>x</i>",
    ),
    (
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n<i>x</i>\n--b\n\n"
        b"footer <list>\n--b--",
        "x\n\nfooter <list>",
        "<i>x</i>\n<pre>footer &lt;list&gt;</pre>",
    ),
    (b"Content-Type: text/plain; charset=utf-8\n\n\xef\xbb\xbfx\x00y", "xy", None),
]


@pytest.mark.parametrize(("raw", "text", "html"), SHAPES)
def test_bodies(raw: bytes, text: str | None, html: str | None) -> None:
    message, _ = message_of(raw, ingress="mime")
    assert (message.text or None, message.html) == (text, html)


def test_folded_headers_and_raw_bytes() -> None:
    raw = b"Subject: one\n two\n\tthree\nX-A:b\nX-Empty:\nX-Raw: caf\xe9\nX-Utf: caf\xc3\xa9\nX-A : c\n\n"
    assert read_mime(raw).headers == (
        ("Subject", "one two\tthree"),
        ("X-A", "b"),
        ("X-Empty", ""),
        ("X-Raw", "café"),
        ("X-Utf", "café"),
        ("X-A", "c"),
    )


def test_what_lies_too_deep_is_kept_as_a_file() -> None:
    raw = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(1000)) + b"\ndeep"
    mail = read_mime(raw)
    assert len(mail.files) == 1 and b"deep" in mail.files[0].content
    assert mail.notices == (f"parts that lie deeper than {DEEPEST} are kept as one file",)


def test_of_too_many_parts_the_rest_is_kept_as_a_file() -> None:
    raw = b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\nContent-Type: a/b\n\nx\n" * (MOST_PARTS + 500)
    mail = read_mime(raw)
    assert len(mail.files) == MOST_PARTS + 1
    assert mail.files[-1].content.count(b"x") == 500
    assert "more than 1,000 parts" in mail.notices[0]


def test_an_mbox_and_an_eml(tmp_path: Path) -> None:
    box = tmp_path / "some.mbox"
    box.write_bytes(b"From a Mon Jan  1\nSubject: 1\n\nx\n\nFrom b Mon Jan  1\nSubject: 2\n\ny\n")
    assert [document["Message"]["Subject"] for document in documents(box)] == ["1", "2"]
    nameless = tmp_path / "box"
    nameless.write_bytes(box.read_bytes())
    assert len(list(raw_mails(nameless))) == 2
    single = tmp_path / "one.eml"
    single.write_bytes(b"Subject: 1\n\nx")
    assert list(raw_mails(single)) == [b"Subject: 1\n\nx"]


@settings(max_examples=300)
@given(
    st.lists(
        st.sampled_from(
            [
                b"Content-Type: multipart/mixed; boundary=b\n",
                b"Content-Type: multipart/alternative; boundary=c\n",
                b"Content-Type: text/html; charset=utf-7\n",
                b"Content-Transfer-Encoding: base64\n",
                b"Content-Transfer-Encoding: x-uuencode\n",
                b"Content-Disposition: attachment; filename*0*=x'y'%e9%; filename*99999=z\n",
                b"begin 644 a\n",
                b"--b\n",
                b"--b--\n",
                b"--c\r\n",
                b"\n",
                b"\r",
                b" folded\n",
                b"From: =?x?b?=?= <a@b>, ;:,<<>\n",
                b"Subject: \xff=?utf-8?q?=ED=A0=80?=\n",
                b"\x00",
                b"From x\n",
            ]
        )
        | st.binary(max_size=30),
        max_size=30,
    )
)
def test_any_bytes_are_a_mail(pieces: list[bytes]) -> None:
    message, contents = message_of(b"".join(pieces), ingress="mime")
    assert len(contents) == len(message.attachments)
    for text in (message.subject, message.text, message.html, *(value for _, value in message.headers)):
        assert text is None or ("\0" not in text and text.encode("utf-8") is not None)
    document_of(b"".join(pieces))


HOSTILE = [
    b"On " * 300_000,
    b"\n" * 1_000_000,
    b"a" * 3_000_000,
    b"a: b\n" * 200_000,
    b"A: b\n " * 200_000,
    b"Subject: " + b"=?utf-8?q?a?= " * 70_000,
    b"Subject: " + b"=?utf-8?b?" * 100_000,
    b"From: " + b"<a@b>," * 100_000,
    b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n" * 250_000,
    b"Content-Type: multipart/mixed; boundary=b\n\n" + b"\n--" * 300_000,
    b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\nContent-Type: multipart/mixed; boundary=b\n\n" * 20_000,
    b"Content-Type: a/b" + b"; a=b" * 200_000 + b"\n\n",
    b"Content-Type: a/b; " + b"a*" * 400_000 + b"\n\n",
    b"Content-Type: a/b; name*0=" + b'"\\' * 400_000 + b"\n\n",
    b"Content-Transfer-Encoding: base64\n\n" + b"=" * 1_000_000,
    b"Content-Transfer-Encoding: base64\n\n" + b"a=" * 500_000,
    b"Content-Transfer-Encoding: quoted-printable\n\n" + b"=" * 1_000_000,
    b"Content-Transfer-Encoding: x-uuencode\n\n" + b"begin 644 x\n" * 80_000,
    b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(20_000)),
]


@pytest.mark.parametrize("raw", HOSTILE, ids=[str(raw[:40]) for raw in HOSTILE])
def test_time_is_linear(raw: bytes) -> None:
    started = time.process_time()
    read_mime(raw).shown_headers()
    assert time.process_time() - started < len(raw) / 1e6 + 0.5


@needs_eml
def test_every_mail_of_the_corpus_becomes_a_message() -> None:
    for path in EML:
        message, contents = message_of(path.read_bytes(), ingress="mime")
        assert message.headers or message.text, path
        assert len(contents) == len(message.attachments), path
