"""The last seconds of one device's signal, thinned for drawing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from disc_stream.types import Channel, Float32Array, SampleBatch

SECONDS = 10.0
RATE = 25.0  # points per second; a card is about 300 pixels wide
_AXES = ("x", "y", "z")
_DECIMALS = 3

Point = list[float | None]


class Trace:
    """Acceleration axes (or the first channels) of one device, at most ``RATE`` points a second.

    A point is one value per drawn channel; a gap in the stream is one point of ``None``. Points are kept in a
    ring of 32-bit floats: 3 KiB for ten seconds of three axes.
    """

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.unit = ""
        self.rate = RATE
        self.size = 0
        """Points that are kept."""
        self.count = 0
        """Points since it began anew."""
        self.restarts = 0
        """How often it began anew: on another boot, rate or layout of channels."""
        self._ring: Float32Array = np.empty((0, 0), dtype=np.float32)
        self._columns: list[int] = []
        self._scales: npt.NDArray[np.float64] = np.empty(0)
        self._channels: tuple[Channel, ...] = ()
        self._fs = 0.0
        self._boot = -1
        self._next_us = 0
        self._step = 1
        self._phase = 0  # samples to pass over before the next drawn one

    def add(self, batch: SampleBatch) -> None:
        """Take a batch; one that is older than what was drawn (late or sent again) is ignored."""
        begins = batch.boot != self._boot or batch.fs != self._fs or batch.channels != self._channels
        if begins:
            self._begin(batch)
        period_us = 1e6 / batch.fs
        late_us = batch.t0_us - self._next_us
        if not begins and late_us < -period_us:
            return
        if not begins and late_us > 1.5 * period_us:
            self._append(np.full((1, len(self._columns)), np.nan, dtype=np.float32))
            self._phase = 0
        n = len(batch.samples)
        drawn = batch.samples[self._phase :: self._step, self._columns].astype(np.float64)
        self._append(drawn * self._scales)
        self._phase = (self._phase - n) % self._step
        self._next_us = batch.t0_us + round(n * period_us)

    @property
    def until_us(self) -> int:
        """End of what was drawn, by the device's clock."""
        return self._next_us

    def points(self, since: int = 0) -> list[Point]:
        """The points from number ``since`` on, as far as they are kept."""
        if self.size == 0:
            return []
        first = max(since, self.count - self.size)
        values = np.round(self._ring[np.arange(first, self.count) % self.size].astype(np.float64), _DECIMALS)
        finite = np.isfinite(values)
        rows: list[Point] = values.tolist()
        if not bool(finite.all()):
            known = values.astype(object)
            known[~finite] = None
            rows = known.tolist()
        return rows

    def _begin(self, batch: SampleBatch) -> None:
        self._channels, self._fs, self._boot = batch.channels, batch.fs, batch.boot
        self._columns = _drawn_columns(batch.channels)
        self._scales = np.array([batch.channels[i].scale for i in self._columns])
        self.names = tuple(batch.channels[i].name for i in self._columns)
        self.unit = batch.channels[self._columns[0]].unit
        self._step = max(1, round(batch.fs / RATE))
        self.rate = batch.fs / self._step
        self.size = max(2, round(SECONDS * self.rate))
        self._ring = np.empty((self.size, len(self._columns)), dtype=np.float32)
        self.count = self._phase = 0
        self.restarts += 1

    def _append(self, values: npt.NDArray[np.floating]) -> None:
        kept = values[-self.size :]
        at = (self.count + len(values) - len(kept)) % self.size
        fits = min(len(kept), self.size - at)
        with np.errstate(over="ignore"):  # beyond 32 bits it is infinite, which is drawn as a gap
            self._ring[at : at + fits] = kept[:fits]
            self._ring[: len(kept) - fits] = kept[fits:]
        self.count += len(values)


def _drawn_columns(channels: tuple[Channel, ...]) -> list[int]:
    """Columns of the acceleration's axes, else of up to three channels that share the first one's unit."""
    names = [c.name.lower() for c in channels]
    for axes in ([f"acc_{a}" for a in _AXES], [f"acc{a}" for a in _AXES]):
        if all(a in names for a in axes):
            return [names.index(a) for a in axes]
    return [i for i, c in enumerate(channels) if c.unit == channels[0].unit][:3]
