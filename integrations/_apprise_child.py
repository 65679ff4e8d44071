"""Sends one notification by the package `apprise`: integrations/apprise.py starts it by its path, as a process.

It reads one JSON document from standard input, so that no secret stands in its arguments or environment, and writes one
to standard output: whether the service took it, and what apprise logged. It limits itself before it imports anything.
"""

from __future__ import annotations

import json
import logging
import mimetypes
import os
import resource
import signal
import sys
from typing import Any

_MEMORY = 512 << 20
"""Bytes of data; some services hold an attachment several times."""
_WRITTEN = 64 << 20
_LINES = 10
_LINE = 400


class _Lines(logging.Handler):
    """The last lines of warnings and errors."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = " ".join(record.getMessage().split())[:_LINE]
        if line not in self.lines:
            self.lines = [*self.lines, line][-_LINES:]


def main() -> None:
    # What a service prints must not get between the lines of the answer.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    _limit(int(request["seconds"]))
    log = _Lines()
    try:
        result = _send(request, log)
    except Exception as error:  # someone else's code: whatever it raises is told
        log.lines.append(f"{type(error).__name__}: {error}"[:_LINE])
        result = {"known": True, "sent": False}
    answer.write(json.dumps({**result, "log": log.lines}))
    answer.close()


def _limit(seconds: int) -> None:
    """The parent ends this process in time; where the parent is dead, the alarm does."""
    signal.alarm(seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_WRITTEN, _WRITTEN))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _send(request: dict[str, Any], log: _Lines) -> dict[str, Any]:
    import apprise
    from apprise.attachment.file import AttachFile

    logger = logging.getLogger("apprise")
    logger.addHandler(log)
    logger.propagate = False
    asset = apprise.AppriseAsset(app_id="Postroom", app_desc="Postroom", app_url="", service_timeout=0)
    asset.http_redirects = False
    service = apprise.Apprise.instantiate(request["url"], asset=asset)
    if service is None:
        return {"known": False, "sent": False}
    known = {"known": True, "service": str(service.service_name), "takes_files": bool(service.attachment_support)}
    if request.get("only_check"):
        return {**known, "sent": False}
    files = [_attachment(AttachFile, each, asset) for each in request["files"]]
    bodies = request["bodies"]["with files" if service.attachment_support else "without files"]
    # Apprise makes no plain text of Markdown, and HTML in a way of its own: each service gets its format from us.
    wanted = str(getattr(service.resolve_format("markdown"), "value", "text"))
    form = wanted if wanted in bodies else "text"
    title = request["title"]
    if form == "markdown" and service.title_maxlen <= 0:
        title = request["markdown_title"]  # it becomes a part of the body
    elif form == "html" and service.title_maxlen <= 0:
        title = request["html_title"]
    sender = apprise.Apprise(asset=asset)
    sender.add(service)
    sent = sender.notify(
        body=bodies[form],
        title=title,
        notify_type=request["notify_type"],
        body_format=form,
        attach=files if files and service.attachment_support else None,
    )
    return {**known, "sent": bool(sent)}


def _attachment(kind: Any, file: dict[str, Any], asset: Any) -> Any:
    """An open file as apprise takes it: it refuses types that Python does not know, and then goes by the name."""
    known = file["content_type"] in mimetypes.types_map.values()
    mimetype = file["content_type"] if known else None
    return kind(f"/proc/self/fd/{file['fd']}", name=file["name"], mimetype=mimetype, asset=asset)


if __name__ == "__main__":
    main()
