"""The kind `slack`: its two ways, its blocks, and what Slack's own error names become."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from integrations._slack_messages import SECTION, sections
from integrations.slack import EVENT, split
from postroom.exchange import DeliveryError
from postroom.fields import Secret
from postroom.integration import Guarantee, Integration, Job, Markup, Receipt, escape
from postroom.testing import IntegrationContract
from tests.kinds import KINDS, SECRET, attachment, build, job
from tests.servers import CLOSE, Receiver, Reply
from tests.standins.slack import CHANNEL, OTHER, FakeSlack, SlackStandin, refusal, shown, wrong_message


class WebhookStandin(SlackStandin):
    """Slack's incoming webhook."""

    def options(self) -> dict[str, Any]:
        return {"webhook_url": Secret(f"{self.receiver.url}/services/T1/B1/{quote(SECRET, safe='')}")}

    def integration(self, **options: Any) -> Integration:
        if "url" in options:
            options = {"webhook_url": Secret(f"{options['url']}/services/x")}
        return super().integration(**options)

    def made(self) -> int:
        return len(self.well.hooked)

    def texts(self) -> list[str]:
        return [shown(each) for each in self.well.hooked]


class TestWebhook(IntegrationContract):
    standin = type("Webhook", (WebhookStandin,), {"kind": "slack"})

    def test_no_secret_is_shown(self, there: Any, caplog: pytest.LogCaptureFixture) -> None:
        there.receiver.answer = lambda request: Reply(403, request.path.encode())
        with pytest.raises(DeliveryError) as caught:
            there.integration().deliver(job())
        assert SECRET not in caught.value.answer + caught.value.reason + repr(there.integration().options) + caplog.text
        assert quote(SECRET, safe="") not in caught.value.answer + caught.value.reason


@pytest.fixture
def there(tmp_path: Path) -> Iterator[SlackStandin]:
    with Receiver() as receiver:
        yield SlackStandin(tmp_path, receiver)


@pytest.fixture
def server(there: SlackStandin) -> FakeSlack:
    fake: FakeSlack = there.well
    return fake


@pytest.fixture
def hook(tmp_path: Path) -> Iterator[WebhookStandin]:
    with Receiver() as receiver:
        yield WebhookStandin(tmp_path, receiver)


def failure(chat: Integration, this: Job | None = None, **options: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        chat.deliver(this or job(**options))
    return caught.value


def test_a_message_and_its_thread(there: SlackStandin, server: FakeSlack) -> None:
    chat = there.integration()
    first = job(attachment("a.txt"), body=f"**burns** {escape(Markup.MARKDOWN, '<!channel> a & b')}")
    item = chat.deliver(first)
    message, file = server.messages[CHANNEL]
    assert item.reference == f"{CHANNEL}:{message['ts']}"
    assert item.url == f"https://example.slack.com/archives/{CHANNEL}/p{message['ts'].replace('.', '')}"
    assert message["metadata"] == {"event_type": EVENT, "event_payload": {"key": f"{first.marker}-item"}}
    header, section, context = message["blocks"]
    assert header["text"] == {"type": "plain_text", "text": "Printer on fire", "emoji": False}
    assert section["text"]["text"] == "*burns* &lt;!channel&gt; a &amp; b\n\na footer"
    assert context["elements"][0]["text"] == f"From Jo Ünal (jo@example.org) · <{first.message_url}|this mail>"
    assert message["text"] == "Printer on fire" and not message["unfurl_links"] and not message["unfurl_media"]
    assert "link_names" not in message and "parse" not in message
    assert file["thread_ts"] == message["ts"] and server.files["F00000000"]["content"] == b"hello"
    assert chat.deliver(job(body="More", item=Receipt(item.reference))).reference == item.reference
    answer = server.messages[CHANNEL][-1]
    assert answer["thread_ts"] == message["ts"] and "More" in shown(answer)
    assert [block["type"] for block in answer["blocks"]] == ["section", "context"]


def test_the_channel_of_the_rule_and_its_name(there: SlackStandin, server: FakeSlack) -> None:
    server.page = 1
    chat = there.integration(channel=None)
    for name in ("#Other-Ops", "other-ops", OTHER, "support"):
        chat.deliver(job(channel=name))
    assert (len(server.messages[OTHER]), len(server.messages[CHANNEL])) == (3, 1)
    assert len([each for each in there.receiver.requests if each.path.endswith("conversations.list")]) == 2
    missing = failure(chat, channel="#nowhere")
    assert missing.permanent and "no channel '#nowhere'" in missing.reason
    assert "names a channel" in failure(chat).reason


@pytest.mark.parametrize(("state", "words"), [("closed", "This is closed now."), ("open", "This is open again.")])
def test_states_are_told(there: SlackStandin, state: str, words: str) -> None:
    chat = there.integration()
    chat.deliver(job(item=chat.deliver(job()), state=state))
    assert words in there.comments()[0]


def test_refused_files_are_told(there: SlackStandin, server: FakeSlack) -> None:
    server.largest = 10
    there.integration().deliver(job(attachment("large.bin", bytes(11)), attachment("e.txt", b""), attachment("ok.txt")))
    text = there.texts()[0]
    assert "Attachment not taken: large.bin (11 bytes): file\u200b_upload_size_restricted" in text or (
        "Attachment not taken: large.bin (11 bytes): file_upload_size_restricted" in text
    )
    assert "e.txt (0 bytes): it is empty" in text and there.attached() == ["ok.txt"]


def test_a_file_that_may_not_be_shown_is_told_in_the_thread(there: SlackStandin, server: FakeSlack) -> None:
    server.errors["files.completeUploadExternal"] = {"error": "slack_connect_blocked_file_type"}
    steps: dict[str, str] = {}
    there.integration().deliver(job(attachment("virus.exe"), steps=steps, record=steps.__setitem__))
    (note,) = there.comments()
    assert "Attachment not taken: virus.exe" in note and {"note:0", "attachment:0"} <= set(steps)


def test_a_lost_answer_to_a_share_is_looked_for(there: SlackStandin, server: FakeSlack) -> None:
    chat = there.integration()
    steps: dict[str, str] = {}
    once = job(attachment("a.txt"), attachment("b.txt"), steps=steps, record=steps.__setitem__)

    def lost(request: Any) -> Reply:
        answer = server(request)
        return CLOSE if request.path.endswith("completeUploadExternal") else answer

    there.receiver.answer = lost
    assert failure(chat, once).unknown
    there.reset()
    chat.deliver(replace(once, steps=steps, uncertain=True))
    assert there.attached() == ["a.txt", "b.txt"] and there.made() == 1


def test_failed_uploads_made_nothing_that_is_seen(there: SlackStandin, server: FakeSlack) -> None:
    for path in ("/upload/", "getUploadURLExternal"):
        there.receiver.answer = lambda request, path=path: Reply(500) if path in request.path else server(request)
        error = failure(there.integration(), job(attachment()))
        assert not error.unknown and not error.permanent
    assert there.made() == 0


def test_find(there: SlackStandin, server: FakeSlack) -> None:
    chat = there.integration()
    once = job()
    assert chat.find(once) is None
    item = chat.deliver(once)
    copied = {**server.messages[CHANNEL][0], "ts": f"{server.now + 50}.000000"}
    server.messages[CHANNEL].append(copied)
    for _ in range(30):
        chat.deliver(job())
    server.page = 7
    assert chat.find(once) == item, "the oldest of those with the key"
    late = replace(once, message=msgspec.structs.replace(once.message, received_at=(server.now + 1000) * 1000))
    assert chat.find(late) is None, "what is older than the mail is not looked at"
    reply = job(item=item)
    assert chat.find(reply) is None
    chat.deliver(reply)
    assert chat.find(reply) == item


def test_a_page_that_is_too_long_is_read_in_parts(there: SlackStandin, server: FakeSlack) -> None:
    chat = there.integration()
    once = job(body="x " * 5000)
    item = chat.deliver(once)
    for _ in range(150):
        chat.deliver(job(body="x " * 5000))
    assert chat.find(once) == item


@pytest.mark.parametrize(
    ("error", "sort"),
    [
        ("invalid_auth", "permanent"), ("not_in_channel", "permanent"), ("is_archived", "permanent"),
        ("channel_not_found", "permanent"), ("invalid_blocks", "permanent"), ("some_new_error", "permanent"),
        ("fatal_error", "unknown"), ("internal_error", "unknown"), ("service_unavailable", "unknown"),
        ("ratelimited", "limited"), ("rate_limited", "limited"), ("message_limit_exceeded", "limited"),
        ("team_added_to_org", "later"), ("request_timeout", "later"),
    ],
)  # fmt: skip
def test_errors_on_200(there: SlackStandin, error: str, sort: str) -> None:
    there.receiver.answer = refusal(error)
    raised = failure(there.integration())
    assert (raised.permanent, raised.unknown, raised.limited) == (
        sort == "permanent", sort == "unknown", sort == "limited",
    )  # fmt: skip
    assert raised.reason.startswith(f"Slack refused chat.postMessage: {error}") and not raised.item_gone


def test_limits_tell_how_long(there: SlackStandin) -> None:
    there.receiver.answer = Reply.of({"ok": False, "error": "ratelimited"}, 200, **{"Retry-After": "30"})
    assert failure(there.integration()).retry_after == 30
    there.receiver.answer = Reply.of({"ok": False, "error": "ratelimited"}, 429, **{"Retry-After": "30"})
    error = failure(there.integration())
    assert error.retry_after == 30 and error.limited


def test_details_of_a_refusal(there: SlackStandin) -> None:
    there.receiver.answer = refusal("missing_scope", needed="chat:write", provided="files:write")
    assert "missing_scope; the app lacks a scope; it needs chat:write" in failure(there.integration()).reason
    there.receiver.answer = refusal("invalid_blocks", response_metadata={"messages": ["[ERROR] too long"]})
    assert "invalid_blocks; [ERROR] too long" in failure(there.integration()).reason


@pytest.mark.parametrize(
    "error", ["thread_not_found", "cannot_reply_to_message", "restricted_action_thread_locked", "is_archived"]
)
def test_a_thread_that_takes_nothing_is_gone(there: SlackStandin, server: FakeSlack, error: str) -> None:
    chat = there.integration()
    item = chat.deliver(job())
    server.errors["chat.postMessage"] = {"error": error}
    raised = failure(chat, item=item)
    assert raised.item_gone and not raised.permanent


def test_no_permalink_is_no_failure(there: SlackStandin, server: FakeSlack) -> None:
    server.errors["chat.getPermalink"] = {"error": "message_not_found"}
    receipt = there.integration().deliver(job())
    assert receipt.url is None and receipt.reference


@pytest.mark.parametrize(
    "text",
    [
        "x" * 200_000,
        "<&>" * 50_000,
        "wörd " * 20_000,
        "a\n" * 30_000,
        "🔥 <https://x.example/?a=b&c> " * 5_000,
        "`" * 9_000,
    ],
)
def test_every_message_fits(there: SlackStandin, server: FakeSlack, text: str) -> None:
    there.integration().deliver(job(title=text, body=escape(Markup.MARKDOWN, text)))
    there.integration().deliver(job(title=text, body="```\n" + text + "\n```"))
    for message in server.messages[CHANNEL]:
        assert wrong_message(message) == ""
        for block in message["blocks"][1:-1]:
            assert re.sub(r"<[^<>]*>", "", block["text"]["text"]).count("<") == 0, "no link is cut"
            assert not re.search(r"&(?!amp;|lt;|gt;)", re.sub(r"<[^<>]*>", "", block["text"]["text"]))


def test_sections_of_long_texts() -> None:
    link = "<https://x.example/" + "a" * 200 + "|words of a link>"
    text = "\n".join(["para " * 100, "```", *["code & more"] * 600, "```", link * 40, "end"])
    parts = list(sections(text))
    assert all(0 < len(part) <= SECTION for part in parts)
    assert all(part.count("```") % 2 == 0 for part in parts), "code stays code"
    assert sum(part.count(link) for part in parts) == 40
    assert list(sections("")) == [] and list(sections("one\n\ntwo")) == ["one\n\ntwo"]
    assert "".join("".join(parts).split()).replace("```", "") == "".join(text.split()).replace("```", "")


def test_nothing_of_a_mail_acts(there: SlackStandin, server: FakeSlack) -> None:
    text = "<!channel> <!here> <@U123> <#C123> <https://evil.example|bank> @everyone #general *b* _i_ :fire: `c`"
    mail = job(title=text, body=escape(Markup.MARKDOWN, text))
    sender = msgspec.structs.replace(mail.message.from_ or mail.message.return_path, name="<!channel>")
    there.integration().deliver(replace(mail, message=msgspec.structs.replace(mail.message, from_=sender)))
    (message,) = server.messages[CHANNEL]
    told = [message["text"], *(block["text"]["text"] for block in message["blocks"][1:-1])]
    told += [element["text"] for element in message["blocks"][-1]["elements"]]
    assert all(not re.search(r"<[!@#]", each) for each in told)
    assert all(block["text"]["verbatim"] for block in message["blocks"][1:-1])
    links = re.findall(r"<([^|>]+)", " ".join(told))
    assert {link.partition("%7C")[0].partition("|")[0] for link in links} <= {"https://evil.example", mail.message_url}


def test_a_webhook_makes_no_items(hook: WebhookStandin) -> None:
    chat = hook.integration()
    kind, options = KINDS["slack"], chat.options
    assert not kind.opens_items(options) and kind.guarantee_of(options) is Guarantee.NONE
    delivery = job(attachment("a.txt"))
    assert chat.deliver(delivery) == Receipt() and chat.find(delivery) is None and chat.check() == ()
    assert f"Attachment: a.txt (5 bytes), on the page of this mail: <{delivery.message_url}>" in hook.texts()[0]
    assert not {"channel", "metadata"} & set(hook.well.hooked[0])


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, "invalid_payload"), (403, "action_prohibited"), (403, "invalid_token"), (404, "channel_not_found"),
        (404, "no_service"), (404, "no_team"), (410, "channel_is_archived"),
    ],
)  # fmt: skip
def test_refusals_of_a_webhook(hook: WebhookStandin, status: int, body: str) -> None:
    hook.receiver.answer = Reply(status, body.encode())
    error = failure(hook.integration())
    assert error.permanent and error.reason == f"Slack refused the message: {body}"
    assert error.closed == (status == 410)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"token": Secret("a"), "webhook_url": Secret("https://x.example/y")},
        {"webhook_url": Secret("hooks.slack.com")},
    ],
)
def test_refused_settings(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="webhook"):
        build("slack", tmp_path, **options)


def test_a_webhook_that_does_not_say_ok(hook: WebhookStandin) -> None:
    hook.receiver.answer = Reply(200, b"<html>Please log in</html>")
    error = failure(hook.integration())
    assert error.unknown and "did not say ok" in error.reason


def test_references() -> None:
    assert split(f"{CHANNEL}:1795000001.000200") == (CHANNEL, "1795000001.000200")
    for wrong in ("", "17", CHANNEL, f"{CHANNEL}:x", "general:1.2"):
        with pytest.raises(DeliveryError):
            split(wrong)


def test_check(there: SlackStandin, server: FakeSlack) -> None:
    assert there.integration().check() == ["known as postroom in Example", "may say in the channel 'support'"]
    assert there.integration(channel="#support").check()[-1] == "may say in the channel 'support'"
    server.scopes = "chat:write"
    assert "lacks the scope files:write" in there.integration().check()
    assert "lacks the scope channels:history or groups:history" in there.integration().check()
    server.member = []
    assert there.integration().check()[-1] == "is not in the channel 'support': invite it"
    server.archived = [CHANNEL]
    assert there.integration().check()[-1] == "the channel 'support' is archived"
    with pytest.raises(DeliveryError, match="channel_not_found"):
        there.integration(channel="C0000000000").check()
    with pytest.raises(DeliveryError, match="invalid_auth"):
        there.integration(token=Secret("wrong")).check()
