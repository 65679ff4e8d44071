"""The kind `apprise` against real servers of MQTT and IRC."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from postroom.exchange import DeliveryError
from postroom.fields import Secret
from postroom.integration import Markup, Receipt, escape
from tests.integration.chat_servers import IrcClient, running
from tests.kinds import attachment, build, job
from tests.servers import closed_port

TIMEOUT = 60.0


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running("mosquitto", tmp_path_factory.mktemp("chats")) as port:
        yield port


@pytest.fixture(scope="module")
def ngircd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running("ngircd", tmp_path_factory.mktemp("chats")) as port:
        yield port


@pytest.fixture
def published(mosquitto: int) -> Iterator[queue.Queue[str]]:
    """What is published under `mail/`, as a subscriber gets it."""
    arrived: queue.Queue[str] = queue.Queue()
    ready: queue.Queue[bool] = queue.Queue()
    client = mqtt.Client(CallbackAPIVersion.VERSION2)
    client.on_message = lambda client, data, message: arrived.put(message.payload.decode())
    client.on_subscribe = lambda *args: ready.put(True)
    client.connect("127.0.0.1", mosquitto)
    client.subscribe("mail/#", qos=1)
    client.loop_start()
    ready.get(timeout=30)
    yield arrived
    client.disconnect()
    client.loop_stop()


def test_a_subscriber_gets_it(mosquitto: int, published: queue.Queue[str], tmp_path: Path) -> None:
    chat = build("apprise", tmp_path, timeout=TIMEOUT, url=[Secret(f"mqtt://127.0.0.1:{mosquitto}/mail/in?qos=1")])
    assert "MQTT" in chat.check()[0]
    text = "It *burns* at a_b_c:\n  <here> & there ✓ https://x.example/?a=b&c"
    delivery = job(attachment(), body=escape(Markup.MARKDOWN, text))
    assert chat.deliver(delivery) == Receipt()
    arrived = published.get(timeout=30)
    assert arrived.startswith("Printer on fire")
    for line in ("It *burns* at a_b_c:", "<here> & there ✓ https://x.example/?a=b&c", "a footer"):
        assert line in arrived
    assert "\\" not in arrived and "&lt;" not in arrived and "&nbsp;" not in arrived
    assert f"Attachment: a.txt (5 bytes), on the page of this mail: {delivery.message_url}" in arrived
    assert published.empty()


def test_the_channel_sees_it(ngircd: int, tmp_path: Path) -> None:
    reader = IrcClient(ngircd, "#ops")
    try:
        url = f"irc://postroom@127.0.0.1:{ngircd}/%23ops"
        build("apprise", tmp_path, timeout=TIMEOUT, url=[Secret(url)], format="text").deliver(job(body="It burns ✓"))
        assert reader.wait_for("It burns ✓").startswith("#ops ")
    finally:
        reader.close()


def test_nobody_at_the_port(mosquitto: int, published: queue.Queue[str], tmp_path: Path) -> None:
    """The error says what apprise logged; the service that took it gets it no second time."""
    wrong = f"mqtt://user:pa55-word@127.0.0.1:{closed_port()}/mail"
    urls = [Secret(f"mqtt://127.0.0.1:{mosquitto}/mail?qos=1"), Secret(wrong)]
    chat = build("apprise", tmp_path, timeout=TIMEOUT, url=urls)
    steps: dict[str, str] = {}
    for _ in range(2):
        with pytest.raises(DeliveryError, match="MQTT Connection Error") as caught:
            chat.deliver(job(steps=steps, record=steps.__setitem__))
        assert not caught.value.permanent and not caught.value.unknown
        assert "pa55-word" not in caught.value.reason
    assert published.get(timeout=30).startswith("Printer on fire") and published.empty()
