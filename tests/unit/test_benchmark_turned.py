"""Sensors that are turned: what the benchmark does to windows."""

from __future__ import annotations

import numpy as np
import pytest

from disc_stream.benchmarks.turned import Sensor, Turn, aligned, all_turns, measure, sensors_of, turned
from disc_stream.data.types import Split, WindowSet
from disc_stream.errors import DataError
from disc_stream.types import Channel, Float32Array

ACC = tuple(Channel(f"acc_{axis}", "g") for axis in "xyz")
GYRO = tuple(Channel(f"gyro_{axis}", "rad/s") for axis in "xyz")
SENSORS = [Sensor(0, False), Sensor(3, True)]


def windows(n: int = 20, seed: int = 0) -> Float32Array:
    """Upright in a crooked way, moving mostly forward and in one sense."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 16, 6)) * [0.1, 0.4, 0.2, 1.0, 1.0, 1.0]
    x[..., 1] = np.exp(x[..., 1])
    out: Float32Array = (x + np.array([0.8, 0.3, -0.5, 0, 0, 0])).astype(np.float32)
    return out


def turn_of(kind: str, axis: str) -> Turn:
    return next(turn for turn in all_turns() if (turn.kind, turn.axis) == (kind, axis))


def test_a_quarter_turn_about_z_brings_x_to_y() -> None:
    found = turned(windows(), SENSORS, turn_of("90", "z").matrix)
    for first in (0, 3):
        np.testing.assert_allclose(found[..., first + 1], windows()[..., first], atol=1e-6)
        np.testing.assert_allclose(found[..., first], -windows()[..., first + 1], atol=1e-6)


def test_mirrored_turning_rates_keep_their_sign_about_the_mirrored_axis() -> None:
    """Somebody's mirror image leans left where they lean right, and nods as they do."""
    found = turned(windows(), SENSORS, turn_of("other side", "x").matrix)
    np.testing.assert_allclose(found, windows() * np.float32([-1, 1, 1, 1, -1, -1]))


def test_turns_keep_lengths_and_those_by_an_angle_keep_handedness() -> None:
    for turn in all_turns():
        np.testing.assert_allclose(turn.matrix @ turn.matrix.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn.matrix) == pytest.approx(-1.0 if turn.kind == "other side" else 1.0)
    assert len(all_turns()) == 15


def test_aligned_windows_do_not_know_how_the_sensor_was_turned() -> None:
    devices = np.repeat([1, 2], 10)
    expected = aligned(windows(), devices, SENSORS)
    for turn in all_turns():
        if turn.kind != "other side":
            found = aligned(turned(windows(), SENSORS, turn.matrix), devices, SENSORS)
            np.testing.assert_allclose(found, expected, atol=1e-4)
    mean = expected[:10].mean((0, 1))
    assert mean[0] > 0.5
    np.testing.assert_allclose(mean[1:3], 0.0, atol=1e-5)


def test_sensors_are_found_by_their_names() -> None:
    assert sensors_of([*ACC, Channel("pressure", "1"), *GYRO]) == [Sensor(0, False), Sensor(4, True)]
    with pytest.raises(DataError, match="no three of the channels gyro_x, gyro_y are the axes"):
        sensors_of(GYRO[:2])


def test_the_aligned_arm_keeps_its_labels() -> None:
    def part(people: range, seed: int) -> WindowSet:
        n = 20 * len(people)
        y = np.tile(np.repeat([0, 1], 10), len(people)).astype(np.int16)
        x = windows(n, seed) * np.where(y, 3.0, 1.0)[:, None, None].astype(np.float32)
        who = np.repeat(list(people), 20)
        return WindowSet(
            x.astype(np.float32), y, who.astype(np.int16), who.astype(np.int32),
            np.tile(np.arange(20) * 8, len(people)), 50.0, (*ACC, *GYRO), ("slow", "fast"),
        )  # fmt: skip

    split = Split(part(range(4), 0), part(range(4, 6), 1), "two people are held out", 2)
    report = measure("tiny", split, "disc-plus", settings={"restarts": 2, "moves": 2, "spans": [0]})
    worn, straight = report["arms"]["as worn"], report["arms"]["aligned"]
    assert set(worn["turns"]) == {"10", "30", "90", "180", "other side"}
    assert straight["turns"]["90"]["same"] == 1.0
    assert straight["acc"] > 0.9
