"""Phones' messages end in labels: over HTTP push, over MQTT, and from a phone that is a WebSocket server."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from websockets.sync.server import ServerConnection, serve

from disc_stream.errors import ConfigError
from disc_stream.phones.run import PhoneService, PhoneSettings, phone_sender
from disc_stream.wire.broker import Broker
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink
from disc_stream_edge.phones.assembling import CHANNELS
from tests.integration.test_edge_outbox import Heard
from tests.support.broker import Mosquitto
from tests.support.device import LEFT, constant, make_batch
from tests.support.phones import FILES, golden, sensor_logger, six_axis_bundle, upright
from tests.support.qr import read_code

pytestmark = pytest.mark.broker

PUSHED = ["sensorlogger.jsonl", "sensorlogger-uncalibrated.jsonl", "phyphox.jsonl", "devicemotion-ios.jsonl"]
PUBLISHED = {
    "android/sensor/pixel": ("sensorspot.jsonl", "sensorspot-pixel"),
    "sensor-logger": ("sensorlogger.jsonl", "sensorlogger-3f9c1f0e-5d0b-4e0a-9a5b-0d6f2a6c9f11"),
    "phyphox/lab": ("phyphox.jsonl", "phyphox-lab"),
}
DEVICES = tuple(Path(file).stem for file in PUSHED)


class Phones:
    """A running ``disc-stream phone``, and what it told."""

    def __init__(self, service: PhoneService) -> None:
        self.service = service
        self.gateway = service.gateway
        self.by_device = {phone.device: phone for phone in self.gateway.phones}
        self.events: list[dict[str, object]] = []

    def await_event(
        self, wanted: Callable[[dict[str, object]], bool], timeout_s: float = 90.0
    ) -> dict[str, object]:
        deadline = time.monotonic() + timeout_s
        for event in self.events:
            if wanted(event):
                return event
        while time.monotonic() < deadline:
            event = self.service.next(0.5)
            if event is not None:
                self.events.append(event)
                if wanted(event):
                    return event
        raise AssertionError(f"not among {len(self.events)} events: {self.events[-3:]}")

    def label(self, device: str) -> dict[str, object]:
        return self.await_event(lambda event: event["event"] == "label" and event["device"] == device)

    def push(self, device: str, app: str, body: bytes) -> tuple[int, str]:
        return request(self.service.push_url(self.by_device[device], app), body)


def request(url: str, body: bytes | None = None, method: str = "POST") -> tuple[int, str]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        connection.request(method, parts.path, body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class SensorServer:
    """What the app SensorServer does: sends the golden messages to whoever connects."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.done = threading.Event()
        self._server = serve(self._send, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self._server.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _send(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.asked.append(connection.request.path)
        for message in golden("sensorserver.jsonl"):
            connection.send(message.decode())
        self.done.wait(120)

    def stop(self) -> None:
        self.done.set()
        self._server.shutdown()
        self._thread.join(10)


@pytest.fixture(scope="module")
def sensorserver() -> Iterator[SensorServer]:
    server = SensorServer()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    broker = Mosquitto(tmp_path_factory.mktemp("broker"))
    broker.start()
    yield broker
    broker.discard()


@pytest.fixture(scope="module")
def phones(
    tmp_path_factory: pytest.TempPathFactory, broker: Mosquitto, sensorserver: SensorServer
) -> Iterator[Phones]:
    folder = tmp_path_factory.mktemp("phones")
    six_axis_bundle(folder / "bundle")
    settings = PhoneSettings(
        devices=(*DEVICES, "wrong", "hostile"), broker=broker.url, port=0, push_port=0,
        sensorservers=(sensorserver.url,), folder=folder / "page",
        serve={"bundle": folder / "bundle", "state": folder / "state", "http": None,
               "device_messages_s": 1e6},
    )  # fmt: skip
    with PhoneService(settings) as service:
        yield Phones(service)


@pytest.mark.parametrize("file", PUSHED)
def test_golden_messages_that_are_pushed_end_in_labels(phones: Phones, file: str) -> None:
    app, device = FILES[file][0], Path(file).stem
    for message in golden(file):
        status, text = phones.push(device, app, message)
        assert status == 200, text
    assert phones.label(device)["name"] == "upright"
    assert phones.by_device[device].findings == ()
    assert phones.by_device[device].first_label_s is not None


@pytest.mark.parametrize("topic", PUBLISHED)
def test_golden_messages_that_are_published_end_in_labels(
    phones: Phones, broker: Mosquitto, topic: str
) -> None:
    file, device = PUBLISHED[topic]
    app = MqttLink(Broker.parse(broker.url), f"app-{device}")
    app.connect()
    try:
        for message in golden(file):
            app.publish(topic, message)
        assert app.flush(60)
    finally:
        app.close()
    phones.await_event(lambda event: event["event"] == "phone" and event["device"] == device)
    assert phones.label(device)["name"] == "upright"


def test_a_phone_that_is_a_websocket_server_ends_in_labels(
    phones: Phones, sensorserver: SensorServer
) -> None:
    assert phones.label("sensorserver-1")["name"] == "upright"
    assert "android.sensor.gyroscope" in sensorserver.asked[0]


def test_missing_gravity_is_told_in_the_app_on_the_terminal_and_on_the_problem_topic(
    phones: Phones, broker: Mosquitto
) -> None:
    told: list[bytes] = []
    came = threading.Event()

    def note(message: Message) -> None:
        if b"gravity-missing" in message.payload:
            told.append(message.payload)
            came.set()

    reader = MqttLink(Broker.parse(broker.url), "reader", LinkListener(on_message=note))
    reader.subscribe("ds/v1/wrong/problem")
    reader.connect()
    try:
        answers = []
        for number in range(150):
            times = [(number * 25 + i) / 50 for i in range(25)]
            entries = [(t, "accelerometer", (0.1, 0.2, 0.1)) for t in times]
            answers.append(phones.push("wrong", "sensorlogger", sensor_logger(entries, number)))
            if answers[-1][0] == 499:
                break
            if event := phones.service.next(0.1):  # checks are made twice a second
                phones.events.append(event)
        assert answers[-1][0] == 499
        assert "Turn on Gravity" in answers[-1][1]
        event = phones.await_event(lambda event: event["event"] == "problems" and event["device"] == "wrong")
        assert event["problems"][0]["code"] == "gravity-missing"  # type: ignore[index]
        assert came.wait(60)
        assert json.loads(told[-1])["schema"] == "disc-stream.problem/1"
        assert (
            phones.by_device["wrong"].labels == 0
        )  # acceleration without gravity is not labelled as if it had it
    finally:
        reader.close()


def test_hostile_requests_are_answered_and_change_nothing(phones: Phones) -> None:
    good = sensor_logger([(0.02 * i, "accelerometeruncalibrated", upright(0.02 * i)) for i in range(50)])
    url = phones.service.push_url(phones.by_device["hostile"], "sensorlogger")
    assert request(url.replace(phones.by_device["hostile"].token, "a" * 22), good)[0] == 404
    assert request(url.replace("sensorlogger", "nonsense"), good)[0] == 404
    assert request(url, b"\xff" * 100)[0] == 400
    assert request(url, b" " * 300_000)[0] == 413
    assert request(url, None, "DELETE")[0] == 405
    assert request(url, good)[0] == 200
    phone = phones.by_device["hostile"]
    assert phone.messages == 1
    over = threading.Event()
    flood = threading.Thread(target=lambda: [phone.admits(1_000) for _ in iter(over.is_set, True)])
    flood.start()
    try:
        deadline = time.monotonic() + 60
        while request(url, good)[0] != 429:
            assert time.monotonic() < deadline
    finally:
        over.set()
        flood.join()


def test_the_experiment_for_phyphox_posts_to_this_phones_address(phones: Phones) -> None:
    phone = phones.by_device[DEVICES[0]]
    status, text = request(phones.service.experiment_url(phone), method="GET")
    assert status == 200
    assert f'address="{phones.service.push_url(phone, "phyphox")}"' in text


def test_what_the_broker_has_not_confirmed_is_sent_by_the_next_start(tmp_path: Path) -> None:
    """The broker is away, the command ends, and starts again; the phone itself is gone by then."""
    (tmp_path / "broker").mkdir()
    broker = Mosquitto(tmp_path / "broker")
    settings = PhoneSettings(outbox=tmp_path / "outbox")
    sender = phone_sender(settings, Broker.parse(broker.url), "p")
    boot = sender.new_boot("p", 7)
    for seq in range(100):
        sender.put(make_batch("p", seq, constant(LEFT, 10), boot=boot, channels=CHANNELS["acc"]))
    sender.close()
    broker.start()
    heard = Heard(broker.url)
    again = phone_sender(settings, Broker.parse(broker.url), "p")
    try:
        assert "100 messages wait on disk" in again.trouble
        assert again.new_boot("p", 7) == 8
        again.start("p")
        assert [(b, seq) for b, seq, _ in heard.wait(100)] == [(7, seq) for seq in range(100)]
        again.put(make_batch("p", 0, constant(LEFT, 10), boot=8, channels=CHANNELS["acc"]))
        heard.wait(101)
    finally:
        again.close()
        heard.link.close()
        broker.discard()
    assert (again.trouble, again.dropped) == ("", 0)


def test_a_second_start_finds_the_server_and_starts_none(
    phones: Phones, broker: Mosquitto, tmp_path: Path
) -> None:
    settings = PhoneSettings(broker=broker.url, port=0, push_port=None, folder=tmp_path)
    with PhoneService(settings) as second:
        assert second.labels_page is None
        assert second.gateway.server_online.is_set()
        assert second.push_url(second.gateway.phones[0], "sensorlogger").startswith("https://")
    both = PhoneSettings(
        broker=broker.url, port=0, push_port=None, folder=tmp_path, serve={"bundle": tmp_path / "none"}
    )
    with pytest.raises(ConfigError, match="a server is there already"), PhoneService(both):
        pass


def test_the_command_shows_codes_and_says_what_it_found(
    broker: Mosquitto, phones: Phones, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "disc_stream", "phone", "--broker", broker.url, "--no-http"]
    command += ["--port", "0", "--push-port", "0", "--duration", "0", "--device", "anna", "--device", "ben"]
    where = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    done = subprocess.run(
        [*command, "--png", str(tmp_path)], env=where, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    codes = {device: read_code((tmp_path / f"{device}.png").read_bytes()) for device in ("anna", "ben")}
    for device, url in codes.items():
        assert f"{device}: {url}" in done.stdout
    assert len({url.split("/p/")[1] for url in codes.values()}) == 2
    assert read_code((tmp_path / "anna-phyphox.png").read_bytes()).startswith("phyphox://127.0.0.1:")
    assert "six at 50 Hz" in done.stdout
    assert "no phone can reach 127.0.0.1" in done.stdout
    told = subprocess.run([*command, "--json"], env=where, capture_output=True, text=True, check=True)
    ready, stopped = (json.loads(line) for line in told.stdout.splitlines())
    assert [one["device"] for one in ready["phones"]] == ["anna", "ben"]
    assert stopped == {"event": "stopped"}
    wrong = subprocess.run(
        [*command, "--bundle", "b"], env=where, capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 2
    assert "a server is there already" in wrong.stderr
    assert wrong.stderr.count("\n") == 1
