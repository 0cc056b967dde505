"""Whether a device is worn: a sensor on a table, and one that is worn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from disc_stream.signal.nonwear import van_hees_nonwear
from disc_stream.stream.wear import Stillness, WearDetector, WearRule, WearState
from disc_stream.types import Channel

HOP_S = 1.28
CHANNELS = (
    *(Channel(f"acc_{axis}", "g") for axis in "xyz"),
    *(Channel(f"gyro_{axis}", "rad/s") for axis in "xyz"),
)
# Minutes instead of half hours: the arithmetic is the same.
RULE = WearRule(ways=(Stillness(10.0, 60.0), Stillness(50.0, 180.0)), gap_s=10.0)
MINUTE = int(60 / HOP_S)


def table(n: int, seed: int = 0, level: float = 0.0) -> list[np.ndarray]:
    """Windows of a sensor on a table: 3 mg and 4 mrad/s of noise."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 64, 6)) * np.repeat([0.003, 0.004], 3) + [level, 0, 1, 0, 0, 0]
    return list(x.astype(np.float32))


def walking(n: int) -> list[np.ndarray]:
    x = np.stack(table(n, 1))
    x[:, :, 2] += 0.3 * np.sin(2 * np.pi * 1.8 * np.arange(64) / 50)
    return list(x)


def follow(
    windows: Iterable[np.ndarray],
    state: WearState | None = None,
    *,
    start: int = 0,
    boot: int = 1,
    channels: tuple[Channel, ...] = CHANNELS,
) -> list[WearState]:
    detector, states = WearDetector(channels, HOP_S, RULE), []
    for k, samples in enumerate(windows, start):
        state = detector.update(state, boot, round(k * HOP_S * 1e6), samples)
        states.append(state)
    return states


def test_a_sensor_on_a_table_is_not_worn_after_the_stated_time() -> None:
    states = follow([*walking(5), *table(2 * MINUTE)])

    first = next(k for k, state in enumerate(states) if not state.worn)
    assert (first - 5 + 1) * HOP_S == pytest.approx(60, abs=2 * HOP_S)
    assert not any(state.worn for state in states[first:])
    assert states[-1].since_us == round(first * HOP_S * 1e6)


def test_it_is_worn_again_with_the_first_window_that_moves() -> None:
    lying = follow(table(2 * MINUTE))[-1]

    (picked_up,) = follow(walking(1), lying, start=2 * MINUTE)

    assert not lying.worn
    assert picked_up.worn
    assert picked_up.since_us == picked_up.t0_us


def test_a_body_whose_level_creeps_is_not_taken_for_a_table() -> None:
    creeping = [x for k in range(4 * MINUTE) for x in table(1, k, level=0.0006 * k)]  # 28 mg a minute

    assert all(state.worn for state in follow(creeping))


def test_slow_creeping_within_the_published_range_needs_longer() -> None:
    swaying = [x for k in range(5 * MINUTE) for x in table(1, k, level=0.012 * np.sin(k / 9))]

    states = follow(swaying)

    first = next(k for k, state in enumerate(states) if not state.worn)
    assert first * HOP_S == pytest.approx(180, abs=3 * HOP_S)


def test_a_sensor_that_cools_down_stays_not_worn() -> None:
    cooling = [x for k in range(3 * MINUTE) for x in table(1, k, level=0.03 * (1 - np.exp(-k / 30)))]

    states = follow(cooling)

    first = next(k for k, state in enumerate(states) if not state.worn)
    assert not any(state.worn for state in states[first:])


def test_rotation_alone_is_motion() -> None:
    turning = np.stack(table(2 * MINUTE))
    turning[:, :, 3] += 0.1 * np.sin(np.arange(64) / 5)

    assert all(state.worn for state in follow(turning))
    assert not follow(turning[:, :, :3], channels=CHANNELS[:3])[-1].worn


def test_a_boot_and_a_long_gap_begin_anew_and_a_short_gap_is_not_counted() -> None:
    lying = follow(table(2 * MINUTE))[-1]

    assert follow(table(1), lying, start=2 * MINUTE, boot=2)[-1].worn
    assert follow(table(1), lying, start=2 * MINUTE + 20)[-1].worn
    assert not follow(table(1), lying, start=2 * MINUTE + 3)[-1].worn
    half = follow(table(20))[-1]
    (behind,) = follow(table(1), half, start=24)
    assert behind.stretches[0].still_us - half.stretches[0].still_us == round(HOP_S * 1e6)


def test_the_state_is_saved_and_continued_exactly() -> None:
    windows = [*walking(3), *table(2 * MINUTE), *walking(2)]
    whole = follow(windows)

    saved = msgspec.msgpack.encode(whole[40])
    restored = msgspec.msgpack.decode(saved, type=WearState)

    assert restored == whole[40]
    assert follow(windows[41:], restored, start=41) == whole[41:]
    assert len(saved) < 200


def test_units_and_broken_samples() -> None:
    in_si = [x * np.array([9.80665] * 3 + [1] * 3, dtype=np.float32) for x in table(2 * MINUTE)]
    channels = (*(Channel(c.name, "m/s2") for c in CHANNELS[:3]), *CHANNELS[3:])
    assert not follow(in_si, channels=channels)[-1].worn

    normalised = tuple(replace(c, unit="1") for c in CHANNELS)
    assert not WearDetector(normalised, HOP_S).can_tell
    assert follow(table(2 * MINUTE), channels=normalised)[-1].worn

    lying = follow(table(2 * MINUTE))[-1]
    assert follow([np.full((64, 6), np.nan)], lying, start=2 * MINUTE) == [lying]


def test_a_rule_with_other_ways_begins_anew() -> None:
    lying = follow(table(2 * MINUTE))[-1]
    other = WearDetector(CHANNELS, HOP_S, WearRule(ways=(Stillness(50.0, 60.0),)))

    assert other.update(lying, 1, round(2 * MINUTE * HOP_S * 1e6), table(1)[0]).worn


def test_the_published_rule_finds_the_hours_on_a_table() -> None:
    fs, rng = 10.0, np.random.default_rng(0)
    hour = int(3600 * fs)
    lying = 3.0 * rng.standard_normal((2 * hour, 3)) + [0, 0, 1000]
    moving = lying + 200 * np.sin(np.arange(2 * hour) / 3)[:, None]

    found = van_hees_nonwear(np.concatenate([moving, lying, moving]), fs)

    # Blocks whose hour reaches into the motion are not found: one and a half at either end.
    assert found.tolist() == [False] * 10 + [True] * 4 + [False] * 10
