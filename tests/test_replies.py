"""The reply text of mails: in many languages, shapes and programs; and words that must not be cut."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postroom.mail.markup import html_to_text
from postroom.mail.replies import Part, label_lines, split_reply
from tests.corpus import REPLIES, needs_replies

NEW = "Yes, the second printer burns too.\n\nPlease send somebody."
OLD = "> Does it burn?\n>\n> Ada"
BARE = "Does it burn?\n\nAda"

ATTRIBUTIONS = [
    "On Mon, Nov 16, 2026 at 10:01 AM, Ada Smith <ada@example.com> wrote:",
    "On 16 Nov 2026, at 10:01, Ada Smith <ada@example.com> wrote:",
    "On 11/16/26 10:01, Ada Smith wrote:",
    "On Monday, November 16, 2026 10:01 AM, Ada Smith <ada@example.com> wrote:",
    "On Fri, Feb 24, 2026 at 10:19 AM, A person with a rather long name\n<ada.smith@department.example.com> wrote:",
    "On Mon, Nov 16, 2026 at 10:01 AM Ada Smith <\nada@example.com> wrote:",
    "On Nov 16, 2026, at 10:01 AM, Ada Smith\n<ada@example.com>\nwrote:",
    "2026-11-16 10:01 GMT+01:00 Ada Smith <ada@example.com>:",
    "Ada Smith <ada@example.com> writes:",
    "Am 16.11.2026 um 10:01 schrieb Ada Smith <ada@example.com>:",
    "Am Mo., 16. Nov. 2026 um 10:01 Uhr schrieb Ada Smith <ada@example.com>:",
    "Am 16.11.26 um 10:01 schrieb Ada Smith:",
    "Ada Smith <ada@example.com> schrieb am Mo., 16. Nov. 2026, 10:01:",
    "Le lun. 16 nov. 2026 à 10:01, Ada Smith <ada@example.com> a écrit :",
    "Le 16/11/2026 à 10:01, Ada Smith a écrit\u00a0:",
    "El lun, 16 nov 2026 a las 10:01, Ada Smith (<ada@example.com>) escribió:",
    "El 16/11/2026 a las 10:01, Ada Smith escribió:",
    "Il giorno lun 16 nov 2026 alle ore 10:01 Ada Smith <ada@example.com> ha scritto:",
    "Il 16/11/2026 10:01, Ada Smith ha scritto:",
    "Em seg., 16 de nov. de 2026 às 10:01, Ada Smith <ada@example.com> escreveu:",
    "Op ma 16 nov. 2026 om 10:01 schreef Ada Smith <ada@example.com>:",
    "Op 16-11-2026 om 10:01 schreef Ada Smith:",
    "Den mån 16 nov. 2026 kl 10:01 skrev Ada Smith <ada@example.com>:",
    "man. 16. nov. 2026 kl. 10:01 skrev Ada Smith <ada@example.com>:",
    "Den man. 16. nov. 2026 kl. 10.01 skrev Ada Smith <ada@example.com>:",
    "ma 16. marrask. 2026 klo 10.01 Ada Smith (ada@example.com) kirjoitti:",
    "pon., 16 lis 2026 o 10:01 Ada Smith <ada@example.com> napisał(a):",
    "W dniu 16.11.2026 o 10:01, Ada Smith pisze:",
    "po 16. 11. 2026 v 10:01 odesílatel Ada Smith <ada@example.com> napsal:",
    "po 16. 11. 2026 o 10:01 Ada Smith <ada@example.com> napísal(a):",
    "Ada Smith <ada@example.com> ezt írta (időpont: 2026. nov. 16., H, 10:01):",
    "În lun., 16 nov. 2026 la 10:01, Ada Smith <ada@example.com> a scris:",
    "пн, 16 нояб. 2026 г. в 10:01, Ada Smith <ada@example.com>:",
    "16 ноября 2026 г., 10:01 пользователь Ada Smith <ada@example.com> написал:",
    "пн, 16 лист. 2026 р. о 10:01 Ada Smith <ada@example.com> пише:",
    "Ada Smith <ada@example.com>, 16 Kas 2026 Pzt, 10:01 tarihinde şunu yazdı:",
    "Στις Δευ 16 Νοε 2026 στις 10:01 π.μ., ο χρήστης Ada Smith <ada@example.com> έγραψε:",
    "Ada Smith <ada@example.com> 于2026年11月16日周一 上午10:01写道：",
    "在 2026年11月16日，10:01，Ada Smith <ada@example.com> 写道：",
    "2026年11月16日(月) 10:01 Ada Smith <ada@example.com>:",
    "2026년 11월 16일 (월) 오전 10:01, Ada Smith <ada@example.com>님이 작성:",
    "Vào Th 2, 16 thg 11, 2026 vào lúc 10:01 Ada Smith <ada@example.com> đã viết:",
    "Pada Sen, 16 Nov 2026 pukul 10.01 Ada Smith <ada@example.com> menulis:",
    "\u202bב-יום ב׳, 16 בנוב׳ 2026 ב-10:01 מאת \u202aAda Smith\u202c\u200f <\u202aada@example.com\u202c\u200f>:\u202c",
]
BLOCKS = [
    "-----Original Message-----\nFrom: Ada Smith\nSent: Monday, November 16, 2026 10:01 AM\nTo: Jo\nSubject: Fire",
    "________________________________\nFrom: Ada Smith <ada@example.com>\nSent: Monday, November 16, 2026\nTo: Jo\nSubject: Fire",
    "From: Ada Smith <ada@example.com>\nDate: Monday, 16 November 2026 at 10:01\nTo: Jo\nCc: Bo\nSubject: Fire",
    "*From:* Ada Smith [mailto:ada@example.com]\n*Sent:* Monday\n*To:* Jo\n*Subject:* Fire",
    "Von: Ada Smith <ada@example.com>\nGesendet: Montag, 16. November 2026 10:01\nAn: Jo\nBetreff: Feuer",
    "-----Ursprüngliche Nachricht-----\nVon: Ada\nGesendet: Montag\nAn: Jo\nBetreff: Feuer",
    "De : Ada Smith <ada@example.com>\nEnvoyé : lundi 16 novembre 2026\nÀ : Jo\nObjet : Feu",
    "De: Ada Smith\nEnviado el: lunes, 16 de noviembre de 2026\nPara: Jo\nAsunto: Fuego",
    "Da: Ada Smith\nInviato: lunedì 16 novembre 2026\nA: Jo\nOggetto: Fuoco",
    "De: Ada Smith\nEnviada em: segunda-feira\nPara: Jo\nAssunto: Fogo",
    "Van: Ada Smith\nVerzonden: maandag 16 november 2026\nAan: Jo\nOnderwerp: Brand",
    "Från: Ada Smith\nSkickat: den 16 november 2026\nTill: Jo\nÄmne: Eld",
    "Fra: Ada Smith\nSendt: 16. november 2026\nTil: Jo\nEmne: Ild",
    "Lähettäjä: Ada Smith\nLähetetty: maanantai\nVastaanottaja: Jo\nAihe: Tuli",
    "From: Ada\nWysłano: poniedziałek\nDo: Jo\nTemat: Ogień",
    "От: Ada Smith\nОтправлено: 16 ноября 2026\nКому: Jo\nТема: Огонь",
    "发件人: Ada Smith\n发送时间: 2026年11月16日\n收件人: Jo\n主题: 火",
    "差出人: Ada Smith\n送信日時: 2026年11月16日\n宛先: Jo\n件名: 火",
    "보낸 사람: Ada Smith\n보낸 날짜: 2026년 11월 16일\n받는 사람: Jo\n제목: 불",
    "---- On Mon, 16 Nov 2026 10:01:50 +0100 ada@example.com wrote ----",
    "---------- Forwarded message ---------\nFrom: Ada <ada@example.com>\nDate: Mon, Nov 16, 2026\nSubject: Fire\nTo: Jo",
    "Begin forwarded message:\n\nFrom: Ada\nSubject: Fire\nDate: 16 November 2026\nTo: Jo",
]


@pytest.mark.parametrize("attribution", ATTRIBUTIONS)
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_attributions_with_marked_and_bare_quotes(attribution: str, ends: str) -> None:
    for old in (OLD, BARE):
        text = f"{NEW}\n\n{attribution}\n\n{old}\n".replace("\n", ends)
        split = split_reply(text)
        assert split.text == NEW
        assert "burn?" in split.quote and attribution.split("\n")[0] in split.quote
    assert split_reply(f"{attribution}\n{OLD}\n\n{NEW}").text == NEW


@pytest.mark.parametrize("block", BLOCKS)
def test_blocks_of_headers(block: str) -> None:
    for old in (OLD, BARE):
        for between in ("\n\n", "\n"):
            assert split_reply(f"{NEW}{between}{block}\n\n{old}\n").text == NEW


@pytest.mark.parametrize(
    "signature",
    [
        "-- \nJo Doe\nExample Ltd\n+49 123",
        "--\nJo",
        "__\nlist mailing list\nlist@lists.example.org\nhttps://lists.example.org/list",
        "_______________________________________________\nlist mailing list\nlist@lists.example.org",
        "Sent from my iPhone",
        "Sent from my Samsung Galaxy smartphone.".removesuffix("."),
        "Sent from Yahoo Mail on Android",
        "Get Outlook for iOS<https://aka.ms/o0ukef>",
        "Von meinem iPhone gesendet",
        "Gesendet von Mail für Windows 10",
        "Envoyé de mon iPhone",
        "Enviado desde mi iPhone",
        "Inviato da iPhone",
        "Verstuurd vanaf mijn iPhone",
        "Skickat från min iPhone",
        "Sendt fra min iPhone",
        "Lähetetty iPhonesta",
        "Wysłane z iPhone'a",
        "Отправлено с iPhone",
        "iPhone'umdan gönderildi",
        "发自我的 iPhone",
        "iPhoneから送信",
        "나의 iPhone에서 보냄",
        "Best regards,\nJo Doe\nExample Ltd",
        "Mit freundlichen Grüßen\n\nJo Doe",
        "Cordialement,\nJo",
        "Saludos,\nJo",
        "Met vriendelijke groet,\n\nJo",
    ],
)
def test_signatures(signature: str) -> None:
    alone = split_reply(f"{NEW}\n\n{signature}\n")
    assert (alone.text, alone.signature) == (NEW, signature)
    quoted = split_reply(f"{NEW}\n\n{signature}\n\n{ATTRIBUTIONS[0]}\n{OLD}\n")
    assert quoted.text == NEW
    assert signature in quoted.signature


@pytest.mark.parametrize(
    "text",
    [
        "On Monday we wrote to you:\nplease answer.",
        "On the other hand:\nit burns.",
        "Am Montag schrieb ich Ihnen:\nbitte antworten.",
        "From: here\nwe go there.",
        "The mail had these headers:\nFrom: ada@example.com\nTo: jo@example.com\nWhat is wrong?",
        "Subject: to change\n\nis what the form says.",
        "Three things:\n- one\n- two\n-- and a half\n- three",
        "Name   Value\n----------------\na      1\nb      2\n\nIs that right?",
        "First\n\n---\n\nSecond\n\n___\n\nThird",
        'Traceback (most recent call last):\n  File "a.py", line 1\nValueError: no\n\nWhy?',
        "It says:\n> error 5",
        "It says:\n\n> error 5\n> at line 7\n\nWhat does that mean?",
        "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b",
        "Thanks\n\nbut it burns again.",
        "Sent from my desk, it is quicker than by phone.",
        "Sent from the office on Monday, arrived on Friday.",
        "Meeting on 16.11.2026 at 10:01:\nplease come.",
        "10:01 Ada came.\n10:02 Bo came.",
        "Call me at 10:30.\nRegards to your mother.\nAnd send the invoice.",
        "We spoke to jo@example.com on 12.03.2026:\nshe agreed.",
        "Wrote:\nnothing.",
        "a\n" * 50,
        "日本語の本文です。\nよろしく。",
    ],
)
def test_words_of_the_writer_stay(text: str) -> None:
    assert split_reply(text).text == text.rstrip("\n")


@pytest.mark.parametrize("text", [OLD, f"{ATTRIBUTIONS[0]}\n{OLD}", f"{BLOCKS[20]}\n\n{BARE}", "-- \nJo", "", "\n\n"])
def test_where_nothing_is_new_the_whole_stays(text: str) -> None:
    split = split_reply(text)
    assert split.text == text.strip("\n").rstrip()
    assert not split.quote and not split.signature


def test_answers_between_quotes_keep_what_they_answer() -> None:
    text = f"Hello,\n\n{ATTRIBUTIONS[0]}\n> Does it burn?\nYes.\n\n> Where?\n\nIn the cellar.\n\n> Ada\n> Example"
    split = split_reply(text)
    assert split.text == "Hello,\n\n> Does it burn?\nYes.\n\n> Where?\n\nIn the cellar."
    assert ATTRIBUTIONS[0] in split.quote and "> Ada" in split.quote


def test_a_quoted_line_that_was_broken_is_still_quoted() -> None:
    broken = f"{NEW}\n\n{ATTRIBUTIONS[1]}\n> This is a line that was so long that a program on the way broke it in\ntwo parts\n> and went on"
    assert split_reply(broken).text == NEW


@given(st.lists(st.sampled_from(["", "text here", "> quoted", "--", "-- ", "On Mon, Nov 16, 2026 at 10:01 AM, A <a@b.c> wrote:",
    "From: a <a@b.c>", "Sent: Monday", "To: b", "Subject: c", "-----Original Message-----", "______________", "Sent from my iPhone",
    "Regards,", "Jo", "\u200f>", ">:", "<a@b.c> wrote:"]), max_size=25))  # fmt: skip
def test_every_line_is_in_exactly_one_part(lines: list[str]) -> None:
    labels = label_lines(lines)
    assert len(labels) == len(lines)
    split = split_reply("\n".join(lines))
    kept = [line for part in (split.text, split.quote, split.signature) for line in part.split("\n") if line.strip()]
    assert sorted(line.rstrip() for line in kept) == sorted(line.rstrip() for line in lines if line.strip())
    if any(line.strip() for line in lines):
        assert split.text.strip()
        assert any(label is Part.NEW for label in labels)


@given(st.text(max_size=300))
def test_any_text_can_be_split(text: str) -> None:
    split = split_reply(text)
    assert not text.strip() or split.text.strip() or split.quote or split.signature


@pytest.mark.parametrize(
    "hostile",
    [
        "On " * 20_000, "On \n" * 100_000, "\n" * 100_000, "a" * 3_000_000, ">" * 100_000, "> " * 50_000, "> a\n" * 100_000,
        "-" * 1_000_000, "_\n" * 500_000, "> a\nb\n" * 50_000, "From: a\n" * 50_000, "On 1.1.2026 at 10:01 a@b wrote:\n> x\ny\n" * 10_000,
        "a: " * 300_000, "wrote:\n" * 100_000, "<\n>" * 100_000, "\u200f" * 500_000, "--\n" * 200_000, "a wrote " * 100_000,
        "Sent from my iPhone\n\n" * 30_000, "10:01 " * 100_000, "@" * 500_000, "a@" * 300_000, "Regards,\n" * 60_000,
    ],
)  # fmt: skip
def test_time_is_linear(hostile: str) -> None:
    started = time.process_time()
    split_reply(hostile)
    assert time.process_time() - started < len(hostile) / 1e6 + 0.5


@needs_replies
def test_the_collected_cases() -> None:
    wrong, lost = [], []
    for line in REPLIES.read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        found = "".join(split_reply(case["text"] or html_to_text(case["html"])).text.split())
        wanted = "".join(case["expected"].split())
        if found != wanted:
            wrong.append(case["name"])
            if wanted not in found:
                lost.append(case["name"])
    assert len(wrong) <= 8, wrong
    assert len(lost) <= 2, lost
