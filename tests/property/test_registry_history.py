"""Whatever people and retrainings do to the clusters, in whatever order, what was said of them holds.

The reference is a list of changes in plain Python, and its rule for undoing is another one than the
registry's: an event may go if the history without it is still one that could have happened.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from disc_stream.errors import ConfigError
from disc_stream.registry import Event, Lineage, Registry, RowIds, RowProposal, Transition
from tests.support.registries import ANN, BOB, make_bundle

NAMES = ("", "walking", "sitting")
Step = tuple[int, str, Any, Any]  # cluster, field, before, after
_FAST = Path("/dev/shm")  # noqa: S108 - memory, where there is one: what is flushed is not the point here
_bundles: dict[tuple[int, int], Path] = {}
_bundle_folder = tempfile.TemporaryDirectory(dir=_FAST if _FAST.is_dir() else None)


def bundle(k: int, number: int) -> Path:
    """The same models in every run; made once."""
    if (k, number) not in _bundles:
        path = Path(_bundle_folder.name) / f"{k}-{number}"
        _bundles[k, number] = make_bundle(path, 1000 * k + number, k)
    return _bundles[k, number]


@dataclass
class State:
    """What is known of the clusters: the changes so far, one after the other."""

    fields: dict[tuple[int, str], Any] = field(default_factory=dict)
    rejected: set[tuple[int, str, Any]] = field(default_factory=set)

    @classmethod
    def after(cls, steps: Sequence[Step]) -> State | None:
        """The state after changes; None if one of them does not begin where those before it have ended."""
        state = cls()
        for cluster, name, before, after in steps:
            if name in ("not", "not_named"):
                member = (cluster, name, before if after is None else after)
                if (member in state.rejected) == (after is not None):
                    return None
                state.rejected ^= {member}
            else:
                if state.get(cluster, name) != before:
                    return None
                state.fields[cluster, name] = after
        return state if state.is_sound() else None

    def get(self, cluster: int, name: str) -> Any:
        return self.fields.get((cluster, name), {"name": "", "muted": False, "live": False}.get(name))

    def public(self, cluster: int) -> int:
        for _ in range(1000):
            into = self.get(cluster, "merged_into")
            if into is None:
                return cluster
            cluster = into
        raise AssertionError("a circle")

    def is_sound(self) -> bool:
        """No circle, and nothing is published as what it is not."""
        try:
            pairs = [(a, b) for a, name, b in self.rejected if name == "not"]
            for cluster, name in self.fields:
                assert name != "merged_into" or self.public(cluster) >= 0
            return all(self.public(a) != self.public(b) for a, b in pairs)
        except AssertionError:
            return False


class History(RuleBasedStateMachine):
    """Random people, random retrainings."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=_FAST if _FAST.is_dir() else None))
        self.registry = Registry.create(self.folder / "models")
        self.steps: dict[int, list[Step]] = {}  # event -> its changes, as long as it is in effect
        self.all_steps: dict[int, list[Step]] = {}
        self.undoes: dict[int, int] = {}
        self.births: set[int] = set()  # events of deployments
        self.seen = 0
        self.state = State()
        self.rows: dict[int, tuple[int, ...]] = {}  # version -> ids
        self.stack: list[int] = []
        self.ever: set[int] = set()

    def teardown(self) -> None:
        self.registry.close()
        shutil.rmtree(self.folder)

    # -- what happens -----------------------------------------------------------------------------------

    @initialize(k=st.integers(2, 6))
    def first(self, k: int) -> None:
        self._promote([RowProposal()] * k, [])

    @rule(data=st.data(), name=st.sampled_from(NAMES))
    def name(self, data: st.DataObject, name: str) -> None:
        own = self._draw(data)
        self._do(lambda: self.registry.clusters.name(own, name, ANN), self._set(own, "name", name))

    @rule(data=st.data(), muted=st.booleans())
    def mute(self, data: st.DataObject, muted: bool) -> None:
        own = self._draw(data)
        change = self.registry.clusters.mute if muted else self.registry.clusters.unmute
        self._do(lambda: change(own, BOB), self._set(own, "muted", muted))

    @rule(data=st.data())
    def merge(self, data: st.DataObject) -> None:
        apart = sorted((a, b) for a, name, b in self.state.rejected if name == "not")
        if apart and data.draw(st.booleans(), label="rejected"):
            own, into = data.draw(st.sampled_from(apart), label="pair")
        else:
            own, into = self._draw(data), self._draw(data)
        expected = None
        if self._in_use(own) and self._in_use(into):
            before = self.state.get(own, "merged_into")
            expected = [] if before == into else self._if_sound([(own, "merged_into", before, into)])
            if before not in (None, into):
                expected = None  # it must be taken back first
        self._do(lambda: self.registry.clusters.merge(own, into, ANN), expected)

    @rule(data=st.data(), some=st.booleans())
    def split(self, data: st.DataObject, some: bool) -> None:
        own = self._draw(data)
        merged = sorted(c for c in self.ever if self.state.get(c, "merged_into") == own)
        chosen = merged[::2] if some else merged
        expected = [(c, "merged_into", own, None) for c in chosen] if merged else None
        self._do(lambda: self.registry.clusters.split(own, BOB, chosen if some else ()), expected)

    @rule(data=st.data())
    def reject(self, data: st.DataObject) -> None:
        a, b = sorted((self._draw(data), self._draw(data)))
        expected = None
        if a != b and self._in_use(a) and self._in_use(b):
            known = (a, "not", b) in self.state.rejected
            expected = [] if known else self._if_sound([(a, "not", None, b)])
        self._do(lambda: self.registry.clusters.reject(b, a, ANN), expected)

    @rule(data=st.data(), name=st.sampled_from(NAMES[1:]))
    def reject_name(self, data: st.DataObject, name: str) -> None:
        own = self._draw(data)
        expected = None
        if self._in_use(own) and self.state.get(own, "name") != name:
            expected = (
                [] if (own, "not_named", name) in self.state.rejected else [(own, "not_named", None, name)]
            )
        self._do(lambda: self.registry.clusters.reject_name(own, name, ANN), expected)

    @rule()
    def undo_the_last(self) -> None:
        mine = [number for number in self.steps if number not in self.undoes and number not in self.births]
        clusters = self.registry.clusters
        self._undo(max(mine, default=None), lambda: clusters.undo(BOB))

    @rule(data=st.data())
    def undo(self, data: st.DataObject) -> None:
        by_people = [number for number in self.all_steps if number not in self.births]
        undoes = list(self.undoes) or [1]  # undoing these is what is rare otherwise
        some = (
            st.integers(1, self.seen) | st.sampled_from(by_people[-4:] or [1]) | st.sampled_from(undoes[-4:])
        )
        number = data.draw(some, label="event")
        clusters = self.registry.clusters
        self._undo(number, lambda: clusters.undo(BOB, number))

    @rule(data=st.data())
    def retrain(self, data: st.DataObject) -> None:
        """Some ids survive, others are absorbed or vanish; rows are split off, appear, are born merged."""
        live = self.rows[self.stack[-1]]
        kept = data.draw(
            st.lists(st.sampled_from(live), unique=True, min_size=max(len(live) - 2, 0)), label="survive"
        )
        rows = [RowProposal(id=own) for own in kept]
        for _ in range(data.draw(st.integers(0 if kept else 1, 2), label="fresh")):
            parent = data.draw(st.none() | st.sampled_from(live), label="parent")
            merged = parent is not None and self.state.public(parent) != parent
            rows.append(RowProposal(parent=parent, merged_into=self.state.public(parent) if merged else None))
        rows = data.draw(st.permutations(rows), label="rows")
        gone = [Transition(kind="vanish", id=own) for own in live if own not in kept]
        self._promote(rows, gone)

    @rule()
    def roll_back(self) -> None:
        if len(self.stack) < 2:
            return
        self.registry.rollback("ann", "worse")
        self.stack.pop()
        self._take_in()

    @rule(data=st.data())
    def promote_again(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.rows)), label="version")
        if number != self.stack[-1]:
            self.registry.promote(number, "ann", "it was better")
            self.stack.append(number)
            self._take_in()

    @rule()
    def open_again(self) -> None:
        self.registry.close()
        self.registry = Registry.open(self.folder / "models")

    # -- what holds -------------------------------------------------------------------------------------

    @invariant()
    def everything_that_was_said_holds(self) -> None:
        if not self.stack:
            return
        live = self.rows[self.stack[-1]]
        in_use = {*live, *map(self.state.public, live)}
        found = self.registry.clusters.list(retired=True)
        assert [c.id for c in found] == sorted(self.ever) == list(range(len(self.ever)))
        for cluster in found:
            own, public = cluster.id, self.state.public(cluster.id)
            assert cluster.name == self.state.get(own, "name")
            assert cluster.muted == self.state.get(own, "muted")
            assert cluster.public_id == public
            assert cluster.retired == (own not in in_use)
            assert cluster.rows == tuple(row for row, other in enumerate(live) if other == own)
            members = {(a, b) for a, kind, b in self.state.rejected if kind == "not" and own in (a, b)}
            assert set(cluster.rejections) == {a + b - own for a, b in members}
            refused = {n for c, kind, n in self.state.rejected if kind == "not_named" and c == own}
            assert set(cluster.rejected_names) == refused

    @invariant()
    def labels_carry_it(self) -> None:
        if not self.stack:
            return
        for row in self.registry.catalogue_of("current").clusters:
            public = self.state.public(row.id)
            assert row.public_id == public
            assert row.name == (self.state.get(public, "name") or f"cluster {public}")
            assert row.muted == self.state.get(public, "muted")

    @invariant()
    def the_history_replays_to_the_state(self) -> None:
        replayed = State()
        for event in self.registry.clusters.history():
            for change in event.changes:
                if change.field in ("not", "not_named"):
                    member = change.before if change.after is None else change.after
                    replayed.rejected ^= {(change.id, change.field, member)}
                else:
                    assert replayed.get(change.id, change.field) == change.before
                    replayed.fields[change.id, change.field] = change.after
        assert replayed.rejected == self.state.rejected
        for (cluster, name), value in replayed.fields.items():
            assert self.state.get(cluster, name) == value

    # -- how --------------------------------------------------------------------------------------------

    def _draw(self, data: st.DataObject) -> int:
        used = st.sampled_from([own for own in sorted(self.ever) if self._in_use(own)])
        return data.draw(used | used | used | st.integers(0, len(self.ever)), label="cluster")  # or of none

    def _in_use(self, own: int) -> bool:
        live = self.rows[self.stack[-1]]
        return own in {*live, *map(self.state.public, live)}

    def _set(self, own: int, name: str, value: Any) -> list[Step] | None:
        if not self._in_use(own):
            return None
        before = self.state.get(own, name)
        return [] if before == value else [(own, name, before, value)]

    def _if_sound(self, steps: list[Step]) -> list[Step] | None:
        return steps if State.after([*self._in_effect(), *steps]) else None

    def _in_effect(self) -> Iterator[Step]:
        for number in sorted(self.steps):
            yield from self.steps[number]

    def _do(self, change: Callable[[], Event | None], expected: list[Step] | None) -> None:
        """Try a change; None stands for one that must be refused, no steps for one that is so already."""
        if expected is None:
            with pytest.raises(ConfigError):
                change()
            return
        event = change()
        assert (event is None) == (not expected)
        if event is not None:
            assert sorted((c.id, c.field, c.before, c.after) for c in event.changes) == sorted(expected)
        self._take_in()

    def _undo(self, number: int | None, change: Callable[[], Event]) -> None:
        expected = None if number is None else self._without(number)
        if expected is None:
            with pytest.raises(ConfigError):
                change()
            return
        change()
        self.steps = expected
        self._take_in()

    def _without(self, number: int) -> dict[int, list[Step]] | None:
        """What is in effect once an event is undone; None if it cannot be."""
        if number in self.births or number in self._undone():
            return None
        steps = dict(self.steps)
        base, out = number, True
        while base in self.undoes:  # undoing an undo brings back, undoing that takes away again
            base, out = self.undoes[base], not out
        if out != (base in steps):  # so it is already, by another undo
            return None
        if out:
            del steps[base]
        else:
            steps[base] = self.all_steps[base]
        flat = [step for one in sorted(steps) for step in steps[one]]
        return None if State.after(flat) is None else steps

    def _undone(self) -> set[int]:
        found: set[int] = set()
        for number in sorted(self.undoes, reverse=True):
            if number not in found:
                found.add(self.undoes[number])
        return found

    def _take_in(self) -> None:
        """Read the events that are new."""
        for event in self.registry.clusters.history():
            if event.number <= self.seen:
                continue
            self.seen = event.number
            if event.deployment is not None:
                self.births.add(event.number)
            self.all_steps[event.number] = [(c.id, c.field, c.before, c.after) for c in event.changes]
            if event.undoes is not None:
                self.undoes[event.number] = event.undoes
            else:
                self.steps[event.number] = self.all_steps[event.number]
        state = State.after(list(self._in_effect()))
        assert state is not None
        self.state = state

    def _promote(self, rows: Sequence[RowProposal], transitions: list[Transition]) -> None:
        current = self.registry.current()
        proposal = RowIds(
            based_on=current and current.version, rows=tuple(rows), transitions=tuple(transitions)
        )
        info = self.registry.add(bundle(len(rows), len(self.rows)), Lineage(), proposal)
        self.registry.promote(info.number, "retrain", "passed the gate")
        ids = self.registry.version(info.number).ids
        assert ids is not None
        for own, proposed in zip(ids, rows, strict=True):
            assert own == proposed.id or (proposed.id is None and own not in self.ever)  # never used again
        self.ever |= set(ids)
        self.rows[info.number] = ids
        self.stack.append(info.number)
        self._take_in()


History.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
TestHistory = History.TestCase
