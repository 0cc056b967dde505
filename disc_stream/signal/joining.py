"""Sensors that come in separate messages, joined by time to batches with all channels.

Each part (say, accelerometer and gyroscope) has its own clock, rate and grid of sample times. The part with
the highest rate gives the times of the joined samples; the others are interpolated linearly between their
neighbouring samples, in physical units. Nothing is interpolated across a gap, so a gap in any part is one in
the joined stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from disc_stream.signal.joinparts import MAX_WAIT_US, SNAP_US, Part, PartState
from disc_stream.types import Channel, Float32Array, SampleBatch

MAX_PARTS = 8
_SAME_RATE = 0.02
_MIN_FS, _MAX_FS = 0.01, 1e6  # Hz; beyond them, times mean nothing
_SEQ_MODULUS = 2**32


class JoinerState(msgspec.Struct, array_like=True):
    """Everything that the next joined samples depend on."""

    parts: list[PartState]
    seq: int
    until_us: float
    late: int
    dropped: int


class _Column(NamedTuple):
    """Where a wanted channel comes from."""

    part: int  # place in the plan
    column: int  # in that part's samples


class Joiner:
    """Joins the parts of one device in one boot.

    Memory is bounded: of each part, at most 10 s of samples and its last batch wait for their counterparts.

    Args:
        channels: wanted in a joined batch, in this order; units and scales are the parts' own.
    """

    __slots__ = ("_columns", "_dropped", "_parts", "_plan", "_seq", "_until_us", "_wanted", "late")

    def __init__(self, channels: Sequence[Channel]) -> None:
        self._wanted = tuple(channel.name for channel in channels)
        self._parts: dict[tuple[str, ...], Part] = {}
        self._plan: list[Part] = []  # the parts that are joined, the one with the highest rate first
        self._columns: list[_Column] = []  # of the wanted channels
        self._seq = 0
        self._until_us = -np.inf  # device time up to which it is decided what is joined
        self._dropped = 0  # samples since the last call of ``expire``
        self.late = 0
        """Batches dropped because they came again or after what follows them."""

    def push(self, batch: SampleBatch, now_us: int) -> list[SampleBatch]:
        """Take the next batch of a part and return the joined batches that it completes.

        Args:
            batch: has some of the wanted channels; others are left out.
            now_us: time of its arrival, Unix microseconds.

        Returns:
            Batches with all wanted channels: float32 samples in physical units (scale 1), the rate that their
            times have, and numbers of their own from 0.
        """
        self._drop_old(now_us)
        names = tuple(name for name in self._wanted if any(name == one.name for one in batch.channels))
        if not names or not len(batch.samples) or not _MIN_FS <= batch.fs <= _MAX_FS:
            return []
        part = self._parts.get(names)
        if part is None:
            part = self._parts[names] = Part(names)
            if len(self._parts) > MAX_PARTS:
                self._forget(min(list(self._parts.values())[:-1], key=lambda one: one.heard_us))
            self._plan = []
        fs = part.fs
        if not part.push(batch, now_us):
            self.late += 1
            return []
        self._dropped += part.drop_overflow(self._until_us)
        if part.fs != fs or not self._plan:
            self._make_plan()
        return self._join(batch) if self._plan else []

    def expire(self, now_us: int) -> int:
        """Drop what has waited for its counterpart for more than 10 s.

        Returns:
            Number of samples dropped since the last call.
        """
        self._drop_old(now_us)
        dropped, self._dropped = self._dropped, 0
        return dropped

    def missing(self, now_us: int) -> tuple[str, ...]:
        """Wanted channels that no part has brought for 10 s, or for 2.5 of its batches if they are longer."""
        here = {name for part in self._parts.values() if not part.is_silent(now_us) for name in part.names}
        return tuple(name for name in self._wanted if name not in here)

    @property
    def differs(self) -> tuple[float, float] | None:
        """Declared and measured rate (Hz) of the first part in which they differ, if any."""
        return next((part.differs for part in self._plan if part.differs is not None), None)

    def state(self) -> JoinerState:
        """Everything, to be restored from."""
        parts = [part.state() for part in self._parts.values()]
        return JoinerState(parts, self._seq, self._until_us, self.late, self._dropped)

    def restore(self, state: JoinerState) -> None:
        """Continue where ``state`` was taken, with the same wanted channels."""
        self._parts = {tuple(one.names): Part.restored(one) for one in state.parts}
        self._seq, self._until_us = state.seq, state.until_us
        self.late, self._dropped = state.late, state.dropped
        self._make_plan()

    # -- which parts --------------------------------------------------------------------------------------

    def _drop_old(self, now_us: int) -> None:
        for part in list(self._parts.values()):
            self._dropped += part.drop_before(now_us - MAX_WAIT_US, self._until_us)
            if part.is_silent(now_us):
                self._forget(part)

    def _forget(self, part: Part) -> None:
        del self._parts[part.names]
        self._plan = []

    def _make_plan(self) -> None:
        """Choose parts that have all wanted channels between them; independent of the order they came in."""
        self._plan, self._columns = [], []
        parts = sorted(self._parts.values(), key=lambda one: [self._wanted.index(name) for name in one.names])
        source: dict[str, Part] = {}
        for name in self._wanted:
            having = [part for part in parts if name in part.names]
            if not having:
                return
            source[name] = next((part for part in having if part in source.values()), having[0])
        chosen = [part for part in parts if part in source.values()]
        fastest = max(part.fs for part in chosen)
        first = next(part for part in chosen if part.fs >= (1 - _SAME_RATE) * fastest)
        self._plan = [first, *(part for part in chosen if part is not first)]
        self._columns = [
            _Column(self._plan.index(source[name]), source[name].names.index(name)) for name in self._wanted
        ]

    # -- joining ------------------------------------------------------------------------------------------

    def _join(self, like: SampleBatch) -> list[SampleBatch]:
        """Join what all parts have come to."""
        first, *others = self._plan
        if any(part.contested for part in self._plan):
            return []
        limit_us = min((part.last_us for part in others), default=np.inf) + SNAP_US
        begin = int(np.searchsorted(first.times, self._until_us + SNAP_US, side="right"))
        end = int(np.searchsorted(first.times, limit_us, side="right"))
        if end <= begin:
            return []
        times, runs = first.times[begin:end], [first.runs[begin:end]]
        values, covered = [first.values[begin:end]], np.ones(len(times), dtype=np.bool_)
        for part in others:
            at, run = part.at(times)
            values.append(at)
            runs.append(run)
            covered &= run >= 0
        samples = np.stack([values[part][:, column] for part, column in self._columns], axis=1)
        joined = [
            self._batch(like, times, samples, piece)
            for piece in _pieces(times, np.stack(runs, axis=1), covered, 1e6 / first.fs)
        ]
        self._until_us = float(times[-1])
        for part in self._plan:
            part.release(self._until_us)
        return joined

    def _batch(
        self, like: SampleBatch, times: npt.NDArray[np.float64], samples: Float32Array, piece: slice
    ) -> SampleBatch:
        units = [self._plan[part].units[column] for part, column in self._columns]
        channels = tuple(Channel(name, unit) for name, unit in zip(self._wanted, units, strict=True))
        seq = self._seq
        self._seq = (seq + 1) % _SEQ_MODULUS
        return SampleBatch(
            like.device, like.boot, seq, round(float(times[piece.start])), self._plan[0].fs, channels,
            np.ascontiguousarray(samples[piece], dtype=np.float32),
        )  # fmt: skip


def _pieces(
    times: npt.NDArray[np.float64],
    runs: npt.NDArray[np.int64],
    covered: npt.NDArray[np.bool_],
    period_us: float,
) -> list[slice]:
    """Where all parts go on without a gap and the times are even: each such stretch is one batch."""
    uneven = np.abs(np.diff(times) - period_us) > SNAP_US
    breaks = uneven | np.any(np.diff(runs, axis=0) != 0, axis=1) | ~covered[1:] | ~covered[:-1]
    starts = np.concatenate([[0], np.flatnonzero(breaks) + 1])
    ends = np.concatenate([starts[1:], [len(times)]])
    return [slice(int(a), int(b)) for a, b in zip(starts, ends, strict=True) if covered[a]]
