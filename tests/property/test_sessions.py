"""However a device's batches arrive, they give the windows of the ordered stream minus its gaps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from disc_stream.stream.rules import Rules
from disc_stream.stream.saved import load_device
from disc_stream.stream.sessions import PROGRESS, Residence, Sessions
from disc_stream.stream.smoothing import FilterSpec, Smoother
from disc_stream.stream.values import ReadyInput
from disc_stream.types import SampleBatch, WindowSpec
from tests.support import stream as support
from tests.support.clusters import THREE
from tests.support.device import make_batch
from tests.support.stream import SPEC
from tests.support.tiny_bundle import FS

REORDER = 6
RULES = Rules(reorder=REORDER, reorder_s=5.0)


@dataclass(frozen=True)
class Stream:
    """What a device has recorded: its boots, each cut into batches."""

    boots: list[list[SampleBatch]]


@st.composite
def streams(draw: st.DrawFn, device: str = "watch") -> Stream:
    boots = []
    for boot in range(draw(st.integers(1, 3))):
        sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=25))
        numbers = np.arange(sum(sizes), dtype=np.float32) + 1000 * boot
        samples = np.tile(numbers[:, None], (1, 3))
        starts = np.cumsum([0, *sizes])
        boots.append(
            [
                make_batch(device, seq, samples[start : start + size], boot=boot, start=int(start))
                for seq, (start, size) in enumerate(zip(starts, sizes, strict=False))
            ]
        )
    return Stream(boots)


def push_all(sessions: Sessions, batches: list[SampleBatch], *, end: bool = True) -> list[ReadyInput]:
    """Push batches a millisecond apart; at the end, let what waits be given up."""
    found = []
    for number, batch in enumerate(batches):
        found += sessions.advance(number * 1000)
        found += sessions.push(batch, number * 1000, number + 1) or []
    if end:
        found += sessions.advance(len(batches) * 1000 + 6_000_000)
    return found


def facts(ready: list[ReadyInput]) -> list[tuple[str, int, int, int, tuple[float, ...]]]:
    return [(one.device, one.boot, one.window, one.t0_us, tuple(one.samples[:, 0])) for one in ready]


def new_sessions(**settings_: object) -> Sessions:
    return support.new_sessions(**{"rules": RULES, **settings_})  # type: ignore[arg-type]


def expected_of(
    stream: Stream, lost: set[tuple[int, int]]
) -> list[tuple[str, int, int, int, tuple[float, ...]]]:
    """The windows of the ordered stream minus its gaps, one every hop."""
    found = []
    for boot, batches in enumerate(stream.boots):
        window = 0
        runs: list[list[SampleBatch]] = [[]]
        for batch in batches:
            if (boot, batch.seq) in lost:
                runs.append([])
            else:
                runs[-1].append(batch)
        for run in runs:
            samples = np.concatenate([batch.samples for batch in run]) if run else np.empty((0, 3))
            for start in range(0, len(samples) - SPEC.input_samples + 1, SPEC.hop):
                piece = samples[start : start + SPEC.input_samples, 0]
                t0_us = round((float(piece[0]) - 1000 * boot) * 1e6 / FS)
                found.append(("watch", boot, window, t0_us, tuple(piece)))
                window += 1
    return found


@settings(deadline=None)
@given(streams(), st.data())
def test_any_order_repetition_loss_and_restart_gives_the_ordered_stream_minus_the_gaps(
    stream: Stream, data: st.DataObject
) -> None:
    lost: set[tuple[int, int]] = set()
    arrivals: list[SampleBatch] = []
    for boot, batches in enumerate(stream.boots):
        # The first batch of a boot is what joins it; what follows may be lost, come twice, or come early.
        gone = data.draw(st.sets(st.integers(1, max(1, len(batches) - 1)), max_size=5))
        lost |= {(boot, seq) for seq in gone if seq < len(batches)}
        kept = [batch for batch in batches if (boot, batch.seq) not in lost]
        order = sorted(
            range(1, len(kept)), key=lambda n: n + data.draw(st.integers(0, REORDER - 1), label="early by")
        )
        mine = [kept[0], *(kept[n] for n in order)]
        for place in data.draw(st.lists(st.integers(0, len(mine) - 1), max_size=6)):
            mine.insert(data.draw(st.integers(place + 1, len(mine))), mine[place])
        arrivals += mine
    sessions = new_sessions()
    assert facts(push_all(sessions, arrivals)) == expected_of(stream, lost)
    inner = {(b, s) for b, s in lost if s < max(x.seq for x in stream.boots[b] if (b, x.seq) not in lost)}
    assert sessions.counts.missing == len(inner)
    assert sessions.counts.late == sessions.counts.stray == 0


@settings(deadline=None)
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=60), st.integers(0, 59), st.booleans())
def test_a_crash_anywhere_and_a_restart_from_disk_change_nothing(
    names: list[str], at: int, early: bool
) -> None:
    """With batches that wait for a missing one at that moment, too."""
    counts = dict.fromkeys("abc", 0)
    batches = []
    for name in names:
        n = counts[name]
        counts[name] += 1
        batches.append(make_batch(name, n, np.full((3, 3), n, dtype=np.float32)))
    if early and len(batches) > 2:
        batches[1], batches[2] = batches[2], batches[1]
    at = min(at, len(batches))
    expected = push_all(new_sessions(), batches)
    q = quarters(len(expected))
    smoothed = Smoother(FilterSpec(THREE)).smooth(expected, q) if expected else []

    first, smoother = new_sessions(), Smoother(FilterSpec(THREE))
    found = push_all(first, batches[:at], end=False)
    rows = smoother.smooth(found, q[: len(found)]).tolist() if found else []
    disk, filters = first.capture(), smoother.capture()

    second = new_sessions(residence=Residence(sessions=disk.get))
    second.resume(disk[PROGRESS])
    later = []
    for number, batch in enumerate(batches[at:], start=at):
        later += second.advance(number * 1000)
        later += second.push(batch, number * 1000, number + 1) or []
    later += second.advance(len(batches) * 1000 + 6_000_000)
    if later:
        rows += Smoother(FilterSpec(THREE), archive=filters.get).smooth(later, q[len(found) :]).tolist()
    assert facts(found + later) == facts(expected)
    np.testing.assert_allclose(np.array(rows), np.array(smoothed), rtol=1e-12)


def quarters(n: int) -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.ones(3), 200)[:n]


@settings(deadline=None)
@given(st.integers(1, 3), st.lists(st.sampled_from("abcdef"), min_size=1, max_size=80))
def test_devices_that_leave_the_memory_come_back_as_they_were(room: int, names: list[str]) -> None:
    counts = dict.fromkeys("abcdef", 0)
    large, small = new_sessions(), new_sessions(residence=Residence(max_devices=room))
    for number, name in enumerate(names):
        batch = make_batch(name, counts[name], np.full((3, 3), number, dtype=np.float32))
        counts[name] += 1
        assert facts(small.push(batch, number, number) or []) == facts(
            large.push(batch, number, number) or []
        )
        assert len(small) <= room


@given(st.integers(2, 40), st.integers(1, 20))
def test_a_short_gap_is_bridged_by_a_straight_line_and_said(n: int, gap: int) -> None:
    """Each sample holds its own number, so the line across the gap has the numbers that are missing."""
    numbers = np.tile(np.arange(200, dtype=np.float32)[:, None], (1, 3))
    sessions = new_sessions(rules=Rules(bridge_s=10 / FS))
    first = make_batch("watch", 0, numbers[:n], start=0)
    second = make_batch("watch", 2, numbers[n + gap : n + gap + 40], start=n + gap)
    found = [one for batch in (first, second) for one in sessions.push(batch) or []]
    if gap <= 10:
        assert sessions.counts.bridged == 1
        for one in found:
            np.testing.assert_allclose(np.diff(one.samples[:, 0]), 1, atol=1e-3)
            touched = one.samples[-1, 0] >= n - 0.5 and one.samples[0, 0] < n + gap - 0.5
            assert one.bridged == touched
    else:
        assert sessions.counts.bridged == 0
        assert not any(one.bridged for one in found)


def test_a_lone_batch_from_far_away_is_dropped_and_the_stream_goes_on() -> None:
    sessions = new_sessions()
    batches = [make_batch("watch", seq, np.full((4, 3), seq, dtype=np.float32)) for seq in range(40)]
    odd = make_batch("watch", 3_000_000, np.full((4, 3), 99, dtype=np.float32), start=20)
    found = push_all(sessions, [*batches[:5], odd, *batches[5:]])
    assert [one.window for one in found] == list(range(40))
    assert sessions.counts.stray == 1
    assert sessions.counts.late == sessions.counts.gaps == 0


def test_a_clock_that_was_set_back_does_not_make_batches_wait_for_ever() -> None:
    sessions = new_sessions()
    batches = [make_batch("watch", seq, np.full((4, 3), seq, dtype=np.float32)) for seq in range(4)]
    hour = 3_600_000_000
    sessions.advance(hour)
    sessions.push(batches[0], hour)
    assert sessions.push(batches[2], hour) == []
    assert sessions.advance(hour + 1_000_000) == []
    assert sessions.advance(10) == [], "the server's clock was stepped back by an hour: no time has passed"
    assert sessions.advance(10 + 3_900_000) == []
    assert [one.seq for one in sessions.advance(10 + 4_000_000)] == [2], "it has waited for 5 s"


def test_under_another_model_a_device_keeps_its_order_and_begins_new_windows() -> None:
    first = new_sessions()
    batches = [make_batch("watch", seq, np.full((3, 3), seq, dtype=np.float32)) for seq in range(10)]
    push_all(first, batches[:5], end=False)
    disk = first.capture()
    wider = WindowSpec(12, 6, 6)
    second = new_sessions(window=wider, residence=Residence(sessions=disk.get))
    assert second.push(batches[4]) is None, "it has been seen"
    later = [one for batch in batches[5:] for one in second.push(batch) or []]
    assert [one.window for one in later] == [3, 4], "numbers go on, so that no window has two labels"
    np.testing.assert_array_equal(later[0].samples[:, 0], [5, 5, 5, 6, 6, 6])


def test_a_device_that_is_silent_for_long_leaves_the_memory_and_comes_back() -> None:
    disk: dict[str, bytes] = {}
    sessions = new_sessions(rules=Rules(idle_s=60), residence=Residence(sessions=disk.get))
    batches = [make_batch("watch", seq, np.full((3, 3), seq, dtype=np.float32)) for seq in range(3)]
    sessions.advance(1_000_000)
    sessions.push(batches[0], 1_000_000)
    sessions.advance(60_000_000)
    taken = sessions.capture()
    assert len(sessions) == 1
    sessions.advance(62_000_000)
    taken |= sessions.capture()
    assert len(sessions) == 0
    disk |= taken
    sessions.committed(taken)
    found, _ = [one for batch in batches[1:] for one in sessions.push(batch, 63_000_000) or []]
    assert found.samples[:, 0].tolist() == [0, 0, 0, 1]
    assert sessions.restored == 1


@settings(deadline=None)
@given(st.integers(1, 2), st.lists(st.sampled_from("abcd!?"), min_size=5, max_size=60))
def test_what_is_on_disk_is_never_older_than_what_was_there(room: int, steps: list[str]) -> None:
    """Devices that leave and come back between checkpoints (taken at !, written at ?)."""
    disk: dict[str, bytes] = {}
    taken: dict[str, bytes] = {}
    sessions = new_sessions(residence=Residence(room, disk.get))
    counts = dict.fromkeys("abcd", 0)
    seen: dict[str, int] = {}
    for step in [*steps, "!", "?"]:
        if step == "!":
            taken = {**taken, **sessions.capture()}
            taken.pop(PROGRESS)
        elif step == "?":
            disk |= taken
            sessions.committed(taken)
            for name, blob in taken.items():
                next_seq = load_device(blob).order.next_seq
                assert next_seq >= seen.get(name, 0), "an older state was written over a newer one"
                seen[name] = next_seq
            taken = {}
        else:
            sessions.push(make_batch(step, counts[step], np.zeros((3, 3), dtype=np.float32)))
            counts[step] += 1
    for name, n in counts.items():
        if n:
            assert load_device(disk[name]).order.next_seq == n
