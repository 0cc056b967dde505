"""Meta and status messages: what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from disc_stream.errors import PayloadError
from disc_stream.types import Channel, DeviceMeta
from disc_stream.wire.meta import decode_meta, encode_meta
from disc_stream.wire.status import DeviceStatus, State, decode_device_status, decode_server_status

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
        ({"scales": 0.001}, "unknown-field"),
        ({"Scale": 0.001}, "unknown-field"),
        ({"FS": 100}, "unknown-field"),
        ({"units": ..., "unit": "g"}, "unknown-field"),
        ({"channels": ..., "chanels": ["a", "b"]}, "unknown-field"),
        ({"scale": True}, "type"),
        ({"scale": [1.0, "2"]}, "type"),
        ({"scale": 10**400}, "range"),
        ({"fs": "50"}, "type"),
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
        ({"state": ["online"]}, "type"),
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


def test_fields_of_a_meta_that_are_not_known_are_passed_over() -> None:
    message = as_json(META, {"x-own": [1], "serial": "A7", "hand": {"side": "left"}})
    assert decode_meta(message) == decode_meta(as_json(META, {}))


@pytest.mark.parametrize(("before", "behind"), [(b"\xef\xbb\xbf", b""), (b"", b"\0"), (b"\n", b"\r\n\0")])
def test_what_writers_put_around_json_is_passed_over(before: bytes, behind: bytes) -> None:
    assert decode_meta(before + as_json(META, {}) + behind) == decode_meta(as_json(META, {}))
    assert decode_device_status(before + as_json(STATUS, {}) + behind).boot == 1
    assert decode_server_status(before + as_json(SERVER, {}) + behind).since_us == 5


def test_whole_floats_are_integers_in_a_status() -> None:
    assert decode_device_status(as_json(STATUS, {"boot": 7.0, "since": 1.7e15})) == DeviceStatus(
        State.ONLINE, 7, 1_700_000_000_000_000
    )


@pytest.mark.parametrize(
    ("read", "base", "changes", "words"),
    [
        (
            decode_meta,
            META,
            {"schema": "disc-stream.meta/2"},
            "the schema of the meta is 'disc-stream.meta/2'",
        ),
        (decode_meta, META, {"channels": ["a", 2]}, "channels[1] of the meta must be text, got an integer"),
        (decode_meta, META, {"units": ...}, "the field 'units' of the meta is missing"),
        (decode_meta, META, {"scales": 2}, "the field 'scales' of the meta is not known; is 'scale' meant?"),
        (decode_meta, META, {"fs": -1}, "fs must be above 0 and at most 10000 Hz, got -1.0"),
        (
            decode_device_status,
            STATUS,
            {"state": "away"},
            "state of the status must be 'online' or 'offline'",
        ),
        (
            decode_device_status,
            STATUS,
            {"boot": 1.5},
            "boot of the status must be an integer, got a number with",
        ),
        (decode_device_status, STATUS, {"since": ...}, "the field 'since' of the status is missing"),
        (decode_device_status, STATUS, {"boot": 2**32}, "boot of the status must be <= 4294967295"),
        (
            decode_server_status,
            SERVER,
            {"counters": {"x": -1}},
            "counters[...] of the server's status must be >=",
        ),
    ],
)
def test_a_refusal_names_the_field(
    read: Callable[[bytes], object], base: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(PayloadError) as caught:
        read(as_json(base, changes))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [decode_meta, decode_device_status])
def test_a_key_that_is_there_twice_is_refused(read: Callable[[bytes], object]) -> None:
    base = META if read is decode_meta else STATUS
    with pytest.raises(PayloadError, match="twice"):
        read(as_json(base, {})[:-1] + b',"schema":"x"}')


@pytest.mark.parametrize(
    ("said", "known"),
    [(0.8, 0.8), (0, 0.0), (1, 1.0), ("80 %", None), (80, None), (-0.1, None)],
)
def test_a_battery_is_a_share_or_not_said(said: object, known: float | None) -> None:
    meta = decode_meta(as_json(META, {"battery": said}))
    assert meta.battery == known
    assert decode_meta(encode_meta(meta)) == meta
