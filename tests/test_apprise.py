"""The kind `apprise`: what its process gets, answers, and may not do. Real services are in tests/integration."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from integrations import apprise as kind
from integrations.apprise import secret_parts
from postroom.exchange import DeliveryError
from postroom.fields import Secret
from postroom.integration import Integration, Markup, Receipt, escape
from tests.kinds import SECRET, attachment, build, job
from tests.servers import Receiver, Reply

CHILD = """
import json, os, resource, sys
document = json.load(sys.stdin)
seen = {
    "arguments": sys.argv, "environment": dict(os.environ), "folder": os.getcwd(), "path": sys.path,
    "files": [open(f"/proc/self/fd/{each['fd']}", "rb").read().decode() for each in document.get("files", ())],
    "document": document,
}
open(%r, "w").write(json.dumps(seen))
print(json.dumps({"known": True, "sent": True, "log": []}))
"""


@pytest.fixture
def service() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def address(service: Receiver, scheme: str = "json", path: str = "take") -> str:
    user = f"postroom:{quote(SECRET, safe='')}"
    return f"{scheme}://{user}@{service.url.removeprefix('http://')}/{path}"


def chat(folder: Path, *urls: str, timeout: float = 30, **options: Any) -> Integration:
    return build("apprise", folder, timeout=timeout, url=[Secret(url) for url in urls], **options)


def failure(destination: Integration, **options: Any) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        destination.deliver(job(**options))
    return caught.value


def test_title_body_and_files_arrive(service: Receiver, tmp_path: Path) -> None:
    files = (
        attachment("bild ü?name=x.png", bytes(range(256)), "image/png"),
        attachment("b.txt", b"", "application/x-odd"),
    )
    assert chat(tmp_path, address(service)).deliver(job(*files, notify_type="failure")) == Receipt()
    (request,) = service.requests
    sent = request.json()
    assert (sent["title"], sent["message"], sent["type"]) == ("Printer on fire", "It burns.\n\na footer", "failure")
    assert [each["filename"] for each in sent["attachments"]] == ["bild ü?name=x.png", "b.txt"]
    assert [each["mimetype"] for each in sent["attachments"]] == ["image/png", "text/plain"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "query", "shown"),
    [
        ({}, "", "a\\_b &lt;b&gt; @\u200beveryone"),
        ({}, "?format=html", "<p>a_b &lt;b&gt; @\u200beveryone</p>"),
        ({}, "?format=text", "a_b <b> @\u200beveryone"),
        ({"format": "text"}, "?format=text", "a_b <b> @everyone"),
        ({"format": "text"}, "?format=html", "a_b&nbsp;&lt;b&gt;&nbsp;@everyone"),
    ],
)
def test_each_service_gets_its_format(
    service: Receiver, tmp_path: Path, options: dict[str, Any], query: str, shown: str
) -> None:
    body = "a_b <b> @everyone"
    body = body if options.get("format") == "text" else escape(Markup.MARKDOWN, body)
    chat(tmp_path, address(service) + query, **options).deliver(job(body=body))
    assert service.requests[0].json()["message"].startswith(shown)


def test_attachments_beyond_the_limit_are_named(service: Receiver, tmp_path: Path) -> None:
    files = attachment("large.bin", bytes(2000)), attachment("fine.txt")
    chat(tmp_path, address(service), attachments_limit=1000).deliver(job(*files))
    sent = service.requests[0].json()
    assert [each["filename"] for each in sent["attachments"]] == ["fine.txt"]
    assert "Attachment not taken: large.bin (2000 bytes)" in sent["message"]


def test_a_refusal_tells_what_was_logged(service: Receiver, tmp_path: Path) -> None:
    service.answer = Reply(403)
    error = failure(chat(tmp_path, address(service)))
    assert "error=403" in error.reason and not error.permanent and not error.unknown


def test_an_url_that_apprise_does_not_know(tmp_path: Path) -> None:
    error = failure(chat(tmp_path, f"nosuch://{quote(SECRET, safe='')}/x"))
    assert error.permanent and "does not take the URL" in error.reason
    with pytest.raises(ValueError, match="begins with the name of a service") as caught:
        chat(tmp_path, SECRET)
    assert SECRET not in str(caught.value)


def test_one_that_took_it_is_not_asked_again(service: Receiver, tmp_path: Path) -> None:
    service.answer = lambda request: Reply(500 if request.path == "/bad" else 200)
    steps: dict[str, str] = {}
    destination = chat(tmp_path, address(service), address(service, path="bad"), address(service, path="third"))
    failure(destination, steps=steps, record=steps.__setitem__)
    service.answer = None
    destination.deliver(job(steps=steps, record=steps.__setitem__))
    assert [request.path for request in service.requests] == ["/take", "/bad", "/bad", "/third"]


def test_too_slow_is_unknown_and_ends_all_that_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script, pids = tmp_path / "child.py", tmp_path / "pids"
    script.write_text(
        "import os, subprocess, time\n"
        "other = subprocess.Popen(['sleep', '1000'])\n"
        f"open({str(pids) + '~'!r}, 'w').write(f'{{os.getpid()}} {{other.pid}}')\n"
        f"os.rename({str(pids) + '~'!r}, {str(pids)!r})\n"
        "time.sleep(1000)\n"
    )
    monkeypatch.setattr(kind, "_CHILD", script)
    error = failure(chat(tmp_path, "json://host.example", timeout=5))
    assert error.unknown and "within 5 s" in error.reason
    for pid in map(int, pids.read_text().split()):
        while _lives(pid):  # the pytest time-out says if it does not end
            time.sleep(0.02)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_process_knows_nothing_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script, seen_file = tmp_path / "child.py", tmp_path / "seen.json"
    script.write_text(CHILD % str(seen_file))
    monkeypatch.setattr(kind, "_CHILD", script)
    monkeypatch.setenv("POSTROOM_SECRET", SECRET)
    monkeypatch.setenv("https_proxy", "http://proxy.example:1")
    url = f"json://u:{SECRET}@host.example"
    chat(tmp_path, url).deliver(job(attachment()))
    seen = json.loads(seen_file.read_text())
    assert seen["document"]["url"] == url and seen["files"] == ["hello"]
    assert set(seen["environment"]) <= {"PATH", "LANG", "HOME", "TMPDIR", "LC_CTYPE"}
    assert SECRET not in json.dumps([seen["arguments"], seen["environment"]])
    assert str(tmp_path) not in seen["path"] and not Path(seen["folder"]).exists()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("import sys; sys.exit(3)", "ended with 3"),
        ("print('no json')", "ended with 0"),
        ("print('[]')", "ended with 0"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ended with -9"),
    ],
)
def test_a_process_that_ends_badly_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    (tmp_path / "child.py").write_text(script)
    monkeypatch.setattr(kind, "_CHILD", tmp_path / "child.py")
    error = failure(chat(tmp_path, "json://host.example"))
    assert words in error.reason and error.unknown and not error.permanent


@pytest.mark.parametrize(
    "script", ["bytearray(1 << 30)", "while True: pass", "open('x', 'wb').write(bytes(80_000_000))"]
)
def test_its_limits_hold(tmp_path: Path, script: str) -> None:
    program = f"import sys; sys.path.insert(0, {str(kind._CHILD.parent)!r})\n"
    program += f"import _apprise_child as child\nchild._limit(2)\n{script}\n"
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, check=False, capture_output=True, timeout=60, env={}
    )
    assert done.returncode != 0 and time.monotonic() - started < 30


def test_no_part_of_the_url_is_shown(service: Receiver, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    destination = chat(tmp_path, f"json://{quote(SECRET, safe='')}:hunter2-pw@localhost:1/t0kenpart/")
    error = failure(destination)
    shown = [error.reason, error.answer, repr(error), repr(destination), repr(destination.options), caplog.text]
    for secret in (SECRET, quote(SECRET, safe=""), "hunter2-pw", "t0kenpart"):
        assert not any(secret in text for text in shown)


@pytest.mark.parametrize(
    ("url", "secret", "shown"),
    [
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnl/#general", {"T1JJ3T3L2", "A1BRTD4JD", "TIiajkdnl"}, set()),
        ("tgram://123456789:abcdefg_hijk/12315544/", {"123456789", "abcdefg_hijk", "12315544"}, set()),
        ("mailtos://me:pa%23ss@mail.example.com:587?pass=w0rd", {"pa#ss", "w0rd"}, {"mail.example.com", "587"}),
        ("ntfys://user:12345@ntfy.example.com/topic", {"12345", "user"}, {"ntfy.example.com"}),
        ("discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js?format=markdown", {"JHMHI8qBe7bk2ZwO5U711o3dV_js"}, set()),
    ],
)  # fmt: skip
def test_parts_that_may_be_secret(url: str, secret: set[str], shown: set[str]) -> None:
    parts = secret_parts(url)
    assert parts >= secret and url in parts and not parts & shown


def test_check_sends_nothing(service: Receiver, tmp_path: Path) -> None:
    found = chat(tmp_path, address(service), "irc://irc.example.com/%23ops").check()
    assert found == [
        "apprise knows the URL as one of JSON; nothing was sent",
        "apprise knows the URL as one of IRC, which takes no files; nothing was sent",
    ]
    with pytest.raises(DeliveryError, match="does not take the URL"):
        chat(tmp_path, "nosuch://x").check()
    assert not service.requests


def test_importing_the_kind_does_not_import_the_package() -> None:
    program = "import sys, integrations.apprise, integrations._apprise_child\nprint('apprise' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, env=os.environ)
    assert done.stdout.strip() == "False"
