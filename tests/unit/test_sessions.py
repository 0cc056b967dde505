"""Sessions: order, gaps, boots, layouts and exact times."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from msgspec.structs import replace

from disc_stream.errors import StreamMismatchError
from disc_stream.signal.resampling import resample
from disc_stream.stream.layout import fit_layout
from disc_stream.stream.problems import ProblemBook
from disc_stream.stream.sessions import Residence, Sessions
from disc_stream.stream.smoothing import FilterSpec, Smoother
from disc_stream.stream.values import ReadyInput
from disc_stream.types import Channel, SampleBatch
from disc_stream_server.shards import virtual_shard
from tests.support.clusters import THREE
from tests.support.device import constant, make_batch
from tests.support.stream import new_sessions
from tests.support.tiny_bundle import CHANNELS, FS

G = 9.80665
GYRO = (Channel("gyro_x", "rad/s"), Channel("gyro_y", "rad/s"))


def four(seq: int, **where: int) -> SampleBatch:
    """Four samples: exactly one input."""
    return make_batch("watch", seq, constant((seq, 0, 0), 4), **where)


def push(sessions: Sessions, *batches: SampleBatch) -> list[ReadyInput]:
    return [ready for batch in batches for ready in sessions.push(batch) or []]


def test_repeated_and_late_batches_are_told_apart() -> None:
    # arrives   0  1  1  4  2  0
    #           .  .  dup   late dup       (2 and 3 were counted as missing when 4 came)
    sessions = new_sessions()
    found = push(sessions, four(0), four(1), four(1), four(4), four(2), four(0))
    assert [ready.seq for ready in found] == [0, 1, 4]
    counts = sessions.counts
    assert (counts.gaps, counts.missing, counts.duplicates, counts.late) == (1, 2, 2, 1)


def test_windows_are_numbered_on_across_a_gap_in_a_new_segment() -> None:
    sessions = new_sessions()
    before, after, last = push(sessions, four(0), four(2), four(3))
    assert [ready.window for ready in (before, after, last)] == [0, 1, 2]
    assert before.segment != after.segment == last.segment


def test_an_unfinished_input_is_given_up_at_a_gap() -> None:
    sessions = new_sessions()
    three = make_batch("watch", 0, constant((1, 1, 1), 3))
    assert push(sessions, three) == []
    (ready,) = push(sessions, make_batch("watch", 2, constant((2, 2, 2), 4), start=6))
    assert (ready.samples == 2).all()
    assert ready.t0_us == 120_000


def test_a_new_boot_is_believed_with_its_second_batch_and_loses_nothing() -> None:
    # arrives   7/5  3/0   7/6   3/1  3/2       boot/seq
    #            .   held   .    held both believed
    sessions = new_sessions()
    found = push(
        sessions, four(5, boot=7), four(0, boot=3), four(6, boot=7), four(1, boot=3), four(2, boot=3)
    )
    assert [(ready.boot, ready.window, ready.seq) for ready in found] == [
        (7, 0, 5), (7, 1, 6), (3, 0, 0), (3, 1, 1), (3, 2, 2),
    ]  # fmt: skip
    assert push(sessions, four(5, boot=7)) == [], "it has been seen"
    assert sessions.counts.late == 1
    assert sessions.counts.gaps == 0, "where a boot is joined is no gap"


def test_the_sequence_number_wraps() -> None:
    sessions = new_sessions()
    found = push(
        sessions, four(2**32 - 2, start=0), four(2**32 - 1, start=4), four(0, start=8), four(1, start=12)
    )
    assert [ready.window for ready in found] == [0, 1, 2, 3]
    assert sessions.counts.gaps == sessions.counts.duplicates == 0
    push(sessions, four(2**32 - 1, start=4), four(3, start=20))
    assert (sessions.counts.duplicates, sessions.counts.missing) == (1, 1)


def test_times_come_from_the_batch_that_brought_the_first_sample() -> None:
    # The device's clock runs 1 % fast against its rate: every batch of 3 says so.
    # samples  0 1 2 | 3 4 5 | 6 7 8
    # inputs   |------|------|              t0 of the second: batch 1's t0 plus one sample
    sessions = new_sessions()
    batches = [
        SampleBatch("watch", 1, seq, seq * 60_600, FS, CHANNELS, constant((0, 0, 0), 3)) for seq in range(3)
    ]
    first, second = push(sessions, *batches)
    assert first.t0_us == 0
    assert second.t0_us == 60_600 + 20_000
    assert (first.seq, second.seq) == (1, 2)


def test_times_are_rounded_once_where_a_sample_takes_no_whole_microseconds() -> None:
    sessions = new_sessions(fs=98.0)
    samples = constant((0, 0, 0), 400)
    found = push(sessions, SampleBatch("watch", 1, 0, 0, 98.0, CHANNELS, samples))
    assert [ready.t0_us for ready in found] == [round(4 * k * 1e6 / 98) for k in range(100)]


def test_channels_are_found_by_name_scaled_and_converted() -> None:
    sessions = new_sessions()
    channels = (
        Channel("gyro_x", "deg/s"),
        Channel("acc_z", "mg"),
        Channel("acc_x", "g", scale=0.5),
        Channel("acc_y", "m/s2"),
    )
    counts = np.tile(np.array([99, 1000, 4, 3], dtype=np.int16), (4, 1))
    (ready,) = push(sessions, make_batch("watch", 0, counts, channels=channels))
    np.testing.assert_allclose(ready.samples[0], [2 * G, 3.0, G], rtol=1e-6)
    assert ready.samples.dtype == np.float32


def test_a_stream_that_fits_is_passed_on_unchanged() -> None:
    samples = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    (ready,) = push(new_sessions(), make_batch("watch", 0, samples))
    np.testing.assert_array_equal(ready.samples, samples)


def test_channels_in_another_order_go_on_in_the_same_window() -> None:
    sessions = new_sessions()
    swapped = (CHANNELS[1], CHANNELS[0], CHANNELS[2])
    found = push(
        sessions,
        make_batch("watch", 0, constant((5, 6, 7), 2)),
        make_batch("watch", 1, constant((6, 5, 7), 4), start=2, channels=swapped),
        make_batch("watch", 2, constant((5, 6, 7), 2), start=6),
    )
    assert [ready.samples.tolist() for ready in found] == [[[5, 6, 7]] * 4] * 2


@pytest.mark.parametrize(
    ("batch", "reason", "says"),
    [
        (make_batch("watch", 1, constant((0, 0, 0), 4), fs=10.0), "rate", "17.5 to 3200 can be converted"),
        (
            make_batch("watch", 1, constant((0, 0), 4), channels=GYRO),
            "channels",
            "needs channels acc_x, acc_y, acc_z; the stream has gyro_x, gyro_y",
        ),
        (
            make_batch(
                "watch", 1, constant((0, 0, 0), 4), channels=(*CHANNELS[:2], Channel("acc_z", "deg/s"))
            ),
            "units",
            "channel acc_z: 'deg/s' measures angular rate",
        ),
        (
            make_batch(
                "watch", 1, constant((0, 0, 0), 4), channels=(*CHANNELS[:2], Channel("acc_z", "furlong"))
            ),
            "units",
            "channel acc_z: unit 'furlong' is not known",
        ),
    ],
)
def test_a_stream_that_does_not_fit_is_refused_and_counts_as_missing(
    batch: SampleBatch, reason: str, says: str
) -> None:
    sessions = new_sessions()
    push(sessions, four(0))
    with pytest.raises(StreamMismatchError) as caught:
        sessions.push(batch)
    assert caught.value.reason == reason
    assert says in str(caught.value)
    (ready,) = push(sessions, four(2))
    assert ready.window == 1
    assert sessions.counts.missing == 1


def test_a_rate_within_one_percent_is_taken_as_it_is_and_others_are_converted() -> None:
    rng = np.random.default_rng(1)
    for fs, converted in ((49.6, False), (100.0, True), (32.0, True)):
        sessions = new_sessions()
        n = round(fs)
        samples = rng.normal(size=(4 * n, 3)).astype(np.float32)
        batches = [
            make_batch("watch", seq, samples[seq * n : (seq + 1) * n], fs=fs, start=seq * n)
            for seq in range(4)
        ]
        found = push(sessions, *batches)
        expected = resample(samples, fs, FS) if converted else samples
        for ready in found:
            start = 4 * ready.window
            np.testing.assert_array_equal(ready.samples, expected[start : start + 4])
            rate = FS if converted else fs
            assert ready.t0_us == pytest.approx(start * 1e6 / rate, abs=1)
        assert len(found) >= (4 * n * (FS / fs if converted else 1) - 30) // 4


def test_a_doubled_channel_is_refused() -> None:
    with pytest.raises(StreamMismatchError, match="comes twice"):
        fit_layout((*CHANNELS, CHANNELS[0]), CHANNELS)


def test_devices_do_not_disturb_each_other() -> None:
    sessions = new_sessions()
    half = {name: make_batch(name, 0, constant((i, 0, 0), 2)) for i, name in enumerate("ab")}
    rest = {name: make_batch(name, 1, constant((i, 0, 0), 2)) for i, name in enumerate("ab")}
    found = push(sessions, half["a"], half["b"], rest["b"], rest["a"])
    assert [(ready.device, ready.samples[0, 0]) for ready in found] == [("b", 1), ("a", 0)]


def test_the_device_that_is_silent_for_longest_is_forgotten_first() -> None:
    sessions = new_sessions(residence=Residence(max_devices=2))
    half = constant((0, 0, 0), 2)
    for name in ("a", "b", "a", "c"):  # b is silent for longest when c comes
        sessions.push(make_batch(name, 0, half))
    assert len(sessions) == 2
    assert sessions.evicted == 1
    assert push(sessions, make_batch("a", 1, half)), "a was kept, with its half input"
    assert push(sessions, make_batch("b", 1, half)), "b is restored, with its half input"
    assert sessions.restored == 1
    assert len(sessions) == 2


def test_a_device_that_re_uses_its_boot_id_is_told_so() -> None:
    problems = ProblemBook()
    sessions = new_sessions(problems=problems)
    push(sessions, four(1000))
    push(sessions, *(four(seq) for seq in range(30)))
    problem = problems.of("watch")
    assert problem is not None
    assert (problem.code, problem.count) == ("repeats", 11)
    assert "new boot id after a restart" in problem.remedy
    push(sessions, four(1001))
    assert problems.of("watch") is None


def test_smoothing_goes_by_device_and_starts_anew_after_a_gap() -> None:
    sure, unsure = np.array([0.9, 0.05, 0.05]), np.array([0.3, 0.4, 0.3])
    sessions, smoother = new_sessions(), Smoother(FilterSpec(THREE))
    first, second, after_gap = push(sessions, four(0), four(1), four(3))
    (other,) = push(sessions, make_batch("other", 0, constant((0, 0, 0), 4)))
    q = np.array([sure, unsure, unsure, unsure])
    together = smoother.smooth([first, other, second, after_gap], q)
    assert together[0].argmax() == 0
    assert together[1].argmax() == 1, "the first device's past says nothing here"
    assert together[2].argmax() == 0, "one unsure window does not end an activity"
    np.testing.assert_allclose(together[3], unsure)


def test_smoothing_many_windows_at_once_is_smoothing_them_one_by_one() -> None:
    """A device that reboots within a chunk included: its filter belongs to one boot."""
    q = np.random.default_rng(2).dirichlet(np.ones(3), 60)
    batches = [make_batch(name, seq, constant((seq, 0, 0), 4)) for seq in (0, 1, 3) for name in "abcd"]
    batches += [make_batch("a", seq, constant((seq, 0, 0), 4), boot=2) for seq in range(3)]
    found = push(new_sessions(), *batches)
    assert {ready.boot for ready in found} == {1, 2}
    rows = q[: len(found)]
    one_by_one, at_once = Smoother(FilterSpec(THREE)), Smoother(FilterSpec(THREE))
    expected = [one_by_one.smooth([ready], row[None])[0] for ready, row in zip(found, rows, strict=True)]
    np.testing.assert_allclose(at_once.smooth(found, rows), expected, rtol=1e-12)


def test_a_filter_of_one_model_does_not_go_on_under_another_of_the_same_shape() -> None:
    found = push(new_sessions(), four(0), four(1))
    first = Smoother(FilterSpec(THREE, model="one"))
    first.smooth(found[:1], np.array([[0.9, 0.05, 0.05]]))
    disk = first.capture()
    unsure = np.array([[0.3, 0.4, 0.3]])
    assert (
        Smoother(FilterSpec(THREE, model="one"), archive=disk.get).smooth(found[1:], unsure)[0].argmax() == 0
    )
    assert (
        Smoother(FilterSpec(THREE, model="two"), archive=disk.get).smooth(found[1:], unsure)[0].argmax() == 1
    )


def test_no_clock_however_mad_makes_times_that_do_not_fit_into_64_bits() -> None:
    # Near 2^63 and one further each second: those are seconds, so the time is near 2^83 microseconds.
    sessions, now_us, found = new_sessions(), 1_700_000_000_000_000, []
    for seq in range(30):
        batch = replace(make_batch("watch", seq, constant((1, 1, 1), 50)), t0_us=2**63 - 1000 + seq)
        found += sessions.push(batch, now_us + seq * 1_000_000) or []
    assert sessions.counts.clock_faults["future"]
    assert len(found) > 300
    for ready in found:
        struct.pack("<qq", ready.t0_us + 10**12, ready.t0_unix_us or 0)


def test_virtual_shards_are_the_same_in_every_process() -> None:
    assert [virtual_shard(name) for name in ("watch-1", "watch-2", "hapt-exp01-user01")] == [139, 49, 178]
