"""Labels that came late: the episodes of their part of the past are made again.

As long as labels are kept, the result is what it would be had they come in order. Where the labels of that
time are gone already, what was made of them stands, and late ones fill the holes between.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from disc_stream.episodes import (
    Ended,
    EpisodeRules,
    Fold,
    Replay,
    Restart,
    Span,
    Window,
    replay,
    restart_before,
)
from disc_stream_server.storage.clusterkeys import key_of
from disc_stream_server.storage.labelindex import Tail, find_labels

if TYPE_CHECKING:
    from disc_stream_server.storage.episodes import ModelNumbers

SPANS = (
    "SELECT begin_us, end_us, state, windows, weight, fresh, sure_us, sure_end_us, sure_windows, sure_weight "
    "FROM episodes WHERE device = ?"
)
_FOREVER = 2**62


class Changed(NamedTuple):
    """What has become of a device.

    Args:
        fold: what is known behind its newest label; None if that has not changed.
        times: from when to when its episodes are others than before.
    """

    fold: Fold | None
    times: list[tuple[int, int]]


def span_of(row: tuple[Any, ...]) -> Span:
    """From a row of ``SPANS``."""
    begin_us, end_us, state, windows, weight, fresh, *sure = row
    return Span(begin_us, end_us, state, windows, weight, bool(fresh), *sure)


class Past:
    """The past of one device, within a transaction.

    Args:
        connection: to the database.
        device: its id.
        tail: where its newest labels are.
        models: numbers of models.
    """

    def __init__(self, connection: sqlite3.Connection, device: str, tail: Tail, models: ModelNumbers) -> None:
        self._connection, self._device, self._tail, self._models = connection, device, tail, models
        self.labelled_us = 0
        """When the newest label that was read was made."""

    def settle(self, from_us: int, upto_us: int, rules: EpisodeRules, fold: Fold) -> Changed:
        """Take in the labels of windows that start from one time up to another.

        Args:
            from_us: UTC microseconds.
            upto_us: likewise.
            rules: what makes an episode.
            fold: what is known behind its newest label.
        """
        times: list[tuple[int, int]] = []
        frozen_us = self._frozen_us(fold)
        if frozen_us is not None and from_us <= frozen_us:
            times += self._fill(from_us, min(upto_us, frozen_us), rules, fold.covered_us)
            from_us = frozen_us + 1
            if from_us > upto_us:
                return Changed(None, times)
        restart = self._restart(from_us, frozen_us)
        windows = self._windows(restart.after_us + 1, _FOREVER)
        result = replay(restart, windows, rules, upto_us, self._span_at)
        covered_us = fold.covered_us if result.fold is None else max(fold.covered_us, result.fold.covered_us)
        return Changed(result.fold, times + self._exchange(restart.begin_us, result, covered_us))

    # -- questions --------------------------------------------------------------------------------------

    def _windows(self, since_us: int, until_us: int) -> Iterator[Window]:
        labels = find_labels(self._connection, self._device, since_us, until_us, self._tail)
        windows: list[Window] = []  # of one start: they come in the order of windows
        for one in labels:
            start_us = one.t0_unix_us
            assert start_us is not None  # noqa: S101 - it was found by it
            if windows and start_us != windows[0].start_us:
                yield from sorted(windows)
                windows.clear()
            _, space = self._models.of(one.model)
            key = key_of(space, one.smoothed)
            end_us = start_us + one.t1_us - one.t0_us
            windows.append(Window(start_us, end_us, key, one.smoothed_confidence, one.position))
            self.labelled_us = max(self.labelled_us, one.labelled_us)
        yield from sorted(windows)

    def _frozen_us(self, fold: Fold) -> int | None:
        """Up to when labels are gone; None if none are."""
        connection, device = self._connection, self._device
        query = "SELECT upto_us FROM episode_frozen WHERE device = ?"
        row = connection.execute(query, (device,)).fetchone()
        frozen_us = None if row is None else int(row[0])
        (oldest,) = connection.execute("SELECT coalesce(min(position), 0) FROM labels").fetchone()
        tail = self._tail
        if tail.count and tail.lowest < oldest and fold.last_us is not None:
            frozen_us = max(frozen_us or 0, tail.last_us)
        return frozen_us

    def _restart(self, from_us: int, frozen_us: int | None) -> Restart:
        query = f"{SPANS} AND begin_us < ? ORDER BY begin_us DESC LIMIT 2"
        rows = self._connection.execute(query, (self._device, from_us)).fetchall()
        spans = [span_of(row) for row in rows]
        restart = restart_before(from_us, spans)
        if frozen_us is None or restart.after_us >= frozen_us:
            return restart
        # The windows from there on are not all there any more: what they have made goes on.
        across = [s for s in spans if s.begin_us <= frozen_us and (s.end_us is None or s.end_us > frozen_us)]
        if not across:
            return Restart(Fold(rivals=[]), frozen_us, frozen_us + 1)
        return Restart(_cut(across[0], frozen_us, from_us), frozen_us, across[0].begin_us)

    def _span_at(self, begin_us: int) -> Span | None:
        query = f"{SPANS} AND begin_us = ?"
        row = self._connection.execute(query, (self._device, begin_us)).fetchone()
        return None if row is None else span_of(row)

    # -- changes ----------------------------------------------------------------------------------------

    def _exchange(self, begin_us: int | None, result: Replay, covered_us: int) -> list[tuple[int, int]]:
        """Put the new spans into the place of the old ones; from when to when that has changed anything."""
        first_us = -(2**62) if begin_us is None else begin_us
        until_us = _FOREVER if result.until_us is None else result.until_us
        query = f"{SPANS} AND begin_us >= ? AND begin_us < ?"
        rows = self._connection.execute(query, (self._device, first_us, until_us)).fetchall()
        before = {span.begin_us: span for span in map(span_of, rows)}
        after = {span.begin_us: span for span in result.spans}
        for one in before.keys() - after.keys():
            self._connection.execute(
                "DELETE FROM episodes WHERE device = ? AND begin_us = ?", (self._device, one)
            )
        for one, span in after.items():
            if span != before.get(one):
                self._put(span)
        told = {_told(span) for span in before.values()} ^ {_told(span) for span in after.values()}
        if not told:
            return []
        ends = [covered_us if end_us is None else end_us for _, end_us, _ in told]
        return [(min(begin for begin, _, _ in told), max(ends))]

    def _fill(
        self, from_us: int, upto_us: int, rules: EpisodeRules, covered_us: int
    ) -> list[tuple[int, int]]:
        """Make episodes of late labels where there are none."""
        query = f"{SPANS} AND begin_us <= ? ORDER BY begin_us"
        rows = self._connection.execute(query, (self._device, upto_us)).fetchall()
        taken = [(s.begin_us, covered_us if s.end_us is None else s.end_us) for s in map(span_of, rows)]
        fold, spans, hole = Fold(rivals=[]), list[Span](), -1
        for window in self._windows(from_us, upto_us + 1):
            before = sum(begin_us <= window.start_us for begin_us, _ in taken)
            if before and window.start_us < taken[before - 1][1]:
                continue
            steps = fold.close() if before != hole else ()
            hole = before
            end_us = min(window.end_us, taken[before][0]) if before < len(taken) else window.end_us
            steps += fold.add(window._replace(end_us=end_us), rules)
            spans += [step.span for step in steps if isinstance(step, Ended)]
        spans += [step.span for step in fold.close()]
        for span in spans:
            self._put(span)
        return [(span.begin_us, span.end_us or span.begin_us) for span in spans]

    def _put(self, span: Span) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO episodes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (self._device, *msgspec.structs.astuple(span)),
        )


def _told(span: Span) -> tuple[int, int | None, int]:
    """What people are told of it."""
    return span.begin_us, span.end_us, span.state


def _cut(span: Span, at_us: int, from_us: int) -> Fold:
    """A span as it was at a time, about: the labels that would say how much of it was theirs are gone."""
    end_us = max(span.end_us or from_us, at_us + 1)
    share = (at_us - span.begin_us) / (end_us - span.begin_us)
    sure = None
    if span.sure_us is not None:
        sure = (span.sure_us, span.sure_end_us, span.sure_windows, span.sure_weight)
    return Fold(
        span.state, span.begin_us, span.fresh, max(1, round(span.windows * share)),
        round(span.weight * share), at_us, at_us, sure, [],
    )  # fmt: skip
