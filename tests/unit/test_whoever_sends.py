"""Whoever sends gets labels, or is told why: what devices in the field do, at the level of sessions."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
from msgspec.structs import replace

from disc_stream.errors import StreamMismatchError
from disc_stream.stream.problems import ProblemBook
from disc_stream.stream.rules import Rules
from disc_stream.stream.sessions import Sessions
from disc_stream.stream.values import ReadyInput
from disc_stream.types import Channel, SampleBatch
from tests.support.device import make_batch
from tests.support.stream import SPEC, new_sessions
from tests.support.tiny_bundle import CHANNELS, FS

RULES = Rules(reorder=32, reorder_s=5.0)
START_US = 1_700_000_000_000_000
N = 50  # samples in a batch: a second


class Stream:
    """Feeds sessions a message at a time, each when it arrives."""

    def __init__(self, **settings: object) -> None:
        self.problems = ProblemBook()
        self.sessions: Sessions = new_sessions(rules=RULES, problems=self.problems, **settings)  # type: ignore[arg-type]
        self.found: list[ReadyInput] = []
        self._now_us = START_US

    def send(self, *batches: SampleBatch, every_s: float = 1.0) -> Stream:
        for batch in batches:
            self._now_us += round(every_s * 1e6)
            self.found += self.sessions.advance(self._now_us)
            self.found += self.sessions.push(batch, self._now_us) or []
        return self

    def wait(self, seconds: int) -> Stream:
        for _ in range(seconds):
            self._now_us += 1_000_000
            self.found += self.sessions.advance(self._now_us)
        return self

    @property
    def problem(self) -> str | None:
        shown = self.problems.of("watch")
        return None if shown is None else shown.code


def second(n: int, *, seq: int | None = None, boot: int = 1, step_s: float = 1.0) -> SampleBatch:
    """The n-th second of a recording whose samples are numbered."""
    numbers = np.arange(n * N, (n + 1) * N, dtype=np.float32)
    batch = make_batch("watch", n if seq is None else seq, np.tile(numbers[:, None], (1, 3)), boot=boot)
    return replace(batch, t0_us=round(n * step_s * 1e6))


def covered(found: list[ReadyInput]) -> list[float]:
    """The first sample's number of each window."""
    return [float(one.samples[0, 0]) for one in found]


WINDOWS_A_SECOND = N / SPEC.hop


# -- boots --------------------------------------------------------------------------------------------------


def test_one_message_of_another_boot_changes_nothing() -> None:
    plain = Stream().send(*(second(n) for n in range(8)))
    stream = Stream().send(
        *(second(n) for n in range(4)), second(0, boot=9), *(second(n) for n in range(4, 8))
    )
    assert covered(stream.wait(10).found) == covered(plain.found)
    assert stream.sessions.counts.stray == 1
    assert stream.sessions.counts.boots == 1


def test_a_restart_is_believed_at_once_after_silence_and_with_the_second_batch_otherwise() -> None:
    stream = Stream().send(second(0), second(1)).wait(6).send(second(0, boot=2))
    assert {one.boot for one in stream.found} == {1, 2}
    stream = Stream().send(second(0), second(1), second(0, boot=2))
    assert {one.boot for one in stream.found} == {1}
    stream.send(second(1, boot=2))
    boots = [one.boot for one in stream.found]
    assert boots == sorted(boots)
    assert boots.count(2) == 2 * N // SPEC.hop, "nothing of its first batch is lost"


@pytest.mark.parametrize("after_s", [1.0, 0.0])
def test_a_boot_that_sends_one_batch_and_falls_silent_is_believed_in_the_end(after_s: float) -> None:
    stream = Stream().send(second(0), second(1)).send(second(0, boot=2), every_s=after_s)
    assert len(stream.wait(4).found) == 2 * N // SPEC.hop
    assert stream.wait(2).found[-1].boot == 2


def batches_until_believed(stream: Stream, boot: int, first: int) -> int:
    """How many batches of a boot, one a second, it takes until its windows come."""
    before = stream.sessions.counts.boots
    for n in range(first, first + 100):
        stream.send(second(n, boot=boot))
        if stream.sessions.counts.boots > before:
            return n + 1 - first
    raise AssertionError(f"boot {boot} is never believed")


def test_a_boot_proves_itself_by_two_batches_and_each_return_takes_twice_as_many() -> None:
    stream = Stream().send(*(second(n) for n in range(4)))
    assert batches_until_believed(stream, boot=2, first=0) == 2
    assert batches_until_believed(stream, boot=1, first=4) == 4, "it was left, so it is doubted"
    assert batches_until_believed(stream, boot=2, first=2) == 8
    assert batches_until_believed(stream, boot=1, first=8) == 16
    assert batches_until_believed(stream, boot=3, first=0) == 2 << 3


def test_a_boot_that_was_left_is_returned_to_with_its_numbers() -> None:
    stream = Stream().send(second(0), second(1)).wait(6).send(second(0, boot=9))  # a stray one, believed
    stream.send(*(second(n) for n in range(2, 9)))
    assert [one.boot for one in stream.found][-1] == 1
    windows = [one.window for one in stream.found if one.boot == 1]
    assert windows == list(range(len(windows))), "window numbers are never given twice"
    segments = [(one.boot, one.segment) for one in stream.found]
    assert [one for one, _ in groupby(segments)] == [(1, 0), (9, 1), (1, 2)], "nor are those of stretches"
    assert covered([one for one in stream.found if one.boot == 1])[-1] >= 8 * N
    assert stream.send(second(1)).sessions.counts.duplicates == 1


def test_two_senders_under_one_id_are_named_and_one_of_them_is_labelled() -> None:
    stream = Stream()
    for n in range(8):
        stream.send(second(n, boot=1), second(n, boot=2), every_s=0.5)
    assert stream.problem == "two-senders"
    problem = stream.problems.of("watch")
    assert problem is not None
    assert "boot 1 is labelled and boot 2 is not" in problem.words
    assert {one.boot for one in stream.found} == {1}
    assert covered(stream.found)[-1] >= 7 * N


def test_a_boot_that_changes_with_each_message_is_named() -> None:
    stream = Stream()
    for n in range(12):
        stream.send(second(n, seq=0, boot=100 + n))
    assert stream.problem == "boot-changes"
    for n in range(12, 15):
        stream.send(second(n, boot=500))
    assert stream.problem is None


# -- numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number", [lambda n: n * N, lambda _n: 0, lambda n: n * 7], ids=["samples", "zero", "by 7"]
)
def test_numbers_that_do_not_count_batches_are_told_and_times_order_the_batches(number) -> None:  # type: ignore[no-untyped-def]
    stream = Stream().send(*(second(n, seq=number(n)) for n in range(12)))
    assert stream.problem == "seq-unusable"
    starts = covered(stream.found)
    assert starts == sorted(starts)
    assert len(starts) >= 9 * WINDOWS_A_SECOND - 1
    assert starts[-1] >= 11 * N
    before = len(stream.found)
    assert len(stream.send(second(11, seq=number(11))).found) == before, "a repetition is known by its time"


def test_batches_that_change_places_wait_for_one_another_and_are_counted() -> None:
    stream = Stream().send(*(second(n) for n in (0, 2, 3, 1, 5, 4)))
    assert covered(stream.found) == [n * SPEC.hop for n in range(len(stream.found))]
    counts = stream.sessions.counts
    assert (counts.reordered, counts.missing, counts.late) == (3, 0, 0)


def test_lost_batches_do_not_make_numbers_unusable() -> None:
    kept = [n for n in range(60) if n % 3]
    stream = Stream().send(*(second(n) for n in kept)).wait(6)
    assert stream.problem is None
    assert stream.sessions.counts.missing == len([n for n in range(1, kept[-1]) if n not in kept])


# -- rates --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("real", "declared"), [(25.0, 50.0), (100.0, 50.0), (50.0, 100.0)])
def test_a_rate_that_is_declared_wrong_is_measured_used_and_told(real: float, declared: float) -> None:
    batches = [replace(second(n, step_s=N / real), fs=declared) for n in range(16)]
    stream = Stream().send(*batches, every_s=N / real)
    assert stream.problem == "rate-differs"
    last = stream.found[-1]
    spacing = np.diff(last.samples[:, 0])
    np.testing.assert_allclose(spacing, real / FS, rtol=0.02, err_msg="windows are of the model's rate")
    steps = np.diff([one.t0_us for one in stream.found[-10:]])
    np.testing.assert_allclose(steps, SPEC.hop * 1e6 / FS, rtol=0.02)


def test_a_rate_that_varies_a_little_is_one_rate() -> None:
    random = np.random.default_rng(0)
    batches = [replace(second(n), fs=FS * random.uniform(0.988, 1.012)) for n in range(30)]
    stream = Stream().send(*batches)
    assert stream.problem is None
    assert len(stream.found) == 30 * N // SPEC.hop
    assert len({one.segment for one in stream.found}) == 1


# -- sensors in messages of their own -----------------------------------------------------------------------

SIX = (
    *(Channel(f"acc_{axis}", "m/s2") for axis in "xyz"),
    *(Channel(f"gyro_{axis}", "rad/s") for axis in "xyz"),
)


def parts(n: int, *, numbered: str) -> list[SampleBatch]:
    """Accelerometer and gyroscope of a second, in two messages."""
    whole = np.hstack([second(n).samples, -second(n).samples])
    seqs = {"together": (2 * n, 2 * n + 1), "apart": (n, n)}[numbered]
    return [
        SampleBatch("watch", 1, seqs[0], n * 1_000_000, FS, SIX[:3], whole[:, :3]),
        SampleBatch("watch", 1, seqs[1], n * 1_000_000, FS, SIX[3:], whole[:, 3:]),
    ]


@pytest.mark.parametrize("numbered", ["together", "apart"])
def test_sensors_in_messages_of_their_own_are_joined_by_time(numbered: str) -> None:
    stream = Stream(channels=SIX)
    for n in range(6):
        stream.send(*parts(n, numbered=numbered), every_s=0.5)
    assert len(stream.found) >= 5 * WINDOWS_A_SECOND
    for one in stream.found:
        np.testing.assert_allclose(one.samples[:, :3], -one.samples[:, 3:], rtol=1e-6)
    assert covered(stream.found) == [n * SPEC.hop for n in range(len(stream.found))]
    assert stream.problem is None


def test_a_sensor_that_never_comes_is_named() -> None:
    stream = Stream(channels=SIX)
    acceleration = [parts(n, numbered="apart")[0] for n in range(20)]
    with pytest.raises(StreamMismatchError, match="gyro_x, gyro_y, gyro_z, too; they have not come for 10 s"):
        stream.send(*acceleration)
    assert stream.found == []


# -- devices without windows --------------------------------------------------------------------------------


def test_a_device_whose_batches_never_make_a_window_is_told_why() -> None:
    short = [make_batch("watch", n, np.zeros((2, 3), dtype=np.float32), start=n * 100) for n in range(60)]
    stream = Stream().send(*short, every_s=2.0)
    assert stream.found == []
    problem = stream.problems.of("watch")
    assert problem is not None
    assert problem.code == "no-window"
    assert "samples are missing between its batches" in problem.words
    stream.send(*(second(200 + n, seq=60 + n) for n in range(3)))
    assert stream.found
    assert stream.problem is None


@pytest.mark.parametrize(("samples", "batches"), [(1, 16), (2, 8), (3, 8)])
def test_it_is_told_after_eight_batches_and_the_samples_of_four_windows(samples: int, batches: int) -> None:
    short = [
        make_batch("watch", n, np.zeros((samples, 3), dtype=np.float32), start=n * 100) for n in range(16)
    ]
    stream = Stream().send(*short[: batches - 1], every_s=2.0)
    assert stream.problem is None
    assert stream.send(short[batches - 1], every_s=2.0).problem == "no-window"


def test_small_batches_are_no_problem() -> None:
    small = [make_batch("watch", n, np.zeros((1, 3), dtype=np.float32)) for n in range(200)]
    stream = Stream().send(*small, every_s=1 / FS)
    assert stream.problem is None
    assert len(stream.found) == 200 // SPEC.hop


def test_channels_in_another_order_each_time_are_put_in_order() -> None:
    swapped = (CHANNELS[2], CHANNELS[0], CHANNELS[1])
    plain = [second(n) for n in range(6)]
    plain = [replace(one, samples=one.samples * np.array([1, 2, 3], dtype=np.float32)) for one in plain]
    mixed = [
        replace(one, channels=swapped, samples=one.samples[:, [2, 0, 1]]) if n % 2 else one
        for n, one in enumerate(plain)
    ]
    straight, turned = Stream().send(*plain), Stream().send(*mixed)
    assert [one.samples.tolist() for one in turned.found] == [one.samples.tolist() for one in straight.found]
