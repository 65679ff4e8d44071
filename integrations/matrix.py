"""Kind `matrix`: says it in a room of Matrix, and answers in its thread as the conversation goes on.

https://spec.matrix.org/latest/client-server-api/, proved against Synapse. The id of each transaction comes from the
delivery's key, so that the homeserver gives a repeat the event that is there. It forgets these ids after a while, and
they hold for one access token: what is tried again later is looked for in the room first.
"""

from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from postroom.composition import compose, not_taken, place_images, title_of
from postroom.exchange import LONGEST_RETRY_AFTER, Answer, retry_after
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
from postroom.remembered import Remembered

KEY = "postroom.delivery"
"""In the content of each event: its transaction."""
EVENT_LIMIT = 60_000
"""Bytes of an event's content: 65,536 of the whole event are allowed."""
_TITLE = 250
_REMEMBERED = 20 * 60.0
"""Seconds for which a homeserver surely knows a transaction; Synapse keeps them for 30 minutes and more."""
_PAGES = 10
_KEEP_ROOMS = 600.0
_REFUSED = "refused: "
"""Begins the recorded reference of an attachment that the homeserver did not take."""
_SORTED = (200, 400, 401, 403, 404, 413, 429)
_STATES = {"closed": "This is closed now.", "open": "This is open again."}
_TYPES = {"image": "m.image", "video": "m.video", "audio": "m.audio"}


@dataclass(frozen=True)
class MatrixOptions:
    url: Url = setting("address of the homeserver's client API")
    token: Secret = setting("access token of the user who speaks")
    room: str | None = setting(
        "id or alias of the room where a rule names none: `!abc:example.com`, `#ops:example.com`", default=None
    )
    msgtype: Literal["text", "notice"] = setting(
        "`notice` is what bots say: most clients do not notify anybody of it", default="text"
    )


@dataclass(frozen=True)
class MatrixFields:
    room: str | None = setting("id or alias of the room; the user must be in it", default=None)


@dataclass
class _Sending:
    """One attempt in one room."""

    room: str
    job: Job
    thread: str | None
    """The event that began the thread."""
    known: dict[str, str] | None = field(default=None)
    """Events of earlier attempts by transaction, where they had to be looked for."""


class Matrix(Integration):
    """A message is the item, answers in its thread are the comments. The reference is room and event."""

    kind = "matrix"
    summary = "Says it in a Matrix room; later mail of the conversation is said in the thread of the first."
    guarantee = Guarantee.NATIVE_KEY
    example = 'kind: matrix\nurl: https://matrix.example.com\ntoken: "${MATRIX_TOKEN}"\nroom: "#ops:example.com"\n'
    Options = MatrixOptions
    Fields = MatrixFields

    def __init__(self, name: str, options: MatrixOptions, *, http: Http, data_dir: Path) -> None:
        super().__init__(name, options, http=http, data_dir=data_dir)
        self._url = options.url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {options.token}"}
        self._rooms = Remembered(_KEEP_ROOMS)
        if options.room is not None and not re.match(r"[!#].", options.room):
            raise ValueError(
                f"room: '{options.room}' is neither an id (!abc:example.com) nor an alias (#a:example.com)"
            )

    @classmethod
    def markup(cls, options: MatrixOptions) -> Markup:
        return Markup.MARKDOWN

    def deliver(self, job: Job) -> Receipt:
        room, thread = self._place(job)
        sending = _Sending(room, job, thread)
        media = self._uploads(job)
        images = {
            each.info.content_id: uri
            for each, uri in zip(job.attachments, media, strict=True)
            if not uri.startswith(_REFUSED) and _stands_in(job.content.body, each)
        }
        notes = [
            not_taken(each.info.name, each.info.size, uri.removeprefix(_REFUSED))
            for each, uri in zip(job.attachments, media, strict=True)
            if uri.startswith(_REFUSED)
        ]
        made = job.once(job.part, lambda: self._event(sending, job.part, message(job, self.options, images, notes)))
        root = sending.thread = made if thread is None else thread
        for position, (attachment, uri) in enumerate(zip(job.attachments, media, strict=True)):
            if not uri.startswith(_REFUSED) and attachment.info.content_id not in images:
                step, content = f"attachment:{position}", file_message(attachment, uri)
                job.once(step, functools.partial(self._event, sending, step, content))
        return _receipt(room, root)

    def check(self) -> Sequence[str]:
        """As whom, and whether that user is in the room of the destination."""
        user = self._get("/_matrix/client/v3/account/whoami").get("user_id")
        found = [f"known as {user}"]
        if self.options.room:
            room = self._room(self.options.room)
            joined = self._get("/_matrix/client/v3/joined_rooms").get("joined_rooms")
            if not isinstance(joined, list) or room not in joined:
                return [*found, f"{user} is not in the room '{self.options.room}': it must be invited and join"]
            found.append(f"is in the room '{self.options.room}'")
            state = f"{self._url}/_matrix/client/v3/rooms/{quote(room, safe='')}/state/m.room.encryption"
            if self.http.get(state, headers=self._headers, expect=_SORTED).status == 200:
                found.append("the room is encrypted; what Postroom says there is not")
        return found

    def _place(self, job: Job) -> tuple[str, str | None]:
        if job.item is not None:
            room, event = split(job.item)
            return room, event
        wanted = job.content.fields.get("room") or self.options.room
        if not wanted:
            raise DeliveryError("neither the rule nor the destination names a room", permanent=True)
        return self._room(str(wanted)), None

    def _room(self, name: str) -> str:
        """The id of a room."""
        if not name.startswith("#"):
            return name

        def look() -> str:
            found = self._get(f"/_matrix/client/v3/directory/room/{quote(name, safe='')}").get("room_id")
            if not isinstance(found, str):
                raise DeliveryError(f"the homeserver's answer names no room for '{name}'")
            return found

        return self._rooms.get(name, look)

    def _uploads(self, job: Job) -> list[str]:
        """The address of each attachment, or why it was refused. What lies there unused harms nobody."""
        media = []
        for position, attachment in enumerate(job.attachments):
            try:
                media.append(job.once(f"media:{position}", functools.partial(self._upload, attachment)))
            except DeliveryError as error:
                error.unknown = False
                raise
        return media

    def _upload(self, attachment: JobAttachment) -> str:
        info = attachment.info
        answer = self.http.post(
            self._url + "/_matrix/media/v3/upload",
            params={"filename": info.name},
            data=attachment.chunks(),
            size=info.size,
            headers={**self._headers, "Content-Type": plain_type(info.content_type)},
            expect=_SORTED,
        )
        if answer.status in (403, 413):
            return _REFUSED + ("it is too large" if answer.status == 413 else _said(answer))
        uri = _checked(answer, "the upload").get("content_uri")
        if not isinstance(uri, str) or not uri.startswith("mxc://"):
            raise answer.error("the homeserver's answer to an upload names no address")
        return uri

    def _event(self, sending: _Sending, step: str, content: dict[str, Any]) -> str:
        """Sends one event of the attempt; its id."""
        transaction = f"{sending.job.marker}-{step.replace(':', '-')}"
        earlier = self._earlier(sending).get(transaction)
        if earlier is not None:
            return earlier
        if sending.thread is not None:
            content = content | {"m.relates_to": in_thread(sending.thread)}
        send = f"{self._url}/_matrix/client/v3/rooms/{quote(sending.room, safe='')}/send/m.room.message"
        answer = self.http.put(
            f"{send}/{transaction}", json=content | {KEY: transaction}, headers=self._headers, expect=_SORTED
        )
        event = _checked(answer, "the message").get("event_id")
        if not isinstance(event, str) or not event.startswith("$"):
            raise answer.error("the homeserver's answer names no event", unknown=True)
        return event

    def _earlier(self, sending: _Sending) -> dict[str, str]:
        """What earlier attempts sent, where the homeserver may have forgotten their transactions."""
        if sending.known is None:
            since = sending.job.message.received_at
            sending.known = {}
            if sending.job.uncertain and time.time() - since / 1000 > _REMEMBERED:
                sending.known = self._said_since(sending.room, since)
        return sending.known

    def _said_since(self, room: str, since: int) -> dict[str, str]:
        path = f"/_matrix/client/v3/rooms/{quote(room, safe='')}/messages"
        user = self._get("/_matrix/client/v3/account/whoami").get("user_id")
        only = json.dumps({"types": ["m.room.message"], "senders": [user]})  # what others say proves nothing
        parameters: dict[str, str | int] = {"dir": "b", "limit": 100, "filter": only}
        found: dict[str, str] = {}
        for _ in range(_PAGES):
            page = self._get(path, parameters)
            chunk = page.get("chunk")
            chunk = chunk if isinstance(chunk, list) else []
            for event in chunk:
                content = event.get("content") if isinstance(event, dict) else None
                if isinstance(content, dict) and isinstance(content.get(KEY), str):
                    found[content[KEY]] = str(event.get("event_id"))
            if not isinstance(page.get("end"), str) or (chunk and _time(chunk) < since):
                break
            parameters["from"] = page["end"]
        return found

    def _get(self, path: str, params: dict[str, str | int] | None = None) -> dict[str, Any]:
        try:
            answer = self.http.get(self._url + path, params=params, headers=self._headers, expect=_SORTED)
            return _checked(answer, "the question")
        except DeliveryError as error:
            error.unknown = False
            raise


def message(job: Job, options: MatrixOptions, images: dict[str, str], notes: Sequence[str]) -> dict[str, Any]:
    """The content of the event that says the mail: with `m.mentions` empty, no name in it alarms anybody.

    https://spec.matrix.org/latest/client-server-api/#mroommessage-msgtypes
    """
    from postroom.markdown import html, text

    title = f"**{escape(Markup.MARKDOWN, title_of(job, _TITLE))}**\n\n" if job.item is None else ""
    told = [*notes, *([_STATES[job.content.state]] if job.content.state in _STATES else [])]
    for limit in (None, 14_000, 7_000, 3_500):
        body = title + compose(
            job, Markup.MARKDOWN, title_limit=_TITLE, images=_kept(images), notes=told, marker="", limit=limit
        )
        content = {
            "msgtype": f"m.{options.msgtype}",
            "body": text.convert(body),
            "format": "org.matrix.custom.html",
            "formatted_body": html.convert(body, images=images),
            "m.mentions": {},
        }
        if len(json.dumps(content, ensure_ascii=False).encode()) <= EVENT_LIMIT:
            break
    return content


def file_message(attachment: JobAttachment, uri: str) -> dict[str, Any]:
    """The content of the event that shows a file."""
    info = attachment.info
    kind = plain_type(info.content_type)
    return {
        "msgtype": _TYPES.get(kind.partition("/")[0], "m.file"),
        "body": info.name,
        "filename": info.name,
        "url": uri,
        "info": {"mimetype": kind, "size": info.size},
        "m.mentions": {},
    }


def in_thread(event: str) -> dict[str, Any]:
    """The relation of an answer in a thread; clients that know no threads show it as a reply."""
    return {"rel_type": "m.thread", "event_id": event, "is_falling_back": True, "m.in_reply_to": {"event_id": event}}


def split(item: Receipt) -> tuple[str, str]:
    """Room and event of a reference."""
    room, _, event = (item.reference or "").partition("/$")
    if not room.startswith("!") or not event:
        raise DeliveryError(f"the item '{item.reference}' is no message of Matrix", permanent=True)
    return room, f"${event}"


def plain_type(content_type: str) -> str:
    """A content type of a mail that may stand in a header."""
    plain = re.fullmatch(r"[\w.+-]{1,100}/[\w.+-]{1,100}", content_type, re.ASCII)
    return content_type if plain else "application/octet-stream"


def _receipt(room: str, event: str) -> Receipt:
    server = room.partition(":")[2]
    via = f"?via={quote(server, safe='')}" if server else ""
    return Receipt(f"{room}/{event}", f"https://matrix.to/#/{quote(room, safe='!')}/{quote(event, safe='')}{via}")


def _stands_in(body: str, attachment: JobAttachment) -> bool:
    """Whether the text shows an image in its place."""
    name = attachment.info.content_id
    return bool(name) and place_images(body, {name: "mxc://a/b"}) != place_images(body, {})


def _kept(images: dict[str, str]) -> dict[str, str]:
    """Images that `compose` leaves where they are, for the HTML to place."""
    return {name: f"cid:{quote(name, safe='')}" for name in images}


def _checked(answer: Answer, what: str) -> dict[str, Any]:
    """The answer's document. Raises DeliveryError, sorted, where it is no success."""
    if answer.status == 429:
        raise answer.error(f"{answer.host} asks for fewer requests", retry_after=_wish(answer), limited=True)
    if answer.status != 200:
        raise answer.error(f"Matrix refused {what}: {_said(answer)}", permanent=True)
    document = answer.json()
    if not isinstance(document, dict):
        raise answer.error(f"{answer.host} answered no object", unknown=True)
    return document


def _wish(answer: Answer) -> float | None:
    """Seconds to wait: of the header, or as homeservers before 1.10 tell it."""
    try:
        wish = answer.json().get("retry_after_ms")
    except (DeliveryError, AttributeError):
        wish = None
    told = float(wish) / 1000 if isinstance(wish, int | float) and wish >= 0 else None
    header = retry_after(answer.headers.get("Retry-After"))
    known = [each for each in (told, header) if each is not None]
    return min(max(known), LONGEST_RETRY_AFTER) if known else None


def _said(answer: Answer) -> str:
    """The homeserver's own code and sentence: {"errcode": "M_FORBIDDEN", "error": "..."}."""
    try:
        document = answer.json()
        return f"{document['errcode']}: {document.get('error') or 'no reason given'}"
    except (DeliveryError, KeyError, TypeError, AttributeError):
        return f"{answer.status}, no reason given"


def _time(chunk: list[Any]) -> float:
    """When the last event of a page was sent, in milliseconds since 1970."""
    last = chunk[-1].get("origin_server_ts") if isinstance(chunk[-1], dict) else None
    return float(last) if isinstance(last, int) else 0.0
