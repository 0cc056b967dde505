"""When checkpoints are taken and written, what they wait for and what they hold; the store is in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest

from disc_stream.clock import ManualClock
from disc_stream.errors import StateDamagedError, StorageError
from disc_stream.stream.values import Labelled, ReadyInput
from disc_stream.types import Label, SoftLabel
from disc_stream_server.labeller.checkpoints import Change, Checkpoints
from disc_stream_server.storage.historyrecords import EpisodeEvent
from disc_stream_server.storage.records import Commit, DeadLetter, LaneState

INTERVAL_S = 10.0
MAX_LABELS = 8


@dataclass
class Store:
    """Keeps what is committed, unless told to fail."""

    position: int = 7
    commits: list[Commit] = field(default_factory=list)
    fails: Exception | None = None
    asked: int = 0
    takes: Callable[[], None] = lambda: None

    def commit(self, commit: Commit) -> tuple[EpisodeEvent, ...]:
        self.asked += 1
        self.takes()
        if self.fails is not None:
            raise self.fails
        self.commits.append(commit)
        return ()


@dataclass
class Outbox:
    """Confirms up to a barrier."""

    barrier: int = 0
    confirms: int = 0

    def confirmed(self, barrier: int) -> bool:
        return barrier <= self.confirms


@dataclass
class Lane:
    """A lane, and the intake that it has."""

    number: int
    position: int = 7
    dead: list[DeadLetter] = field(default_factory=list)
    states: dict[str, bytes] = field(default_factory=dict)
    committed_at: list[int] = field(default_factory=list)

    @property
    def intake(self) -> Lane:
        return self

    @property
    def dead_bytes(self) -> int:
        return sum(len(one.payload) + 1_024 for one in self.dead)

    def take_dead_letters(self) -> list[DeadLetter]:
        taken, self.dead = self.dead, []
        return taken

    def capture(self) -> LaneState:
        return LaneState(self.number, self.position, {"session": dict(self.states)})

    def committed(self, state: LaneState) -> None:
        self.committed_at.append(state.position)


class Scene:
    """Checkpoints of lanes that do nothing, with a clock of their own."""

    def __init__(self) -> None:
        self.store, self.outbox, self.clock = Store(), Outbox(), ManualClock(0)
        self.live = Lane(0)
        self.all = [self.live]
        self.checkpoints = Checkpoints(
            cast("Any", self.store), cast("Any", self.outbox), cast("Any", self), INTERVAL_S, MAX_LABELS,
            self.clock,
        )  # fmt: skip

    def lanes(self) -> list[Lane]:
        return self.all

    def take_change(self) -> Change:
        return Change(opens=3, facts={"a": b"b"})

    def tell(self, event: EpisodeEvent) -> None:
        raise AssertionError(event)


def letter(device: str, size: int) -> DeadLetter:
    return DeadLetter(1, 0, "t", device, "type", "", "", bytes(size), size)


def labelled(device: str, window: int) -> Labelled:
    best = SoftLabel(1, "walking", 0.9)
    label = Label(
        device=device, boot=1, window=window, t0_us=0, t1_us=1, best=best, soft=(best,), smoothed=best,
        distance=0.1, novelty=0.5, model="m", seq=window, published_us=5,
    )  # fmt: skip
    ready = ReadyInput(device, 1, window, 0, window, 0, np.zeros((8, 3), np.float32), 20 + window)
    return Labelled(label, ready, np.array([0.9, 0.1], dtype=np.float32))


def test_one_is_taken_when_it_is_due_and_the_next_an_interval_after_it_was_written() -> None:
    scene = Scene()
    scene.live.position = 9
    scene.clock.advance(INTERVAL_S - 0.1)
    assert not scene.checkpoints.step(), "the disk is behind"
    assert not scene.checkpoints.is_on_its_way
    scene.clock.advance(0.1)
    assert scene.checkpoints.step()
    assert (scene.checkpoints.position, scene.checkpoints.written) == (9, 1)
    assert scene.live.committed_at == [9]
    scene.clock.advance(INTERVAL_S - 0.1)
    assert scene.checkpoints.step(), "nothing has changed since"
    assert scene.checkpoints.written == 1
    scene.clock.advance(0.1)
    assert scene.checkpoints.step()
    assert scene.checkpoints.written == 2
    assert scene.checkpoints.step(now=True)
    assert scene.checkpoints.written == 3


@pytest.mark.parametrize(("cost_s", "wait_s"), [(0.1, 10.0), (1.0, 20.0), (9.0, 40.0)])
def test_those_that_take_long_come_less_often_within_a_bound(cost_s: float, wait_s: float) -> None:
    scene = Scene()
    scene.store.takes = lambda: scene.clock.advance(cost_s)
    scene.checkpoints.step(now=True)
    scene.clock.advance(wait_s - 0.1)
    scene.checkpoints.step()
    assert scene.checkpoints.written == 1
    scene.clock.advance(0.1)
    scene.checkpoints.step()
    assert scene.checkpoints.written == 2


def test_one_is_due_when_many_labels_wait() -> None:
    scene = Scene()
    scene.checkpoints.add([labelled("a", window) for window in range(5)])
    scene.checkpoints.step()
    assert scene.checkpoints.written == 0
    scene.checkpoints.add([labelled("a", 5)])
    scene.checkpoints.step()
    assert (scene.checkpoints.written, scene.checkpoints.backlog) == (1, 0)


def test_it_is_written_once_its_labels_are_confirmed_and_what_comes_later_is_in_the_next() -> None:
    scene = Scene()
    scene.checkpoints.add([labelled("a", 0), labelled("a", 1)])
    scene.outbox.barrier = 2
    assert not scene.checkpoints.step(now=True)
    assert scene.checkpoints.is_on_its_way
    scene.checkpoints.add([labelled("a", 2)])
    scene.live.position, scene.outbox.barrier = 12, 3
    assert scene.checkpoints.backlog == 3
    scene.outbox.confirms = 1
    assert not scene.checkpoints.step()
    assert scene.store.commits == []
    scene.outbox.confirms = 2
    assert not scene.checkpoints.step(now=True)
    [first] = scene.store.commits
    assert [(one.window, one.position) for one in first.labels] == [(0, 20), (1, 21)]
    assert (first.lanes[0].position, first.opens, first.facts) == (7, 3, {"a": b"b"})
    assert scene.checkpoints.backlog == 1
    assert not scene.checkpoints.step(now=True), "the third is on its way"
    scene.outbox.confirms = 3
    assert scene.checkpoints.step()
    assert [one.window for one in scene.store.commits[1].labels] == [2]
    assert scene.checkpoints.position == 12


def test_letters_take_room_until_they_are_on_disk() -> None:
    scene = Scene()
    assert scene.checkpoints.letter_bytes == 0
    scene.checkpoints.add_letters([letter("a", 100)])
    scene.live.dead = [letter("b", 10)]
    assert scene.checkpoints.letter_bytes == 2 * 1_024 + 110
    scene.outbox.barrier = 1
    scene.checkpoints.step(now=True)
    assert scene.checkpoints.letter_bytes == 2 * 1_024 + 110, "still in memory"
    scene.checkpoints.add_letters([letter("c", 1)])
    assert scene.checkpoints.letter_bytes == 3 * 1_024 + 111
    scene.outbox.confirms = 1
    scene.checkpoints.step()
    assert [one.device for one in scene.store.commits[0].dead_letters] == ["a", "b"]
    assert scene.checkpoints.letter_bytes == 1_024 + 1


def test_while_the_disk_fails_it_is_tried_again_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.store.fails = StorageError("no space left")
    assert not scene.checkpoints.step(now=True)
    for _ in range(9):
        scene.clock.advance(0.1)
        assert not scene.checkpoints.step()
    assert scene.store.asked == 1
    scene.clock.advance(0.2)
    assert not scene.checkpoints.step()
    assert scene.store.asked == 2
    assert "no space left" in scene.checkpoints.blocked
    assert len(caplog.records) == 1, "it is said once"
    scene.store.fails = None
    scene.clock.advance(1.1)
    assert scene.checkpoints.step()
    assert (scene.checkpoints.blocked, scene.checkpoints.written) == ("", 1)
    scene.store.fails = StateDamagedError("the file is no database")
    with pytest.raises(StateDamagedError):
        scene.checkpoints.step(now=True)


def test_lanes_that_it_knows_nothing_of_are_not_told_of_it() -> None:
    scene = Scene()
    scene.outbox.barrier = 1
    scene.checkpoints.step(now=True)
    later = Lane(5, position=30)
    scene.all.append(later)
    scene.outbox.confirms = 1
    scene.checkpoints.step()
    assert (scene.live.committed_at, later.committed_at) == ([7], [])
    assert scene.checkpoints.step(now=True)
    assert (scene.live.committed_at, later.committed_at) == ([7, 7], [30])


def test_an_erased_device_is_left_out_of_what_was_taken_and_of_what_waits() -> None:
    scene = Scene()
    scene.live.states = {"gone": b"1", "stays": b"2"}
    for window in range(2):
        scene.checkpoints.add([labelled("gone", window), labelled("stays", window)])
        scene.checkpoints.add_letters([letter("gone", 1), letter("stays", 1)])
        scene.outbox.barrier = 1
        scene.checkpoints.step()  # the first are on their way, the second wait
        scene.clock.advance(INTERVAL_S)
    scene.checkpoints.step()
    scene.checkpoints.forget("gone")
    scene.outbox.confirms = 1
    scene.checkpoints.step()
    scene.live.states = {}
    scene.checkpoints.step(now=True)
    assert len(scene.store.commits) == 2
    for commit in scene.store.commits:
        assert {one.device for one in commit.labels} <= {"stays"}
        assert {one.device for one in commit.dead_letters} <= {"stays"}
    assert sum(len(commit.labels) for commit in scene.store.commits) == 2
    assert scene.store.commits[0].lanes[0].parts == {"session": {"stays": b"2"}}
