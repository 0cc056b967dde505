"""What is wrong with a phone's data is said in words within ten seconds of it, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest

from disc_stream_edge.phones.checks import Checks, Finding, Needs
from disc_stream_edge.phones.readings import Sensor
from tests.support.phones import readings, turning

TIMES, ACC, GYRO = turning()
MODEL = Needs(50.0, gyro=True)


def found(parts: dict[Sensor, tuple[np.ndarray, np.ndarray]], needs: Needs = MODEL) -> dict[str, Finding]:
    """What is found in less than ten seconds of data that come in parts of half a second."""
    checks = Checks()
    assert all(times[-1] - times[0] < 10 for times, _ in parts.values())
    for start in np.arange(TIMES[0], TIMES[-1] + 0.5, 0.5):
        for sensor, (times, values) in parts.items():
            part = (times >= start) & (times < start + 0.5)
            checks.push(readings(sensor, 5000 + times[part], values[part]))
        findings = checks.findings(needs)
    return {one.code: one for one in findings}


def both(acc: np.ndarray = ACC, gyro: np.ndarray = GYRO) -> dict[Sensor, tuple[np.ndarray, np.ndarray]]:
    return {Sensor.ACC: (TIMES, acc), Sensor.GYRO: (TIMES, gyro)}


def walking(seconds: float = 8.0) -> tuple[np.ndarray, np.ndarray]:
    t = np.arange(round(seconds * 50)) / 50
    rng = np.random.default_rng(1)
    step = np.stack([np.sin(12 * t), 3 * np.sin(12 * t), 1.5 * np.cos(24 * t)], axis=1)
    return t, step + rng.normal(0, 0.3, step.shape)


def test_nothing_is_wrong_with_a_phone_that_is_turned_or_walks_or_rests() -> None:
    assert found(both()) == {}
    t, step = walking()
    quiet = np.random.default_rng(2).normal(0, 0.1, step.shape)
    assert found({Sensor.ACC: (t, step + np.array([0, 9.81, 0])), Sensor.GYRO: (t, quiet)}) == {}
    rest = np.tile([0.0, 0.0, 9.81], (len(t), 1))
    assert found({Sensor.ACC: (t, rest), Sensor.GYRO: (t, np.zeros_like(rest))}) == {}


@pytest.mark.parametrize("motion", ["rest", "walk"])
def test_gravity_missing(motion: str) -> None:
    t, step = walking()
    values = step if motion == "walk" else 0.02 * step
    for sensor in (Sensor.LINEAR, Sensor.ACC):
        seen = found({sensor: (t, values), Sensor.GYRO: (t, np.zeros_like(values))})
        assert list(seen) == ["gravity-missing"]
        assert "gravity" in seen["gravity-missing"].words
        assert "Gravity" in seen["gravity-missing"].remedy or "gravity" in seen["gravity-missing"].remedy


def test_gravity_that_comes_apart_is_not_missing() -> None:
    t, step = walking()
    gravity = np.tile([0.0, 9.81, 0.0], (len(t), 1))
    still = np.zeros_like(step)
    assert found({Sensor.LINEAR: (t, step), Sensor.GRAVITY: (t, gravity), Sensor.GYRO: (t, still)}) == {}


@pytest.mark.parametrize(
    ("factor", "word"), [(1 / 9.80665, "it is in g"), (1000 / 9.80665, "thousandths of g")]
)
def test_units(factor: float, word: str) -> None:
    seen = found(both(acc=ACC * factor))
    assert word in seen["units"].words


def test_degrees_for_radians() -> None:
    seen = found(both(gyro=np.degrees(GYRO)))
    assert list(seen) == ["degrees-for-radians"]
    assert "faster than phones measure" in seen["degrees-for-radians"].words
    t, acc, gyro = turning(speed=0.4)
    gentle = {Sensor.ACC: (t, acc), Sensor.GYRO: (t, np.degrees(gyro))}  # not above what phones measure
    assert "gravity turns" in found(gentle)["degrees-for-radians"].words


def test_sign_turned() -> None:
    assert list(found(both(acc=-ACC))) == ["sign-turned"]
    t = np.arange(400) / 50
    flat = np.tile([0.0, 0.0, -9.81], (400, 1))
    still = {Sensor.GYRO: (t, np.zeros_like(flat))}
    assert list(found({Sensor.ACC: (t, flat), **still})) == ["sign-turned"]
    righted = np.where(t[:, None] < 5, flat, -flat)  # the phone lay on its face, and was turned over
    assert "sign-turned" not in found({Sensor.ACC: (t, righted), **still})


def test_gyroscope_turned_and_axes_of_another_frame() -> None:
    assert list(found(both(gyro=-GYRO))) == ["gyroscope-turned"]
    other = GYRO[:, [1, 0, 2]] * [1, -1, 1]
    seen = found(both(gyro=other))
    assert list(seen) == ["axes-differ"]
    assert "(-y, x, z)" in seen["axes-differ"].words


def test_rate_too_low_says_the_models_rate() -> None:
    slow = {Sensor.ACC: (TIMES[::4], ACC[::4]), Sensor.GYRO: (TIMES[::4], GYRO[::4])}
    seen = found(slow)
    assert "12.5 readings a second come, and the model reads 50" in seen["rate-too-low"].words
    assert "rate-too-low" not in found(slow, Needs())


def test_a_gyroscope_that_does_not_come_is_missed_only_by_a_model_that_reads_it() -> None:
    assert list(found({Sensor.ACC: (TIMES, ACC)})) == ["gyroscope-missing"]
    assert found({Sensor.ACC: (TIMES, ACC)}, Needs(50.0)) == {}
