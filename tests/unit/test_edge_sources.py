"""Sources: device clocks, batch numbers and quantisation."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from disc_stream.data.synthetic import MessageLoss, SyntheticWearable, synthetic_recordings
from disc_stream.data.types import Recording
from disc_stream.errors import ConfigError, TopicError
from disc_stream.types import Channel
from disc_stream_edge.sources import FleetMotion, LossySource, ReplaySource, synthetic_fleet

FS = 100 / 3  # a rate whose period is no whole number of microseconds


@pytest.fixture(scope="module")
def recording() -> Recording:
    return synthetic_recordings(1, 30, seed=1, fs=FS)[0]


def test_a_replay_is_the_recording(recording: Recording) -> None:
    source = ReplaySource(recording)
    batches = list(source.batches(25))
    assert np.concatenate([b.samples for b in batches]).tobytes() == recording.samples.tobytes()
    assert [b.seq for b in batches] == list(range(40))
    assert {(b.device, b.boot, b.fs) for b in batches} == {("wearable-001", 1, FS)}
    assert source.meta.channels == recording.channels


def test_the_replays_clock_is_the_recordings_and_does_not_drift(recording: Recording) -> None:
    for size in (1, 25, 999):
        start = 0
        for batch in ReplaySource(recording).batches(size):
            assert batch.t0_us == round(start * 1e6 / FS)
            start += len(batch.samples)
        assert start == len(recording.samples)


def test_int16_stays_within_half_a_step(recording: Recording) -> None:
    source = ReplaySource(recording, dtype="int16")
    physical = np.concatenate([batch.physical() for batch in source.batches(25)])
    step = np.array([channel.scale for channel in source.meta.channels])
    assert step[0] == pytest.approx(16 / 32767)
    assert (np.abs(physical - recording.samples) <= step * 0.501).all()


def test_int16_saturates(recording: Recording) -> None:
    loud = Recording("loud", 1, 50.0, (Channel("acc_x", "g"),), np.array([[40.0], [-40.0]], np.float32),
                     np.zeros(2, np.int16), ("x",))  # fmt: skip
    (batch,) = ReplaySource(loud, dtype="int16").batches(25)
    assert batch.samples.tolist() == [[32767], [-32767]]
    assert batch.samples.dtype == np.int16


def test_int16_needs_a_unit_with_a_usual_range(recording: Recording) -> None:
    heart = Recording("ecg", 1, 50.0, (Channel("ecg", "mV"),), np.zeros((2, 1), np.float32),
                      np.zeros(2, np.int16), ("x",))  # fmt: skip
    with pytest.raises(ConfigError, match="'ecg' in 'mV'"):
        ReplaySource(heart, dtype="int16")


def test_a_wrong_device_id_is_refused(recording: Recording) -> None:
    with pytest.raises(TopicError):
        ReplaySource(recording, device="a/b")


def test_a_fleet_is_the_synthetic_wearables_on_one_clock() -> None:
    fleet = synthetic_fleet(3, start_us=1_700_000_000_000_000, motion=FleetMotion(4, "mixed"), seconds=2.1)
    assert [source.meta.placement for source in fleet] == ["waist", "pocket", "wrist"]
    assert [source.boot for source in fleet] == [1_700_000_000] * 3
    batches = list(fleet[1].batches(25))
    assert [len(b.samples) for b in batches] == [25, 25, 25, 25, 5]
    assert [b.t0_us - 1_700_000_000_000_000 for b in batches] == [0, 500_000, 1_000_000, 1_500_000, 2_000_000]
    direct, _ = SyntheticWearable("wearable-002", 4, placement="pocket").read(105)
    assert np.concatenate([b.samples for b in batches]).tobytes() == direct.tobytes()


def test_an_endless_fleet_goes_on() -> None:
    (source,) = synthetic_fleet(["watch"], start_us=0, boot=9)
    assert source.total_samples is None
    assert [b.seq for b in islice(source.batches(50), 4)] == [0, 1, 2, 3]
    assert (source.device, source.boot) == ("watch", 9)


def test_a_bad_link_leaves_gaps_in_the_numbers(recording: Recording) -> None:
    lossy = LossySource(ReplaySource(recording), MessageLoss(0.3, seed=1))
    seqs = [batch.seq for batch in lossy.batches(10)]
    assert lossy.dropped > 0
    assert len(seqs) + lossy.dropped == 100
    assert seqs == sorted(set(seqs))
    assert lossy.meta == ReplaySource(recording).meta
