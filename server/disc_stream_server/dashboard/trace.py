"""The last seconds of one device's signal, thinned for drawing."""

from __future__ import annotations

from collections import deque

import numpy as np

from disc_stream.types import Channel, SampleBatch

SECONDS = 10.0
RATE = 25.0  # points per second; a card is about 300 pixels wide
_AXES = ("x", "y", "z")

Point = tuple[float | None, ...]


class Trace:
    """Acceleration axes (or the first channels) of one device, at most ``RATE`` points a second.

    A point is one value per drawn channel; a gap in the stream is one point of ``None``.
    """

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.unit = ""
        self.rate = RATE
        self.points: deque[Point] = deque(maxlen=1)
        self._columns: list[int] = []
        self._channels: tuple[Channel, ...] = ()
        self._fs = 0.0
        self._boot = -1
        self._next_us = 0
        self._step = 1
        self._phase = 0  # samples to pass over before the next drawn one

    def add(self, batch: SampleBatch) -> list[Point] | None:
        """Take a batch and return the new points, or None where the trace started anew.

        A batch that is older than what was drawn (late or sent again) is passed over.
        """
        restarted = False
        if batch.channels != self._channels or batch.fs != self._fs or batch.boot != self._boot:
            self._restart(batch)
            restarted = True
        period_us = 1e6 / batch.fs
        late_us = batch.t0_us - self._next_us
        if not restarted and late_us < -period_us:
            return []
        new: list[Point] = []
        if not restarted and late_us > 1.5 * period_us:
            new.append((None,) * len(self._columns))
            self._phase = 0
        new += self._thin(batch)
        self._next_us = batch.t0_us + round(len(batch.samples) * period_us)
        self.points.extend(new)
        return None if restarted else new

    def _restart(self, batch: SampleBatch) -> None:
        self._channels, self._fs, self._boot = batch.channels, batch.fs, batch.boot
        self._columns = _drawn_columns(batch.channels)
        self.names = tuple(batch.channels[i].name for i in self._columns)
        self.unit = batch.channels[self._columns[0]].unit
        self._step = max(1, round(batch.fs / RATE))
        self.rate = batch.fs / self._step
        self.points = deque(maxlen=max(2, round(SECONDS * self.rate)))
        self._phase = 0

    def _thin(self, batch: SampleBatch) -> list[Point]:
        n = len(batch.samples)
        keep = slice(self._phase, None, self._step)
        self._phase = (self._phase - n) % self._step
        scales = np.array([batch.channels[i].scale for i in self._columns])
        values = batch.samples[keep][:, self._columns].astype(np.float64) * scales
        if not bool(np.isfinite(values).all()):
            return [tuple(float(v) if np.isfinite(v) else None for v in row) for row in values]
        return [tuple(row) for row in np.round(values, 3).tolist()]


def _drawn_columns(channels: tuple[Channel, ...]) -> list[int]:
    """Columns of the acceleration's axes, else of up to three channels that share the first one's unit."""
    names = [c.name.lower() for c in channels]
    for axes in ([f"acc_{a}" for a in _AXES], [f"acc{a}" for a in _AXES]):
        if all(a in names for a in axes):
            return [names.index(a) for a in axes]
    return [i for i, c in enumerate(channels) if c.unit == channels[0].unit][:3]
