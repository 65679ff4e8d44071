"""Kind `apprise`: a notification by one of the hundred services that the package `apprise` knows.

https://appriseit.com lists the services and their URLs. The package has its own ways to the network, which follow none
of Postroom's rules, and it says no more than whether a service took a message. So each notification is sent by a
process of its own (`_apprise_child.py`), which has little memory, little time, nothing of our environment, and ends
with the time-out of the destination.
"""

from __future__ import annotations

import contextlib
import functools
import html
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal
from urllib.parse import parse_qsl, unquote

from postroom.composition import NO_TITLE, compose, names_of_attachments, not_taken
from postroom.fields import Bytes, Secret
from postroom.integration import DeliveryError, Guarantee, Http, Integration, Job, Markup, Receipt, escape, setting
from postroom.message import Attachment

_CHILD = Path(__file__).with_name("_apprise_child.py")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.")
_HOST = re.compile(r"localhost|\d{1,3}(?:\.\d{1,3}){3}|[a-z0-9-]{1,40}(?:\.[a-z0-9-]{1,40}){0,6}\.[a-z]{2,20}")
_SHORTEST = 3
"""Characters of a part of a URL that is taken for a secret."""
_LONGEST_PORT = 5
_TITLE = 250
_GRACE = 5
"""Seconds by which the process outlives its time-out where nobody ends it."""
NotifyType = Literal["info", "success", "warning", "failure"]


@dataclass(frozen=True)
class AppriseOptions:
    url: list[Secret] = setting("the service's URL, as apprise writes it; several of them all get the notification")
    format: Literal["markdown", "text"] = setting(
        "`markdown`: the service gets Markdown, HTML or plain text, whichever it shows, and nothing of a mail acts "
        "there; `text`: plain text as it is",
        default="markdown",
    )
    notify_type: NotifyType = setting("type of notification where a rule names none", default="info")
    attachments_limit: Bytes = setting(
        "bytes of attachments in one notification; those beyond are named only", default=Bytes(10_000_000)
    )


@dataclass(frozen=True)
class AppriseFields:
    notify_type: NotifyType | None = setting(
        "`info`, `success`, `warning` or `failure`: its colour or icon", default=None
    )


class Apprise(Integration):
    """Sends to each URL once; one that took it is not sent to again when another fails."""

    kind = "apprise"
    summary = "Sends a notification to one of the many services of the package apprise: chats, phones, push."
    guarantee = Guarantee.NONE
    makes_items = False
    example = 'kind: apprise\nurl: "${APPRISE_URL}"\n'
    Options = AppriseOptions
    Fields = AppriseFields

    def __init__(self, name: str, options: AppriseOptions, *, http: Http, data_dir: Path) -> None:
        super().__init__(name, options, http=http, data_dir=data_dir)
        for url in options.url:
            if not _SCHEME.match(url):
                raise ValueError("url: an apprise URL begins with the name of a service, such as ntfys://")
        parts = {part for url in options.url for part in secret_parts(url)}
        self._masks = Http(timeout=1, secrets=parts, connections=1)

    @classmethod
    def markup(cls, options: AppriseOptions) -> Markup:
        return Markup.MARKDOWN if options.format == "markdown" else Markup.PLAIN

    def deliver(self, job: Job) -> Receipt:
        with contextlib.ExitStack() as stack:
            notes: list[str] = []
            files = self._files(job, stack, notes)
            request = self._request(job, notes) | {
                "files": [
                    {"fd": file.fileno(), "name": info.name, "content_type": info.content_type} for file, info in files
                ]
            }
            open_files = [file for file, _ in files]
            for position, url in enumerate(self.options.url):
                job.once(f"sent:{position}", functools.partial(self._send, request | {"url": url}, open_files))
        return Receipt()

    def check(self) -> Sequence[str]:
        """Apprise can only be asked whether it knows the URL: nothing proves the rest but a notification."""
        found = []
        for url in self.options.url:
            answer = self._run({"url": url, "only_check": True}, [])
            self._must_know(answer)
            takes = "" if answer.get("takes_files") else ", which takes no files"
            found.append(f"apprise knows the URL as one of {answer.get('service')}{takes}; nothing was sent")
        return found

    def _request(self, job: Job, notes: list[str]) -> dict[str, Any]:
        title = " ".join(job.content.title.split())[:_TITLE] or NO_TITLE
        return {
            "title": title,
            "markdown_title": escape(Markup.MARKDOWN, title),
            "html_title": html.escape(title),
            "notify_type": job.content.fields.get("notify_type") or self.options.notify_type,
            "bodies": {
                "with files": self._bodies(job, notes),
                "without files": self._bodies(job, names_of_attachments(job)),
            },
        }

    def _bodies(self, job: Job, notes: list[str]) -> dict[str, str]:
        """The text by the format that a service may want."""
        markup = self.markup(self.options)
        text = compose(job, markup, notes=notes, marker="")
        if markup is Markup.PLAIN:
            return {"text": text}
        from postroom.markdown import html as as_html
        from postroom.markdown import text as as_text

        return {"markdown": text, "html": as_html.convert(text), "text": as_text.convert(text)}

    def _files(self, job: Job, stack: contextlib.ExitStack, notes: list[str]) -> list[tuple[IO[bytes], Attachment]]:
        """The attachments as files without a name: whatever happens, nothing of them stays on the disk."""
        left = int(self.options.attachments_limit)
        files: list[tuple[IO[bytes], Attachment]] = []
        for attachment in job.attachments:
            info = attachment.info
            if info.size > left:
                notes.append(not_taken(info.name, info.size, f"it is on the page of this mail: {job.message_url}"))
                continue
            left -= info.size
            file = stack.enter_context(tempfile.TemporaryFile(dir=self.data_dir))  # noqa: SIM115
            for chunk in attachment.chunks():
                file.write(chunk)
            file.flush()
            files.append((file, info))
        return files

    def _send(self, request: dict[str, Any], files: list[IO[bytes]]) -> str:
        answer = self._run(request, files)
        self._must_know(answer)
        if answer.get("sent") is not True:
            raise DeliveryError(f"apprise could not send it: {self._said(answer)}")
        return "sent"

    def _must_know(self, answer: dict[str, Any]) -> None:
        if answer.get("known") is not True:
            raise DeliveryError(f"apprise does not take the URL: {self._said(answer)}", permanent=True)

    def _run(self, request: dict[str, Any], files: list[IO[bytes]]) -> dict[str, Any]:
        """What the process answers. Its result is unknown where it did not come to its end."""
        seconds = self.http.timeout
        document = json.dumps(request | {"seconds": int(seconds) + _GRACE})
        with tempfile.TemporaryDirectory(prefix="postroom-") as home:
            environment = {"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": home, "TMPDIR": home}
            try:
                process = subprocess.Popen(
                    # -I: neither this folder, where a module has the package's name, nor the environment counts.
                    [sys.executable, "-I", str(_CHILD)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env=environment,
                    cwd=home,
                    pass_fds=[file.fileno() for file in files],
                    start_new_session=True,
                )
            except OSError as error:
                raise DeliveryError(f"the process that runs apprise cannot be started: {error.strerror}") from None
            try:
                output, _ = process.communicate(document.encode(), timeout=seconds)
            except subprocess.TimeoutExpired:
                raise DeliveryError(f"the service did not take it within {seconds:g} s", unknown=True) from None
            finally:
                _end(process)
        try:
            answer = json.loads(output)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise DeliveryError(f"the process that runs apprise ended with {process.returncode}", unknown=True)
        return answer

    def _said(self, answer: dict[str, Any]) -> str:
        """What apprise logged, without any part of the URL that may be secret."""
        lines = answer.get("log")
        text = "; ".join(str(line) for line in lines) if isinstance(lines, list) else ""
        return self._masks.mask(self.http.mask(text)) or "it did not say why"


def secret_parts(url: str) -> set[str]:
    """All parts of an apprise URL that may be a password or token: of some services also what looks like the host."""
    place, _, query = url.partition("://")[2].partition("?")
    user, _, rest = place.rpartition("@")
    parts = re.split(r"[/:@#&,;]+", rest) + [value for _, value in parse_qsl(query)]
    open_ones = {part for part in parts if _HOST.fullmatch(part) or (part.isdigit() and len(part) <= _LONGEST_PORT)}
    secret = re.split(r"[:/@]+", user) + [part for part in parts if part not in open_ones]
    return {url, *(form for part in secret for form in (part, unquote(part)) if len(form) >= _SHORTEST)}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the process and all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
