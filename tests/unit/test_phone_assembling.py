"""Readings at the times that a phone took them become equally spaced samples, and nothing is made up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disc_stream.errors import PayloadError
from disc_stream.types import SampleBatch
from disc_stream_edge.phones.assembling import Assembler, batches_of
from disc_stream_edge.phones.readings import PhoneMessage, Sensor
from tests.support.phones import FILES, readings


def ramp(times: np.ndarray) -> np.ndarray:
    return np.stack([times, 2 * times, 9.81 - times], axis=1)


def rows_of(batches: list[SampleBatch]) -> tuple[np.ndarray, np.ndarray]:
    """Times in seconds and samples of all batches."""
    times = [b.t0_us / 1e6 + np.arange(len(b.samples)) / b.fs for b in batches]
    return np.concatenate(times), np.concatenate([b.samples for b in batches])


def in_parts(message: PhoneMessage, n: int) -> list[PhoneMessage]:
    (one,) = message.readings
    return [
        PhoneMessage((replace(one, times_ns=one.times_ns[i : i + n], values=one.values[i : i + n]),))
        for i in range(0, len(one.times_ns), n)
    ]


@settings(max_examples=40, deadline=None)
@given(fs=st.floats(5, 400), seed=st.integers(0, 99), size=st.integers(1, 60))
def test_samples_lie_on_the_line_between_readings_whatever_the_jitter(
    fs: float, seed: int, size: int
) -> None:
    jitter = np.random.default_rng(seed).uniform(-0.3, 0.3, round(3 * fs))
    times = 100 + (np.arange(round(3 * fs)) + jitter) / fs
    batches = batches_of(in_parts(readings(Sensor.ACC, times, ramp(times)), size), "p")
    at, rows = rows_of(batches)
    assert rows == pytest.approx(ramp(at), abs=1e-4)
    steps = np.diff(at)
    assert steps == pytest.approx(np.full(len(steps), 1 / batches[0].fs), abs=3e-6)
    assert batches[0].fs == pytest.approx(fs, rel=0.06)


def test_a_pause_is_a_gap_and_not_a_line() -> None:
    times = np.concatenate([np.arange(100) / 50, 5 + np.arange(100) / 50])
    batches = batches_of([readings(Sensor.ACC, times, ramp(times))], "p")
    at, _ = rows_of(batches)
    assert not np.any((at > 2.0) & (at < 5.0))
    assert 5.0 in at.round(6)


def test_readings_that_come_twice_or_late_are_left_out_and_counted() -> None:
    times = np.arange(200) / 50
    assembler = Assembler("p", 0)
    first, second = in_parts(readings(Sensor.ACC, times, ramp(times)), 100)
    batches = [b for message in (first, first, second) for b in assembler.push(message)]
    at, rows = rows_of(batches)
    assert assembler.late == 100
    assert rows == pytest.approx(ramp(at), abs=1e-4)


def test_numbered_messages_are_put_into_their_order() -> None:
    times = np.arange(300) / 50
    parts = in_parts(readings(Sensor.ACC, times, ramp(times)), 50)
    numbered = [replace(part, number=n, session="s") for n, part in enumerate(parts)]
    assembler = Assembler("p", 0)
    mixed = [numbered[i] for i in (0, 2, 1, 4, 3, 5)]
    at, rows = rows_of([b for message in mixed for b in assembler.push(message)])
    assert assembler.late == 0
    assert rows == pytest.approx(ramp(at), abs=1e-4)
    assert len(at) > 290


def test_a_message_that_never_comes_holds_up_four_others_at_most() -> None:
    times = np.arange(500) / 50
    parts = in_parts(readings(Sensor.ACC, times, ramp(times)), 50)
    numbered = [replace(part, number=n, session="s") for n, part in enumerate(parts)]
    assembler = Assembler("p", 0)
    at, _ = rows_of([b for message in numbered[:1] + numbered[2:] for b in assembler.push(message)])
    assert not np.any((at > 1.0) & (at < 1.99))
    assert at[-1] > 9.5


def test_gravity_is_added_where_it_was_measured_and_never_guessed() -> None:
    times = np.arange(150) / 50
    linear = readings(Sensor.LINEAR, times, np.zeros((150, 3)))
    gravity = readings(Sensor.GRAVITY, times[:100:2], ramp(times[:100:2]))
    assert batches_of([linear], "p") == []
    at, rows = rows_of(batches_of([linear, gravity], "p"))
    assert rows == pytest.approx(ramp(at), abs=1e-4)
    assert at[-1] <= times[98]


def test_a_clock_that_was_set_back_begins_anew() -> None:
    late, early = 1000 + np.arange(100) / 50, 10 + np.arange(100) / 50
    messages = [readings(Sensor.ACC, times, ramp(times)) for times in (late, early)]
    at, rows = rows_of(batches_of(messages, "p"))
    assert np.sum(at < 500) > 90
    assert rows == pytest.approx(ramp(at), abs=1e-3)


def test_a_rate_that_changes_is_declared() -> None:
    times = np.concatenate([np.arange(200) / 100, 2 + np.arange(400) / 25])
    batches = batches_of(in_parts(readings(Sensor.ACC, times, ramp(times)), 20), "p")
    assert batches[0].fs == 100
    assert batches[-1].fs == pytest.approx(25, abs=1)


def test_only_wanted_sensors_are_published() -> None:
    times = np.arange(100) / 50
    assembler = Assembler("p", 0)
    assert assembler.push(readings(Sensor.GYRO, times, ramp(times)), [Sensor.ACC]) == []
    assert assembler.push(readings(Sensor.ACC, times, ramp(times)), [Sensor.ACC])


@settings(max_examples=150, deadline=None)
@given(
    read=st.sampled_from([read for _, read in FILES.values()]),
    message=st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from(
                        ["payload", "name", "time", "values", "x", "type", "accX", "accTime", "clock"]
                    ),
                    inner,
                )
            ),
            max_leaves=12,
        ),
    ),
)
def test_whatever_comes_is_read_or_refused(read: object, message: object) -> None:
    import json

    payload = message if isinstance(message, bytes) else json.dumps(message).encode()
    try:
        found = read(payload)  # type: ignore[operator]
    except PayloadError:
        return
    batches_of([found, found], "p")
