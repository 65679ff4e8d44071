"""Memory of all processes together: idle, with 16 documents of 5 MB at once, with one mail of 50 MB, afterwards."""

from __future__ import annotations

import base64
import http.client
import json
import random
import threading
import time

from bench.instances import SECRET, Running, postroom
from bench.load import document

RULES = "rules:\n  - {name: all, when: always, then: [archive]}"


def main() -> None:
    with postroom(RULES, "  archive: {kind: file, path: archive.jsonl}") as whole:
        time.sleep(1)
        idle = _total(whole)
        _show("idle", whole, idle, "< 130")
        peak = _peak_during(whole, lambda: _at_once(whole.port, 16, 5_000_000))
        _show("16 mails of 5 MB at once", whole, peak, "< 350")
        peak = _peak_during(whole, lambda: _at_once(whole.port, 1, 50_000_000))
        _show("one mail of 50 MB", whole, peak, "< 450")
        time.sleep(3)
        after = _total(whole)
        _show("afterwards", whole, after, f"idle + {after - idle:.0f}, < 60")


def _at_once(port: int, count: int, size: int) -> None:
    rng = random.Random(size)
    content = base64.b64encode(rng.randbytes(size)).decode()
    statuses: list[int] = []

    def post(number: int) -> None:
        made = json.loads(document(SECRET, 3000, rng).replace(b"@@ID@@", b"%d.%d" % (size, number)))
        made["Message"]["Attachments"] = [
            {"Name": "a.bin", "ContentType": "application/octet-stream", "Content": content}
        ]
        body = json.dumps(made).encode()
        for _ in range(200):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            connection.request("POST", "/inbound/socketlabs", body=body, headers={"Content-Type": "application/json"})
            status = connection.getresponse().status
            connection.close()
            if status != 503:
                break
            # More than may be in memory at once: as the provider, send it again.
            time.sleep(0.05)
        statuses.append(status)

    threads = [threading.Thread(target=post, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if statuses != [200] * count:
        raise RuntimeError(f"not all were accepted: {statuses}")


def _peak_during(whole: Running, work: object) -> float:
    peak = 0.0
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.01):
            peak = max(peak, _total(whole))

    watcher = threading.Thread(target=watch)
    watcher.start()
    work()  # type: ignore[operator]
    done.set()
    watcher.join()
    return peak


def _total(whole: Running) -> float:
    return sum(whole.memory().values())


def _show(label: str, whole: Running, total: float, target: str) -> None:
    parts = ", ".join(f"{name} {size:.0f}" for name, size in whole.memory().items())
    print(f"memory, {label:26} {total:6.0f} MB (target {target}); now {parts}")
