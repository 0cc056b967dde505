"""What apps on phones send becomes sample batches in SI units on one set of axes."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import pytest

from disc_stream.errors import PayloadError
from disc_stream_edge.phones import devicemotion, phyphox, sensorlogger, sensorserver, sensorspot
from disc_stream_edge.phones.assembling import batches_of
from disc_stream_edge.phones.readings import MAX_BYTES, Sensor
from tests.support.phones import FILES, golden

RATES = {
    "sensorlogger.jsonl": (73, 160),
    "sensorlogger-uncalibrated.jsonl": (100, 100),
    "phyphox.jsonl": (100, 100),
    "sensorspot.jsonl": (50, 50),
    "sensorserver.jsonl": (50, 50),
    "devicemotion-ios.jsonl": (60, 60),
}


@pytest.mark.parametrize("file", FILES)
def test_golden_messages_become_batches_of_both_sensors(file: str) -> None:
    _, read = FILES[file]
    batches = batches_of([read(message) for message in golden(file)], "phone", 7)
    assert [batch.seq for batch in batches] == list(range(len(batches)))
    for prefix, fs, mean in (("acc", RATES[file][0], (0, 9.81, 0)), ("gyro", RATES[file][1], (0, 0, 0))):
        mine = [batch for batch in batches if batch.channels[0].name.startswith(prefix)]
        assert {batch.fs for batch in mine} == {fs}
        rows = np.concatenate([batch.samples for batch in mine])
        assert len(rows) > 2.7 * fs  # of 3.2 s, of which the last part waits for more
        assert rows.mean(axis=0) == pytest.approx(mean, abs=0.1)
        ends = [batch.t0_us + len(batch.samples) * 1e6 / fs for batch in mine]
        assert [batch.t0_us for batch in mine[1:]] == pytest.approx(ends[:-1], abs=2)
    assert {channel.unit for batch in batches for channel in batch.channels} == {"m/s2", "rad/s"}


def test_sensor_logger_times_are_the_time_of_day() -> None:
    message = sensorlogger.read(golden("sensorlogger.jsonl")[0])
    assert message.number == 0
    assert message.sender.startswith("3f9c1f0e")
    assert message.readings[0].times_ns[0] // 10**9 == 1698501144
    assert {one.sensor for one in message.readings} == {Sensor.LINEAR, Sensor.GRAVITY, Sensor.GYRO}


def test_the_page_turns_ios_signs_and_degrees() -> None:
    row = [1000.0, 0.5, -9.8, 0.25, 0, 0, 0, 90.0, 0.0, -180.0]
    body = {"format": "disc-stream.motion/1", "session": "a", "number": 3, "origin": 1.7e12, "turned": True}
    acc, gyro = devicemotion.read(json.dumps({**body, "samples": [row]}).encode()).readings
    assert acc.values.tolist() == [[-0.5, 9.8, -0.25]]
    assert gyro.values[0] == pytest.approx([np.pi / 2, 0, -np.pi])
    assert acc.times_ns.tolist() == [1_700_000_001_000_000_000]
    still = [1000.0, None, None, None, 1.0, 2.0, 3.0, None, None, None]
    (linear,) = devicemotion.read(json.dumps({**body, "turned": False, "samples": [still]}).encode()).readings
    assert linear.sensor == Sensor.LINEAR  # so that missing gravity is seen


def test_phyphox_times_follow_from_its_last_start() -> None:
    clock = {"now": 0, "events": [
        {"event": "START", "experimentTime": 0.0, "systemTime": 1000.0},
        {"event": "PAUSE", "experimentTime": 5.0, "systemTime": 1005.0},
        {"event": "START", "experimentTime": 5.0, "systemTime": 2000.0},
    ]}  # fmt: skip
    post = {
        "accX": [1.0, None],
        "accY": [2.0, 0.0],
        "accZ": [3.0, 0.0],
        "accTime": [6.0, 6.5],
        "clock": clock,
    }
    (acc,) = phyphox.read(json.dumps(post).encode()).readings
    assert acc.times_ns.tolist() == [2_001_000_000_000]  # the reading with a hole is left out
    assert acc.values.tolist() == [[1.0, 2.0, 3.0]]


def test_the_experiment_sends_what_the_adapter_reads() -> None:
    root = ElementTree.fromstring(phyphox.experiment("http://192.168.1.2:8767/p/a&b/push/phyphox"))  # noqa: S314 - ours
    connection = root.find("network/connection")
    assert connection is not None
    assert connection.get("address") == "http://192.168.1.2:8767/p/a&b/push/phyphox"
    assert connection.get("service") == "http/post"
    ids = {send.get("id") for send in connection.findall("send")}
    assert ids == set(json.loads(golden("phyphox.jsonl")[0]))
    buffers = {container.text for container in root.findall("data-containers/container")}
    assert {output.text for output in root.findall("input/sensor/output")} == buffers == ids - {"clock"}


def test_sensorserver_is_asked_for_both_sensors() -> None:
    assert sensorserver.address("ws://10.0.0.5:8080/") == (
        "ws://10.0.0.5:8080/sensors/connect?types="
        "%5B%22android.sensor.accelerometer%22%2C%22android.sensor.gyroscope%22%5D"
    )


@pytest.mark.parametrize(
    ("read", "message", "reason"),
    [
        (sensorlogger.read, b"", "malformed"),
        (sensorlogger.read, b"[" * 100_000, "type"),
        (sensorlogger.read, b"x" * (MAX_BYTES + 1), "oversized"),
        (sensorlogger.read, b'{"payload":[{"name":"gyroscope","time":1,"values":{"x":1,"y":2}}]}', "type"),
        (sensorlogger.read, b'{"payload":[{"name":"gyroscope","values":{"x":1,"y":2,"z":3}}]}', "range"),
        (
            sensorlogger.read,
            b'{"payload":[{"name":"gravity","time":1,"values":{"x":1e9,"y":2,"z":3}}]}',
            "range",
        ),
        (sensorspot.read, b'{"type":"android.sensor.gyroscope","timestamp":5,"values":[1,2]}', "shape"),
        (
            sensorspot.read,
            b'{"type":"android.sensor.gyroscope","timestamp":99999999999999999999,"values":[1,2,3]}',
            "range",
        ),
        (phyphox.read, b'{"accX":[1],"accY":[1],"accZ":[1],"accTime":[-1]}', "range"),
        (phyphox.read, b'{"accX":"1"}', "type"),
        (devicemotion.read, b'{"format":"disc-stream.motion/2"}', "type"),
        (
            devicemotion.read,
            b"""{"format":"disc-stream.motion/1","session":"","number":0,"origin":0,"turned":false,
            "samples":[[1,2]]}""",
            "shape",
        ),
    ],
)
def test_hostile_messages_are_refused_with_a_reason(read: object, message: bytes, reason: str) -> None:
    with pytest.raises(PayloadError) as caught:
        read(message)  # type: ignore[operator]
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)


def test_sensors_that_are_not_used_are_no_fault() -> None:
    assert sensorspot.read(b'{"type":"android.sensor.light","timestamp":5,"values":[1]}').readings == ()
    assert sensorlogger.read(b'{"payload":[{"name":"location","time":1,"values":{"lat":1}}]}').readings == ()
