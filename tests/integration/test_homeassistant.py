"""Home Assistant on a real broker: devices, names, birth, erasure, a lost connection; labels go on."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from disc_stream.artifacts.bundle import Bundle
from disc_stream.cli.app import app
from disc_stream.registry import Author, Lineage, Registry, RowIds
from disc_stream.types import Label, SoftLabel
from disc_stream.wire.broker import Broker
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink
from disc_stream.wire.topics import Topics
from disc_stream_server.homeassistant.discovery import Discovery
from disc_stream_server.homeassistant.options import Options
from tests.integration.conftest import StartServer
from tests.support.broker import Mosquitto
from tests.support.device import LEFT, REST, Sender, constant, make_batch
from tests.support.homeassistant import check_activity, check_discovery
from tests.support.listener import PATIENCE_S, Listener

pytestmark = pytest.mark.broker

DISCOVERY = Discovery(Topics())
FAST = {"dwell_s": 0}


class Home:
    """Reads what Home Assistant reads, and asserts of every message that it can be taken."""

    def __init__(self, url: str) -> None:
        self.configs: dict[str, dict[str, Any]] = {}  # by topic; {} for one that was removed
        self.states: list[tuple[str, str]] = []  # of devices, as they came
        self.available: list[str] = []
        self.n_configs = 0
        self._wrong: list[BaseException] = []
        self._changed = threading.Condition()
        self.link = MqttLink(Broker.parse(url), "home-assistant", LinkListener(on_message=self._take))
        for topic_filter in ("homeassistant/device/#", "ds/v1/+/activity", "ds/v1/$server/availability"):
            self.link.subscribe(topic_filter)
        self.link.connect()

    def _take(self, message: Message) -> None:
        with self._changed:
            try:
                self._read(message.topic, message.payload)
            except BaseException as error:  # noqa: BLE001 - asserted by the test, on its thread
                self._wrong.append(error)
            self._changed.notify_all()

    def _read(self, topic: str, payload: bytes) -> None:
        if topic.startswith("homeassistant/"):
            self.configs[topic] = check_discovery(topic, payload)
            self.n_configs += 1
        elif topic.endswith("/availability"):
            self.available.append(payload.decode())
        elif payload:
            device = topic.split("/")[-2]
            config = self.configs[DISCOVERY.topic(device)]
            self.states.append((device, check_activity(config, payload)))

    def wait(self, what: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: bool(self._wrong) or what(), PATIENCE_S), vars(self)
        if self._wrong:
            raise self._wrong[0]

    def options(self, device: str) -> list[str]:
        return list(self.configs[DISCOVERY.topic(device)]["components"]["activity"]["options"])


@pytest.fixture
def home(mosquitto: Mosquitto) -> Iterator[Home]:
    home = Home(mosquitto.url)
    yield home
    home.link.close()


def test_devices_appear_and_are_told_again_when_home_assistant_comes(
    start_server: StartServer, sender: Sender, listener: Listener, home: Home
) -> None:
    server = start_server(home_assistant=FAST)
    for seq in range(20):
        for device in ("watch", "a.b:c"):
            sender.send(make_batch(device, seq, constant(REST, 8)))
    home.wait(lambda: sorted(home.states) == [("a.b:c", "rest"), ("watch", "rest")])
    assert home.available[-1] == "online"
    assert {"rest", "left", "right", "not worn", "unknown motion"} <= set(home.options("watch"))
    listener.wait_for_labels(40)
    assert len(home.states) == 2, "40 labels, two states"

    before = home.n_configs
    home.link.publish("homeassistant/status", b"online")
    home.wait(lambda: home.n_configs == before + 2 and len(home.states) == 4)
    for payload in (b"", b"\xff" * 1_000, b"offline", b"{}"):  # nobody's birth
        home.link.publish("homeassistant/status", payload)
    server.stop()
    home.wait(lambda: home.available[-1] == "offline")
    assert home.n_configs == before + 2


def test_a_rename_reaches_options_and_state(
    start_server: StartServer, sender: Sender, home: Home, tmp_path: Path, tiny_bundle: Path
) -> None:
    with Registry.create(tmp_path / "models") as registry:
        lineage = Lineage.of_bundle(Bundle.open(tiny_bundle), created_us=0)
        first = registry.add(tiny_bundle, lineage, RowIds.all_fresh(3)).number
        registry.promote(first, "test", "the first one")
        ids = registry.version(first).ids
        assert ids is not None
        start_server(bundle=None, models=registry.path, follow_s=0.05, home_assistant=FAST)
        sender.send(make_batch("watch", 0, constant(REST, 8)))
        home.wait(lambda: len(home.states) == 1)
        registry.clusters.name(ids[0], "lying ✓", Author("ann"))
        home.wait(lambda: "lying ✓" in home.options("watch"))
        assert "rest" not in home.options("watch")
        sender.send(make_batch("watch", 1, constant(REST, 8)))
        home.wait(lambda: home.states[-1] == ("watch", "lying ✓"))


def test_an_erased_device_is_removed(
    start_server: StartServer, sender: Sender, home: Home, mosquitto: Mosquitto, tmp_path: Path
) -> None:
    start_server(home_assistant=FAST, checkpoint_s=0.1)
    for device in ("watch", "other"):
        sender.send(make_batch(device, 0, constant(LEFT, 8)))
    home.wait(lambda: len(home.states) == 2)
    words = ["data", "forget", "watch", "--state", tmp_path / "state", "--broker", mosquitto.url, "--yes"]
    result = CliRunner().invoke(app, [*map(str, words), "--json"], catch_exceptions=False)
    cleared = json.loads(result.stdout)["topics_cleared"]
    assert {DISCOVERY.topic("watch"), "ds/v1/watch/activity"} <= set(cleared)
    home.wait(lambda: home.configs[DISCOVERY.topic("watch")] == {})
    again = Home(mosquitto.url)  # what is retained
    again.wait(lambda: len(again.states) == 1)
    again.link.close()
    assert [topic for topic, config in again.configs.items() if config] == [DISCOVERY.topic("other")]


def test_a_broker_that_forgot_everything_and_a_lost_connection(
    start_server: StartServer, sender: Sender, listener: Listener, home: Home, mosquitto: Mosquitto
) -> None:
    start_server(home_assistant=FAST, client_id="disc-stream-test")
    sender.send(make_batch("watch", 0, constant(REST, 8)))
    home.wait(lambda: len(home.states) == 1)
    before = home.n_configs
    thief = MqttLink(Broker.parse(mosquitto.url), "disc-stream-test-home")
    thief.connect()  # ends our connection, as a network does; the broker sends the last will
    home.wait(lambda: "offline" in home.available)
    thief.close()
    home.wait(lambda: home.available[-1] == "online" and home.n_configs > before)
    sender.send(make_batch("watch", 1, constant(REST, 8)))
    listener.wait_for_labels(2)


@pytest.mark.parametrize(
    "name", ["x" * 10_000, "\x00\x1b[31m\n", "{{ states }}", "None", "\u202egnp.exe", ""]
)
def test_a_hostile_name_is_an_option_that_home_assistant_can_take(name: str) -> None:
    options = Options([(1, name), (2, name), (3, "walking")])
    soft = SoftLabel(1, name, 1.0)
    state = options.of(Label("d", 1, 0, 0, 1, soft, (soft,), soft, 1.0, None, "v", 0, 1))
    config = check_discovery(DISCOVERY.topic("d"), DISCOVERY.config("d", options.all))
    check_activity(config, json.dumps({"activity": state}).encode())


def test_ids_for_home_assistant_are_of_its_grammar_and_none_is_shared() -> None:
    devices = ["a.b", "a:b", "a-b", "a_b", "A" + "b" * 63, "1", "a" * 64]
    topics = {DISCOVERY.topic(device) for device in devices}
    topics |= {Discovery(Topics("other/v1")).topic(device) for device in devices}
    assert len(topics) == 2 * len(devices)
    for topic in topics:
        check_discovery(topic, b"")
