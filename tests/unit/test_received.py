"""How a device's samples come: what is told of rate and gaps."""

from __future__ import annotations

import numpy as np

from disc_stream.types import Channel, SampleBatch
from disc_stream_server.api.live.received import Received

CHANNELS = (Channel("acc_x", "g"),)
SAMPLES = np.zeros((50, 1), dtype=np.float32)


def batch(seq: int, *, boot: int = 1, fs: float = 50.0, real: float = 50.0) -> SampleBatch:
    return SampleBatch("d", boot, seq, round(seq * 50e6 / real), fs, CHANNELS, SAMPLES)


def taken(*batches: SampleBatch) -> Received:
    received = Received()
    for one in batches:
        received.take(one)
    return received


def test_the_rate_is_that_of_the_devices_clock() -> None:
    received = taken(*(batch(seq, real=48.5) for seq in range(100)))
    assert received.measured is not None
    assert abs(received.measured - 48.5) < 0.01
    assert (received.fs, received.gaps, received.messages) == (50.0, 0, 100)
    assert taken(*(batch(seq) for seq in range(4))).measured is None


def test_gaps_are_counted_and_what_comes_late_is_taken_off() -> None:
    received = taken(*(batch(seq) for seq in (0, 1, 4, 5, 6)))
    assert (received.gaps, received.missing) == (1, 2)
    received.take(batch(3))
    assert (received.gaps, received.missing) == (1, 1)
    received.take(batch(2))
    assert (received.gaps, received.missing) == (0, 0)
    received.take(batch(2))
    assert (received.gaps, received.missing) == (0, 0)


def test_a_gap_spoils_no_rate() -> None:
    received = taken(*(batch(seq) for seq in (*range(10), *range(500, 510))))
    assert received.measured is not None
    assert abs(received.measured - 50.0) < 1e-6


def test_another_boot_a_clock_that_stands_and_no_numbers_are_taken_as_they_come() -> None:
    received = taken(batch(7), batch(0, boot=2), batch(1, boot=2))
    assert (received.gaps, received.messages) == (0, 3)
    stands = taken(*(SampleBatch("d", 1, seq, 0, 50.0, CHANNELS, SAMPLES) for seq in range(50)))
    assert stands.measured is None
    unnumbered = taken(*(SampleBatch("d", 1, 0, n * 1_000_000, 50.0, CHANNELS, SAMPLES) for n in range(20)))
    assert unnumbered.gaps == 0
    assert unnumbered.measured == 50.0
