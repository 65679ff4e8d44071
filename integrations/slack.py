"""Kind `slack`: says it in a channel of Slack, and answers in its thread as the conversation goes on.

With a bot's token by the Web API (https://docs.slack.dev/reference/methods), or by an incoming webhook, which can only
say. Slack has no idempotency key for programs: each message carries the delivery's key as metadata, which people do
not see and which the channel's history shows.
"""

from __future__ import annotations

import functools
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from integrations._slack_answers import Refused, TooLong, checked, mapping, rows
from integrations._slack_messages import chat_message
from postroom.composition import compose, names_of_attachments, not_taken
from postroom.exchange import Answer
from postroom.fields import Secret, Url
from postroom.integration import (
    DeliveryError,
    Guarantee,
    Http,
    Integration,
    Job,
    JobAttachment,
    Markup,
    Receipt,
    escape,
    setting,
)

EVENT = "postroom_delivery"
_CHANNEL = re.compile(r"[CGD][A-Z0-9]{5,30}")
_PAGE = 200
_PAGES = 20
_CHANNEL_PAGES = 30
_KEEP_CHANNELS = 600.0
_EARLIER = 300
"""Seconds by which our clock may be ahead of Slack's."""
_REFUSED = "refused: "
_STATES = {"closed": "This is closed now.", "open": "This is open again."}
_FILE_REFUSED = frozenset(
    (
        *("file_upload_size_restricted", "file_uploads_disabled", "file_uploads_except_images_disabled"),
        *("storage_limit_reached", "blocked_file_type", "posting_to_channel_denied", "file_type_not_allowed"),
        *("slack_connect_file_upload_sharing_blocked", "slack_connect_blocked_file_type"),
    )
)
_SCOPES = (("chat:write",), ("files:write",), ("channels:history", "groups:history"), ("channels:read", "groups:read"))
"""What the app needs, of each one."""


@dataclass(frozen=True)
class SlackOptions:
    token: Secret | None = setting("bot token (`xoxb-…`); either this or `webhook_url`", default=None)
    channel: str | None = setting(
        "with a token: id (`C0123456789`) or name of the channel where a rule names none", default=None
    )
    webhook_url: Secret | None = setting(
        "incoming webhook, which says it in its own channel: without files, threads, and a way to look", default=None
    )
    url: Url = setting("address of the Web API; GovSlack has its own", default=Url("https://slack.com/api"))


@dataclass(frozen=True)
class SlackFields:
    channel: str | None = setting("with a token: id or name of the channel; the app must be in it", default=None)


class Slack(Integration):
    """A message is the item, answers in its thread are the comments. The reference is `CHANNEL:ts`."""

    kind = "slack"
    summary = "Says it in a Slack channel; with a bot's token, later mail is said in the thread of the first."
    guarantee = Guarantee.CONSISTENT_SEARCH
    example = 'kind: slack\ntoken: "${SLACK_TOKEN}"\nchannel: support\n'
    Options = SlackOptions
    Fields = SlackFields

    def __init__(self, name: str, options: SlackOptions, *, http: Http, data_dir: Path) -> None:
        super().__init__(name, options, http=http, data_dir=data_dir)
        if (options.token is None) == (options.webhook_url is None):
            raise ValueError("slack needs either `token` or `webhook_url`")
        if options.webhook_url is not None and not re.match(r"https?://[^\s/]+/\S", options.webhook_url):
            raise ValueError("webhook_url is no URL of an incoming webhook")
        self._url = options.url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {options.token}"}
        self._channels: dict[str, str] = {}
        self._listed_at = 0.0
        self._lock = threading.Lock()

    @classmethod
    def markup(cls, options: SlackOptions) -> Markup:
        return Markup.MARKDOWN

    @classmethod
    def opens_items(cls, options: SlackOptions) -> bool:
        return options.token is not None

    @classmethod
    def guarantee_of(cls, options: SlackOptions) -> Guarantee:
        return Guarantee.NONE if options.token is None else cls.guarantee

    def deliver(self, job: Job) -> Receipt:
        if self.options.webhook_url is not None:
            return self._hook(job)
        channel, thread = self._place(job)
        files = [
            job.once(f"file:{position}", functools.partial(self._upload, attachment))
            for position, attachment in enumerate(job.attachments)
        ]
        notes = [
            not_taken(each.info.name, each.info.size, file.removeprefix(_REFUSED))
            for each, file in zip(job.attachments, files, strict=True)
            if file.startswith(_REFUSED)
        ]
        say = functools.partial(self._say, job, job.part, channel, thread, self._text(job, notes))
        reference = job.once(job.part, say)
        if thread is None:
            channel, thread = split(reference)
        self._share(job, files, channel, thread)
        if job.item is not None:
            return Receipt(job.item.reference, job.item.url)
        url = job.once("url", functools.partial(self._permalink, channel, thread))
        return Receipt(reference, url or None)

    def find(self, job: Job) -> Receipt | None:
        """The message with the delivery's key, in the channel since the mail came, or in the thread."""
        if self.options.token is None:
            return None
        channel, thread = self._place(job)
        ts = self._said(job, job.part, channel, thread)
        if ts is None:
            return None
        if job.item is not None:
            return Receipt(job.item.reference, job.item.url)
        return Receipt(f"{channel}:{ts}", self._permalink(channel, ts) or None)

    def check(self) -> Sequence[str]:
        """As whom, with which scopes, and whether the app is in the channel. Of a webhook nothing can be known."""
        if self.options.token is None:
            return ()
        answer, known = self._get("auth.test", {})
        found = [f"known as {known.get('user')} in {known.get('team')}"]
        scopes = answer.headers.get("x-oauth-scopes")
        if scopes is not None:
            has = {scope.strip() for scope in scopes.split(",")}
            found += [f"lacks the scope {' or '.join(any_of)}" for any_of in _SCOPES if not has & set(any_of)]
        if self.options.channel:
            _, told = self._get("conversations.info", {"channel": self._channel(self.options.channel)})
            channel = mapping(told.get("channel"))
            name = channel.get("name") or self.options.channel
            if channel.get("is_archived") is True:
                found.append(f"the channel '{name}' is archived")
            elif channel.get("is_member") is False:
                found.append(f"is not in the channel '{name}': invite it")
            else:
                found.append(f"may say in the channel '{name}'")
        return found

    def _hook(self, job: Job) -> Receipt:
        text = self._text(job, names_of_attachments(job))
        answer = self.http.post(
            str(self.options.webhook_url), json=chat_message(job, text), expect=(200, 400, 403, 404, 410)
        )
        if answer.status != 200:
            error = answer.error(f"Slack refused the message: {answer.text[:100]}", permanent=True)
            error.closed = answer.status == 410
            raise error
        if answer.text.strip() != "ok":
            raise answer.error(f"{answer.host} did not say ok", unknown=True)
        return Receipt()

    def _text(self, job: Job, notes: Sequence[str]) -> str:
        state = [_STATES[job.content.state]] if job.content.state in _STATES else []
        return compose(job, Markup.MARKDOWN, title_limit=150, notes=[*notes, *state], marker="")

    def _place(self, job: Job) -> tuple[str, str | None]:
        if job.item is not None:
            return split(job.item.reference or "")
        wanted = job.content.fields.get("channel") or self.options.channel
        if not wanted:
            raise DeliveryError("neither the rule nor the destination names a channel", permanent=True)
        return self._channel(str(wanted)), None

    def _channel(self, name: str) -> str:
        """The id of a channel. https://docs.slack.dev/reference/methods/conversations.list"""
        if _CHANNEL.fullmatch(name):
            return name
        wanted = name.removeprefix("#").casefold()
        with self._lock:
            fresh = time.monotonic() - self._listed_at < _KEEP_CHANNELS
            known = self._channels.get(wanted) if fresh else None
        if known is not None:
            return known
        parameters = {"types": "public_channel,private_channel", "exclude_archived": "true", "limit": 999}
        channels = self._pages("conversations.list", parameters, "channels", _CHANNEL_PAGES)
        found = {
            str(row.get("name")).casefold(): str(row.get("id"))
            for row in channels
            if _CHANNEL.fullmatch(str(row.get("id")))
        }
        with self._lock:
            self._channels, self._listed_at = found, time.monotonic()
        if wanted not in found:
            raise DeliveryError(f"Slack shows the app no channel '{name}'", permanent=True)
        return found[wanted]

    def _say(self, job: Job, step: str, channel: str, thread: str | None, text: str) -> str:
        """Posts a message; its reference. https://docs.slack.dev/reference/methods/chat.postMessage"""
        metadata = {"event_type": EVENT, "event_payload": {"key": key_of(job, step)}}
        body = chat_message(job, text) | {"channel": channel, "metadata": metadata}
        if thread is not None:
            body["thread_ts"] = thread
        document = self._post("chat.postMessage", body, in_thread=thread is not None)
        ts, where = document.get("ts"), document.get("channel")
        if not isinstance(ts, str) or not isinstance(where, str):
            raise DeliveryError("Slack's answer names no message", unknown=True)
        return f"{where}:{ts}"

    def _said(self, job: Job, step: str, channel: str, thread: str | None) -> str | None:
        """Whether an earlier attempt posted a message. The oldest is ours: other apps may copy metadata."""
        for message in reversed(self._listed(job, channel, thread)):
            metadata = mapping(message.get("metadata"))
            if mapping(metadata.get("event_payload")).get("key") == key_of(job, step):
                return str(message.get("ts"))
        return None

    def _listed(self, job: Job, channel: str, thread: str | None) -> list[dict[str, Any]]:
        """What was said since the mail came, newest first."""
        since = max(job.message.received_at // 1000 - _EARLIER, 0)
        parameters = {"channel": channel, "oldest": since, "include_all_metadata": "true", "limit": _PAGE}
        if thread is None:
            found = list(self._pages("conversations.history", parameters, "messages", _PAGES))
        else:
            found = list(self._pages("conversations.replies", parameters | {"ts": thread}, "messages", _PAGES))
        return sorted(found, key=lambda message: str(message.get("ts")), reverse=True)

    def _upload(self, attachment: JobAttachment) -> str:
        """Uploads a file that nobody sees yet; its id. https://docs.slack.dev/messaging/working-with-files"""
        info = attachment.info
        if not info.size:
            return _REFUSED + "it is empty"
        try:
            form = {"filename": info.name, "length": info.size}
            document = self._post("files.getUploadURLExternal", form, form=True)
            url, file = document.get("upload_url"), document.get("file_id")
            if not isinstance(url, str) or not isinstance(file, str):
                raise DeliveryError("Slack's answer names no address for a file")
            headers = {"Content-Type": "application/octet-stream"}  # the address is the credential
            answer = self.http.post(url, data=attachment.chunks(), size=info.size, headers=headers, expect=(200, 413))
        except Refused as error:
            if error.code in _FILE_REFUSED:
                return _REFUSED + error.code
            raise
        except DeliveryError as error:
            error.unknown = False
            raise
        return file if answer.status == 200 else _REFUSED + "it is too large"

    def _share(self, job: Job, files: Sequence[str], channel: str, thread: str) -> None:
        """Shows the files in the thread, each once. https://docs.slack.dev/reference/methods/files.completeUploadExternal"""
        shared: set[str] | None = None
        for position, (attachment, file) in enumerate(zip(job.attachments, files, strict=True)):
            step = f"attachment:{position}"
            if file.startswith(_REFUSED) or step in job.steps:
                continue
            if job.uncertain and shared is None:
                messages = self._listed(job, channel, thread)
                shared = {str(each.get("id")) for message in messages for each in rows(message.get("files"))}
            if file not in (shared or ()):
                self._complete(job, position, attachment, file, channel, thread)
            job.record(step, file)

    def _complete(
        self, job: Job, position: int, attachment: JobAttachment, file: str, channel: str, thread: str
    ) -> None:
        name = attachment.info.name
        body = {"files": [{"id": file, "title": name}], "channel_id": channel, "thread_ts": thread}
        try:
            self._post("files.completeUploadExternal", body)
        except Refused as error:
            if error.code not in _FILE_REFUSED:
                raise
            note = escape(Markup.MARKDOWN, not_taken(name, attachment.info.size, error.code))
            step = f"note:{position}"
            if not (job.uncertain and self._said(job, step, channel, thread)):
                job.once(step, functools.partial(self._say, job, step, channel, thread, note))

    def _permalink(self, channel: str, ts: str) -> str:
        """The address of a message; empty where Slack tells none: the message is there all the same."""
        try:
            return str(self._get("chat.getPermalink", {"channel": channel, "message_ts": ts})[1].get("permalink") or "")
        except Refused:
            return ""

    def _pages(self, method: str, parameters: Mapping[str, Any], key: str, most: int) -> Iterator[dict[str, Any]]:
        """The rows of a list in pages. A page that is longer than an answer may be is fetched anew in quarters."""
        cursor, limit = "", int(parameters["limit"])
        for _ in range(most):
            page = {**parameters, "limit": limit, **({"cursor": cursor} if cursor else {})}
            try:
                _, document = self._get(method, page)
            except TooLong:
                limit = max(limit // 4, 1)
                continue
            yield from rows(document.get(key))
            cursor = mapping(document.get("response_metadata")).get("next_cursor") or ""
            if not isinstance(cursor, str) or not cursor:
                return

    def _get(self, method: str, parameters: Mapping[str, Any]) -> tuple[Answer, dict[str, Any]]:
        """A question, which changes nothing."""
        try:
            answer = self.http.get(f"{self._url}/{method}", params=dict(parameters), headers=self._headers)
            if answer.truncated:
                raise TooLong(f"{answer.host} answered more than is read")
            return answer, checked(method, answer, in_thread="ts" in parameters)
        except DeliveryError as error:
            error.unknown = False
            raise

    def _post(self, method: str, body: Any, *, form: bool = False, in_thread: bool = False) -> dict[str, Any]:
        url = f"{self._url}/{method}"
        if form:
            headers = {**self._headers, "Content-Type": "application/x-www-form-urlencoded"}
            answer = self.http.post(url, data=urlencode(body).encode(), headers=headers)
        else:
            headers = {**self._headers, "Content-Type": "application/json; charset=utf-8"}
            answer = self.http.post(url, json=body, headers=headers)
        return checked(method, answer, in_thread=in_thread)


def key_of(job: Job, step: str) -> str:
    """What the metadata of a message hold."""
    return f"{job.marker}-{step.replace(':', '-')}"


def split(reference: str) -> tuple[str, str]:
    """Channel and time of a reference."""
    found = re.fullmatch(rf"({_CHANNEL.pattern}):(\d{{1,12}}\.\d{{1,8}})", reference)
    if found is None:
        raise DeliveryError(f"the item '{reference}' is no message of Slack", permanent=True)
    return found[1], found[2]
