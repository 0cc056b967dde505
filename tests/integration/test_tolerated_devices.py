"""Devices that do not send quite what the contract says, where it is certain what they mean, get labels."""

from __future__ import annotations

import json
from typing import Any

import pytest

from disc_stream.wire.topics import Kind, Topics
from tests.integration.conftest import StartServer
from tests.support.device import CHANNELS, Sender
from tests.support.listener import Listener

pytestmark = pytest.mark.broker

SECOND_NS = 10**9
NOW_NS = 1_790_000_000 * SECOND_NS  # a device's clock need not be right
NAMES = [channel.name for channel in CHANNELS]


def payload(seq: Any, t0: Any, **changes: Any) -> bytes:
    rows = [[0.1 * k, 0.2, 9.8] for k in range(50)]
    message = {"boot": 1, "seq": seq, "t0": t0, "fs": 50, "channels": NAMES, "units": "m/s2", "samples": rows}
    return json.dumps({**message, **changes}).encode()


@pytest.mark.parametrize("kind", ["whole floats", "mark and nul", "text/plain", "octet-stream"])
def test_it_is_labelled_like_any_other(
    kind: str, start_server: StartServer, sender: Sender, listener: Listener
) -> None:
    start_server()
    for seq in range(3):
        match kind:
            case "whole floats":
                sender.raw("watch", payload(float(seq), seq * 1e6, boot=1.0))
            case "mark and nul":
                sender.raw("watch", b"\xef\xbb\xbf" + payload(seq, seq * 10**6) + b"\r\n\0")
            case "text/plain":
                sender.raw("watch", payload(seq, seq * 10**6), "text/plain; charset=UTF-8")
            case _:
                sender.raw("watch", payload(seq, seq * 10**6), "application/octet-stream")
    listener.wait_for_labels(18)  # of 8 samples each
    assert [label.t0_us for label in listener.labels] == [window * 160_000 for window in range(18)]
    assert listener.status["rejected"] == {}


def test_a_time_of_day_in_nanoseconds_is_that_of_its_labels(
    start_server: StartServer, sender: Sender, listener: Listener
) -> None:
    start_server()
    for seq in range(12):
        sender.raw("phone", payload(seq, NOW_NS + seq * SECOND_NS + 123))
    listener.wait_for_labels(75)  # 600 samples
    listener.wait_for_count("clock_nanoseconds", 1)
    assert [label.t0_us for label in listener.labels] == [
        NOW_NS // 1_000 + window * 160_000 for window in range(75)
    ]


def test_a_field_of_the_meta_that_is_not_known_is_no_reason_to_refuse_it(
    start_server: StartServer, sender: Sender, listener: Listener
) -> None:
    start_server()
    meta = {"schema": "disc-stream.meta/1", "fs": 50, "channels": NAMES, "units": "m/s2", "battery": 0.8}
    sender.link.publish(Topics().of("watch", Kind.META), json.dumps(meta).encode(), retain=True)
    message = json.loads(payload(0, 0))
    bare = {name: message[name] for name in ("boot", "seq", "t0", "fs", "samples")}
    sender.raw("watch", json.dumps(bare).encode())
    listener.wait_for_labels(6)
    assert listener.status["rejected"] == {}
