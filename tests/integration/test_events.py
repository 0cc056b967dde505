"""Events on a real broker: what begins and ends, who comes and goes; nothing lost by a restart."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator

import pytest
from standardwebhooks import Webhook as Reader
from typer.testing import CliRunner

from disc_stream.cli.app import app
from disc_stream.clock import SystemClock
from disc_stream.wire.broker import Broker
from disc_stream.wire.event import Event, EventType, decode_event
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink, Session
from disc_stream.wire.status import DeviceStatus, State, encode_device_status
from disc_stream_server.events.signing import new_secret
from disc_stream_server.storage.journal import Draft, Journal
from tests.integration.conftest import StartServer
from tests.support.broker import Mosquitto, free_port
from tests.support.device import LEFT, REST, Sender, constant, make_batch
from tests.support.listener import PATIENCE_S
from tests.support.webhooks import WebhookReceiver

pytestmark = pytest.mark.broker

UNIX_US = 1_790_000_000_000_000
QUICK = {"events": {}, "checkpoint_s": 0.1, "episode_dwell_s": 0.3}


class Automation:
    """Hears events, through a session that the broker keeps; asserts that each is one of the format."""

    def __init__(self, url: str) -> None:
        self.events: list[Event] = []
        self._changed = threading.Condition()
        self.link = MqttLink(
            Broker.parse(url), "automation", LinkListener(on_message=self._take), Session(expiry_s=600)
        )
        self.link.subscribe("ds/v1/+/event")
        self.link.connect()

    def _take(self, message: Message) -> None:
        with self._changed:
            assert not message.retained
            event = decode_event(message.payload)
            assert message.topic == f"ds/v1/{event.device}/event"
            self.events.append(event)
            self._changed.notify_all()

    def wait(self, what: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(what, PATIENCE_S), self.events

    def told(self) -> list[tuple[str, str]]:
        return [(one.type.value, one.name) for one in self.events]


@pytest.fixture
def automation(mosquitto: Mosquitto) -> Iterator[Automation]:
    automation = Automation(mosquitto.url)
    yield automation
    automation.link.close()


def move(sender: Sender, first: int, *means: tuple[float, float, float]) -> int:
    """Five windows of each, with times of the day; the number of the next batch."""
    seq = first
    for mean in means:
        for _ in range(5):
            batch = make_batch("watch", seq, constant(mean, 8))
            sender.send(type(batch)(*[
                getattr(batch, name) if name != "t0_us" else UNIX_US + batch.t0_us
                for name in batch.__struct_fields__
            ]))  # fmt: skip
            seq += 1
    return seq


def status(sender: Sender, device: str, state: State) -> None:
    payload = encode_device_status(DeviceStatus(state, 1, None))
    sender.link.publish(f"ds/v1/{device}/status", payload, retain=True)


def test_begins_and_ends_are_told_once_and_in_order_over_a_restart(
    start_server: StartServer, sender: Sender, automation: Automation
) -> None:
    server = start_server(**QUICK)
    seq = move(sender, 0, REST, LEFT)
    automation.wait(lambda: ("episode.began", "left") in automation.told())
    server.stop()
    seq = move(sender, seq, REST)  # comes while nobody is there
    start_server(**QUICK)
    move(sender, seq, LEFT)
    automation.wait(lambda: automation.told().count(("episode.began", "left")) == 2)
    assert automation.told() == [
        ("episode.began", "rest"), ("episode.ended", "rest"), ("episode.began", "left"),
        ("episode.ended", "left"), ("episode.began", "rest"), ("episode.ended", "rest"),
        ("episode.began", "left"),
    ]  # fmt: skip
    numbers = [one.number for one in automation.events]
    assert numbers == sorted(set(numbers))
    assert len({one.id for one in automation.events}) == len(numbers)
    ended = automation.events[1]
    assert ended.begin is not None
    assert ended.end is not None
    assert 0.5e6 < ended.end - ended.begin < 3e6


def test_who_comes_and_goes_is_told_and_what_is_retained_is_no_news(
    start_server: StartServer, sender: Sender, automation: Automation
) -> None:
    status(sender, "old", State.ONLINE)
    sender.flush()
    server = start_server(**QUICK)
    for state in (State.ONLINE, State.ONLINE, State.OFFLINE):
        status(sender, "new", state)
    sender.link.publish("ds/v1/new/status", b"\xff{]")
    automation.wait(lambda: len(automation.events) == 2)
    server.stop()
    status(sender, "old", State.OFFLINE)  # while nobody is there: retained, but news
    start_server(**QUICK)
    automation.wait(lambda: len(automation.events) == 3)
    assert [(one.device, one.type) for one in automation.events] == [
        ("new", EventType.ONLINE), ("new", EventType.OFFLINE), ("old", EventType.OFFLINE),
    ]  # fmt: skip


def test_events_that_the_broker_did_not_confirm_come_again_with_their_ids(
    start_server: StartServer, automation: Automation, mosquitto: Mosquitto, tmp_path
) -> None:
    server = start_server(**QUICK)
    server.stop()
    journal = Journal(tmp_path / "state")  # as a server leaves it that was killed before it published
    journal.add(Draft(EventType.ONLINE, f"d{n}", SystemClock().unix_us()) for n in range(1_200))
    journal.close()
    start_server(**QUICK)
    automation.wait(lambda: len(automation.events) >= 1_200)
    assert [one.device for one in automation.events] == [f"d{n}" for n in range(1_200)]


def test_an_erased_device_has_no_events_left(
    start_server: StartServer, sender: Sender, automation: Automation, tmp_path, mosquitto: Mosquitto
) -> None:
    start_server(**QUICK)
    status(sender, "watch", State.ONLINE)
    move(sender, 0, REST, LEFT)
    automation.wait(lambda: ("episode.began", "left") in automation.told())
    words = [
        "data",
        "forget",
        "watch",
        "--state",
        tmp_path / "state",
        "--broker",
        mosquitto.url,
        "--yes",
        "--json",
    ]
    result = CliRunner().invoke(app, [*map(str, words)], catch_exceptions=False)
    assert json.loads(result.stdout)["receipt"]["events.sqlite"] >= 5
    assert b"watch" not in (tmp_path / "state" / "events.sqlite").read_bytes()


def test_a_webhook_gets_what_began_even_if_it_was_gone(
    start_server: StartServer, sender: Sender, automation: Automation, tmp_path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(new_secret())
    port = free_port()
    hook = {"url": f"http://127.0.0.1:{port}/", "secret": str(secret), "types": ["episode.began"]}
    server = start_server(**{**QUICK, "events": {"webhooks": [hook]}})
    seq = move(sender, 0, REST, LEFT)  # nobody listens there yet
    automation.wait(lambda: ("episode.began", "left") in automation.told())
    server.stop()
    receiver = WebhookReceiver(port)
    start_server(**{**QUICK, "events": {"webhooks": [hook]}})
    move(sender, seq, REST)
    receiver.wait(3)
    told = [
        Reader(secret.read_text()).verify(body, headers)["data"]["name"] for headers, body in receiver.got
    ]
    assert told[:3] == ["rest", "left", "rest"]
    receiver.close()
