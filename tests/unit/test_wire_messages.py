"""Meta and status messages: what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from disc_stream.errors import PayloadError
from disc_stream.types import Channel, DeviceMeta
from disc_stream.wire.meta import decode_meta, encode_meta
from disc_stream.wire.status import decode_device_status, decode_server_status

META = {"schema": "disc-stream.meta/1", "fs": 50, "channels": ["a", "b"], "units": ["g", "rad/s"]}
STATUS = {"schema": "disc-stream.status/1", "state": "online", "boot": 1, "since": 5}
SERVER = {"schema": "disc-stream.server/1", "state": "online", "since": 5}


def as_json(base: dict[str, Any], changes: dict[str, Any]) -> bytes:
    return json.dumps({k: v for k, v in {**base, **changes}.items() if v is not ...}).encode()


def test_a_short_meta_is_enough() -> None:
    assert decode_meta(as_json(META, {})) == DeviceMeta(50.0, (Channel("a", "g"), Channel("b", "rad/s")))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema": "disc-stream.meta/9"}, "version"),
        ({"schema": ...}, "version"),
        ({"fs": 0}, "range"),
        ({"fs": ...}, "missing"),
        ({"channels": ..., "units": ...}, "missing"),
        ({"channels": []}, "channels"),
        ({"units": ["g"]}, "channels"),
        ({"placement": 5}, "type"),
        ({"firmware": "x" * 201}, "text"),
        ({"place": "wrist"}, "unknown-field"),
        ({"model": "x" * 70_000}, "oversized"),
    ],
)
def test_a_wrong_meta_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(PayloadError) as caught:
        decode_meta(as_json(META, changes))
    assert caught.value.reason == reason


def test_a_meta_outside_the_limits_is_not_sent() -> None:
    with pytest.raises(PayloadError, match="same name"):
        encode_meta(DeviceMeta(50.0, (Channel("a", "g"), Channel("a", "g"))))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"state": "away"}, "range"),
        ({"state": ["online"]}, "range"),
        ({"state": ...}, "missing"),
        ({"boot": -1}, "range"),
        ({"since": "now"}, "type"),
        ({"schema": "disc-stream.server/1"}, "version"),
    ],
)
def test_a_wrong_device_status_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(PayloadError) as caught:
        decode_device_status(as_json(STATUS, changes))
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"counters": {"labels": 1.5}}, "type"),
        ({"counters": [1]}, "type"),
        ({"model": 3}, "type"),
        ({"state": "off"}, "range"),
    ],
)
def test_a_wrong_server_status_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(PayloadError) as caught:
        decode_server_status(as_json(SERVER, changes))
    assert caught.value.reason == reason


def test_status_fields_of_later_versions_are_passed_over() -> None:
    assert decode_server_status(as_json(SERVER, {"rejected": {"range": 2}})).counters == {}
