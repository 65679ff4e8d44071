"""The text of an item or a comment: body, notes, footer and marker, the same way at every destination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from postroom.integration import Job
from postroom.mail.images import place_images, place_textile_images
from postroom.mail.targets import Markup, escape

__all__ = ["NO_TITLE", "compose", "names_of_attachments", "not_taken", "place_images", "title_of"]

NO_TITLE = "(no subject)"


def title_of(job: Job, limit: int, *, least: int = 0) -> str:
    """The title as one line of at most `limit` characters; a longer one ends in an ellipsis.

    Forums refuse titles of fewer than `least` characters, and those without a letter or digit: the day of the mail,
    which tells nothing of its sender, is added to such a one.
    """
    title = " ".join(job.content.title.split()) or NO_TITLE
    if len(title) < least or (least and not any(each.isalnum() for each in title)):
        day = datetime.fromtimestamp(job.message.received_at / 1000, UTC).date()
        title = f"{title} (mail of {day.isoformat()})"
    return title if len(title) <= limit else title[: limit - 1].rstrip() + "…"


def compose(
    job: Job,
    markup: Markup,
    *,
    title_limit: int | None = None,
    images: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    marker: str | None = None,
    limit: int | None = None,
) -> str:
    """The text in the destination's markup, each part set apart by an empty line.

    `title_limit`: a title that `title_of` had to cut stands whole at the beginning, where it opens an item. `images`:
    addresses at the destination by Content-ID; an image without one is told by its words. `notes` are plain
    sentences, such as what became of an attachment. `marker` (already in the markup) stands last: by default
    `job.marker`; empty: none. `limit`, in characters: of a longer text the body is cut, and a line in its place leads
    to the whole; the marker stays.
    """
    before: list[str] = []
    if title_limit is not None and job.item is None:
        whole = " ".join(job.content.title.split())
        if len(whole) > title_limit:
            before.append(escape(markup, whole))
    body = job.content.body
    if markup is Markup.MARKDOWN:
        body = place_images(body, images or {})
    elif markup is Markup.TEXTILE:
        body = place_textile_images(body, images or {})
    after = [*(escape(markup, note) for note in notes), job.content.footer]
    end = job.marker if marker is None else marker
    text = _joined([*before, body, *after, end])
    if limit is None or len(text) <= limit:
        return text
    rest = escape(markup, f"The text was too long; the whole of it is on the page of this mail: {job.message_url}")
    room = limit - len(_joined([*before, rest, *after, end])) - 2
    if room > 0:
        return _joined([*before, _cut(body, room), rest, *after, end])
    # What stands around the body is too long by itself.
    return _joined([_cut(_joined([*before, *after]), limit - len(rest) - len(end) - 4), rest, end])


def _joined(parts: Sequence[str]) -> str:
    return "\n\n".join(part.strip("\r\n") for part in parts if part.strip())


def _cut(text: str, length: int) -> str:
    """The beginning of a text, up to a blank where one is near: links and escapes have none inside and stay whole."""
    head = text[:length]
    if len(head) < len(text) and not text[length].isspace():
        blank = max(head.rfind(" "), head.rfind("\n"))
        head = head[:blank] if blank > max(0, length - 2_000) else head
    return head.rstrip()


def names_of_attachments(job: Job) -> list[str]:
    """A sentence on each attachment, for a destination that takes no files: people find them on the mail's page."""
    return [
        f"Attachment: {each.info.name} ({each.info.size} bytes), on the page of this mail: {job.message_url}"
        for each in job.attachments
    ]


def not_taken(name: str, size: int, why: str) -> str:
    """The note on an attachment that the destination refused for good."""
    return f"Attachment not taken: {name} ({size} bytes): {why}"
