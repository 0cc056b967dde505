"""However a device's batches arrive, they give the windows of the ordered stream minus its gaps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from disc_stream.types import SampleBatch, WindowSpec
from disc_stream_server.sessions import Rules, Sessions
from disc_stream_server.sessions.device import Waiting, load_device
from disc_stream_server.shards import ReadyInput
from tests.support.device import make_batch
from tests.support.tiny_bundle import CHANNELS, FS

SPEC = WindowSpec(8, 4, 4)
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
        found += sessions.push(batch, number * 1000, number + 1) or []
        found += sessions.expire(number * 1000)
    if end:
        found += sessions.expire(len(batches) * 1000 + 6_000_000)
    return found


def facts(ready: list[ReadyInput]) -> list[tuple[str, int, int, int, tuple[float, ...]]]:
    return [(one.device, one.boot, one.window, one.t0_us, tuple(one.samples[:, 0])) for one in ready]


def new_sessions(**settings_: object) -> Sessions:
    return Sessions(CHANNELS, FS, SPEC, n_clusters=3, rules=RULES, **settings_)  # type: ignore[arg-type]


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
    whole = new_sessions()
    expected = push_all(whole, batches)
    smoothed = whole.smooth(expected, quarters(len(expected))) if expected else []

    first = new_sessions()
    found = push_all(first, batches[:at], end=False)
    rows = first.smooth(found, quarters(len(found))).tolist() if found else []
    disk = first.changes()

    class Disk:
        def session(self, device: str) -> bytes | None:
            return disk.get(device)

        def waiting(self, positions: list[int]) -> list[Waiting]:
            return [Waiting(batches[n - 1], n, (n - 1) * 1000) for n in positions]

    second = new_sessions(archive=Disk())
    later = []
    for number, batch in enumerate(batches[at:], start=at):
        later += second.push(batch, number * 1000, number + 1) or []
    for name in "abc":  # whoever is not heard again still has batches that wait
        second._find(name)
    later += second.expire(len(batches) * 1000 + 6_000_000)
    if later:
        rows += second.smooth(later, quarters(len(expected))[len(found) :]).tolist()
    assert sorted(facts(found + later)) == sorted(facts(expected))
    by_window = {(one.device, one.window): row for one, row in zip(found + later, rows, strict=True)}
    if [facts([one]) for one in found + later] == [facts([one]) for one in expected]:
        for one, row in zip(expected, smoothed, strict=True):
            np.testing.assert_allclose(by_window[one.device, one.window], row, rtol=1e-12)


def quarters(n: int) -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.ones(3), 200)[:n]


@settings(deadline=None)
@given(st.integers(1, 3), st.lists(st.sampled_from("abcdef"), min_size=1, max_size=80))
def test_devices_that_leave_the_memory_come_back_as_they_were(room: int, names: list[str]) -> None:
    counts = dict.fromkeys("abcdef", 0)
    large, small = new_sessions(), new_sessions(max_devices=room)
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
    sessions = Sessions(CHANNELS, FS, SPEC, n_clusters=3, rules=Rules(bridge_s=10 / FS))
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
    sessions.push(batches[0], hour)
    assert sessions.push(batches[2], hour) == []
    assert sessions.expire(hour + 1_000_000) == []
    assert [one.seq for one in sessions.expire(10)] == [2], "the server's clock was stepped back by an hour"


def test_under_another_model_a_device_keeps_its_order_and_begins_new_windows() -> None:
    first = new_sessions()
    batches = [make_batch("watch", seq, np.full((3, 3), seq, dtype=np.float32)) for seq in range(10)]
    found = push_all(first, batches[:5], end=False)
    first.smooth(found, quarters(len(found)))
    disk = first.changes()

    class Disk:
        def session(self, device: str) -> bytes | None:
            return disk.get(device)

        def waiting(self, positions: list[int]) -> list[Waiting]:
            return []

    wider = WindowSpec(12, 6, 6)
    second = Sessions(CHANNELS, FS, wider, n_clusters=5, rules=RULES, archive=Disk())
    assert second.push(batches[4]) is None, "it has been seen"
    later = [one for batch in batches[5:] for one in second.push(batch) or []]
    assert [one.window for one in later] == [3, 4], "numbers go on, so that no window has two labels"
    np.testing.assert_array_equal(later[0].samples[:, 0], [5, 5, 5, 6, 6, 6])
    assert second.smooth(later, np.full((2, 5), 0.2)).shape == (2, 5)


def test_a_device_that_is_silent_for_long_leaves_the_memory_and_comes_back() -> None:
    disk: dict[str, bytes] = {}

    class Disk:
        def session(self, device: str) -> bytes | None:
            return disk.get(device)

        def waiting(self, positions: list[int]) -> list[Waiting]:
            return []

    sessions = Sessions(CHANNELS, FS, SPEC, n_clusters=3, rules=Rules(idle_s=60), archive=Disk())
    batches = [make_batch("watch", seq, np.full((3, 3), seq, dtype=np.float32)) for seq in range(3)]
    sessions.push(batches[0], 1_000_000)
    assert sessions.expire(60_000_000) == []
    assert len(sessions) == 1
    sessions.expire(62_000_000)
    assert len(sessions) == 0
    disk |= sessions.changes()
    sessions.saved(disk)
    found, _ = [one for batch in batches[1:] for one in sessions.push(batch, 63_000_000) or []]
    assert found.samples[:, 0].tolist() == [0, 0, 0, 1]
    assert sessions.counts.restored == 1


@settings(deadline=None)
@given(st.integers(1, 2), st.lists(st.sampled_from("abcd!?"), min_size=5, max_size=60))
def test_what_is_on_disk_is_never_older_than_what_was_there(room: int, steps: list[str]) -> None:
    """Devices that leave and come back between checkpoints (taken at !, written at ?)."""
    disk: dict[str, bytes] = {}
    taken: dict[str, bytes] = {}

    class Disk:
        def session(self, device: str) -> bytes | None:
            return disk.get(device)

        def waiting(self, positions: list[int]) -> list[Waiting]:
            return []

    sessions = Sessions(CHANNELS, FS, SPEC, n_clusters=3, max_devices=room, archive=Disk())
    counts = dict.fromkeys("abcd", 0)
    seen: dict[str, int] = {}
    for step in [*steps, "!", "?"]:
        if step == "!":
            taken = {**taken, **sessions.changes()}
        elif step == "?":
            disk |= taken
            sessions.saved(taken)
            for name, blob in taken.items():
                saved = load_device(blob)
                assert saved is not None
                assert saved.next_seq >= seen.get(name, 0), "an older state was written over a newer one"
                seen[name] = saved.next_seq
            taken = {}
        else:
            sessions.push(make_batch(step, counts[step], np.zeros((3, 3), dtype=np.float32)))
            counts[step] += 1
    for name, n in counts.items():
        if n:
            final = load_device(disk[name])
            assert final is not None
            assert final.next_seq == n
