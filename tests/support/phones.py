"""Messages of phones: the golden ones, and streams that are made up."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from disc_stream.artifacts.manifest import ClusterInfo, Manifest, WindowInfo
from disc_stream.load.trivial import InputSpec, write_mean_bundle
from disc_stream.types import Channel
from disc_stream_edge.phones import devicemotion, phyphox, sensorlogger, sensorserver, sensorspot
from disc_stream_edge.phones.readings import PhoneMessage, Readings, Sensor

GOLDEN = Path(__file__).parents[1] / "golden" / "phones"
FILES: dict[str, tuple[str, Callable[[bytes], PhoneMessage]]] = {
    "sensorlogger.jsonl": ("sensorlogger", sensorlogger.read),
    "sensorlogger-uncalibrated.jsonl": ("sensorlogger", sensorlogger.read),
    "phyphox.jsonl": ("phyphox", phyphox.read),
    "sensorspot.jsonl": ("sensorspot", sensorspot.read),
    "sensorserver.jsonl": ("sensorserver", sensorserver.read),
    "devicemotion-ios.jsonl": ("page", devicemotion.read),
}


def golden(file: str) -> list[bytes]:
    """The messages of a file."""
    return [line.encode() for line in (GOLDEN / file).read_text(encoding="utf-8").splitlines()]


def readings(sensor: Sensor, times_s: np.ndarray, values: np.ndarray) -> PhoneMessage:
    """A message of one sensor."""
    times = np.round(np.asarray(times_s) * 1e9).astype(np.int64)
    return PhoneMessage((Readings(sensor, times, np.asarray(values, dtype=np.float64)),))


def turning(
    seconds: float = 8.0, fs: float = 50.0, speed: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A phone that is turned in the hand about all axes: times, acceleration (m/s²), angular rate (rad/s).

    The angular rate is given; gravity in the phone's frame follows by integrating dg/dt = -w x g with small
    steps.
    """
    fine = 20
    t = np.arange(round(seconds * fs) * fine) / (fs * fine)
    rate = speed * np.stack([1.2 * np.sin(2.1 * t), 0.9 * np.cos(1.3 * t), 1.1 * np.sin(1.7 * t + 1)], axis=1)
    g, path = np.array([0.0, 9.8, 1.0]), []
    for w in rate:
        path.append(g)
        middle = g - np.cross(w, g) / (2 * fs * fine)
        g = g - np.cross(w, middle) / (fs * fine)
    return t[::fine], np.array(path)[::fine], rate[::fine]


def six_axis_bundle(path: Path) -> Manifest:
    """A model of both sensors at 50 Hz that knows a phone upright from one on its back."""
    channels = (
        *(Channel(f"acc_{axis}", "m/s2") for axis in "xyz"),
        *(Channel(f"gyro_{axis}", "rad/s") for axis in "xyz"),
    )
    centroids = np.array([[0, 10, 0, 0, 0, 0], [0, 0, 10, 0, 0, 0]], dtype=np.float32)
    clusters = [
        ClusterInfo(id=k, name=name, size=10, distance_q95=4.0) for k, name in enumerate(("upright", "flat"))
    ]
    spec = InputSpec(channels, 50.0, WindowInfo(samples=16, hop=8, input_samples=8))
    return write_mean_bundle(path, "six", spec, centroids, clusters)


def sensor_logger(entries: list[tuple[float, str, tuple[float, float, float]]], number: int = 0) -> bytes:
    """A message of Sensor Logger from (seconds, sensor, values)."""
    payload = [
        {
            "name": name,
            "time": 1_700_000_000_000_000_000 + round(t * 1e9),
            "values": dict(zip("xyz", v, strict=True)),
        }
        for t, name, v in entries
    ]
    message = {"messageId": number, "sessionId": "s", "deviceId": "d", "payload": payload}
    return json.dumps(message).encode()


def upright(t: float) -> tuple[float, float, float]:
    """What a phone that is held upright measures."""
    return 0.2 * math.sin(6 * t), 9.81, 0.1 * math.cos(5 * t)
