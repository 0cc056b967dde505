"""The examples of the AsyncAPI document through a real server, and all that comes back against it."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from disc_stream.artifacts.manifest import WindowInfo
from disc_stream.clock import SystemClock
from disc_stream.load.trivial import write_trivial_bundle
from disc_stream.types import Channel
from disc_stream.wire.asyncapi import channels, document, every_example
from disc_stream.wire.broker import Broker
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink
from tests.integration.conftest import StartServer
from tests.support.broker import Mosquitto
from tests.support.listener import PATIENCE_S, Listener

pytestmark = pytest.mark.broker

CHANNELS = tuple(Channel(f"acc_{a}", "g") for a in "xyz") + tuple(
    Channel(f"gyro_{a}", "deg/s") for a in "xyz"
)
SENT = {one.name for one in channels() if one.sent}


class Everything:
    """Takes every message under the prefix, and asserts that it fits the document."""

    def __init__(self, url: str) -> None:
        self.seen: set[str] = set()  # names of channels
        self.wrong: list[str] = []
        self._changed = threading.Condition()
        self._document = document()
        self.link = MqttLink(Broker.parse(url), "everything", LinkListener(on_message=self._take))
        self.link.subscribe("ds/v1/#")
        self.link.connect()

    def _take(self, message: Message) -> None:
        found = [one for one in channels() if re.fullmatch(_pattern(one.address), message.topic)]
        with self._changed:
            if len(found) != 1:
                if not message.topic.endswith("$server/raw"):
                    self.wrong.append(f"{message.topic} is of {len(found)} channels")
            elif found[0].sent and message.payload:
                self._check(found[0].name, message.payload)
            self._changed.notify_all()

    def _check(self, name: str, payload: bytes) -> None:
        components = self._document["components"]
        (form,) = self._document["channels"][name]["messages"]
        said = components["messages"][form]
        value: Any = payload.decode() if said["contentType"] == "text/plain" else json.loads(payload)
        schema = {**said["payload"], "components": {"schemas": components["schemas"]}}
        errors = list(jsonschema.Draft7Validator(schema).iter_errors(value))
        self.wrong += [f"{name}: {error.message}" for error in errors]
        self.seen.add(name)

    def wait(self, names: set[str]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: bool(self.wrong) or names <= self.seen, PATIENCE_S), (
                names - self.seen
            )
        assert not self.wrong


def _pattern(address: str) -> str:
    return re.escape(address).replace(re.escape("{device}"), "[^/$]+")


def test_the_examples_are_taken_and_what_comes_back_fits_the_document(
    start_server: StartServer, mosquitto: Mosquitto, listener: Listener, tmp_path: Path
) -> None:
    bundle = tmp_path / "six"
    write_trivial_bundle(bundle, CHANNELS, 50.0, WindowInfo(samples=4, hop=2, input_samples=2))
    settings = {"home_assistant": {"dwell_s": 0}, "events": {}, "checkpoint_s": 0.1, "episode_dwell_s": 0}
    start_server(bundle=bundle, **settings)
    everything = Everything(mosquitto.url)
    sender = MqttLink(Broker.parse(mosquitto.url), "replay")
    sender.connect()
    n_batches = 0
    for channel, form, name, payload in every_example():
        if channel.sent:
            continue
        device = f"{form.name}-{name}"
        if form.name == "batchPacked":
            meta = next(p for _, f, _, p in every_example() if f.name == "meta")
            sender.publish(f"ds/v1/{device}/meta", meta, retain=True)
        topic = channel.address.replace("{device}", device)
        sender.publish(topic, payload, retain=channel.retained, content_type=form.content_type)
        n_batches += form.name.startswith("batch")
    assert n_batches == 3
    listener.wait_for_labels(3)
    listener.wait_for_count("messages", 3)
    assert listener.status["rejected"] == {}
    # What needs more than two rows: an episode, which needs the time of day, and a fault.
    now_us = SystemClock().unix_us()
    for seq in range(40):
        batch = {
            "boot": 1, "seq": seq, "t0": now_us + seq * 40_000, "fs": 50,
            "channels": [one.name for one in CHANNELS], "units": [one.unit for one in CHANNELS],
            "samples": [[0, 0, 1, 0, 0, 0]] * 2,
        }  # fmt: skip
        sender.publish("ds/v1/walker/raw", json.dumps(batch).encode())
    sender.publish("ds/v1/broken/raw", b'{"boot":')
    everything.wait(SENT)
    sender.close()
    everything.link.close()
