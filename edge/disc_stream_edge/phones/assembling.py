"""The messages of one phone as sample batches, each sensor in its own; the server joins them by time."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Iterator

import numpy as np

from disc_stream.types import Channel, SampleBatch
from disc_stream_edge.phones.grid import Grid, Piece
from disc_stream_edge.phones.readings import PhoneMessage, Readings, Sensor

CHANNELS = {
    Sensor.ACC: tuple(Channel(f"acc_{axis}", "m/s2") for axis in "xyz"),
    Sensor.GYRO: tuple(Channel(f"gyro_{axis}", "rad/s") for axis in "xyz"),
}
_EARLY = 4  # messages that wait for one that is missing
_MOST_ROWS = 4_096  # of a wire message, and readings that wait for gravity


class Assembler:
    """Puts messages into their order, adds gravity where it comes apart, and makes batches.

    Args:
        device: device id of the phone.
        boot: of the batches.
    """

    def __init__(self, device: str, boot: int) -> None:
        self._device, self._boot, self._seq = device, boot, 0
        self._grids = {sensor: Grid() for sensor in CHANNELS}
        self._sum = _GravityAdder()
        self._session: str | None = None
        self._expected: int | None = None
        self._early: list[tuple[int, int, PhoneMessage]] = []
        self._arrivals = 0
        self._with_gravity: bool | None = None  # whether the acceleration that is used came with gravity

    @property
    def late(self) -> int:
        """Readings that came twice or too late, and were left out."""
        return sum(grid.late for grid in self._grids.values())

    def measured(self, sensor: Sensor) -> float | None:
        """Readings per second of a sensor, lately; None if it is not known."""
        return self._grids[sensor].measured

    def push(self, message: PhoneMessage, wanted: Collection[Sensor] = tuple(CHANNELS)) -> list[SampleBatch]:
        """Take a message and return the batches that it completes.

        Args:
            message: as an adapter has read it.
            wanted: sensors that batches are made of.
        """
        return [batch for one in self._in_order(message) for batch in self._batches(one, wanted)]

    def _in_order(self, message: PhoneMessage) -> Iterator[PhoneMessage]:
        if message.session != self._session:
            yield from (one for _, _, one in sorted(self._early, key=lambda entry: entry[:2]))
            self._session, self._expected, self._early = message.session, message.number, []
        if message.number is None:
            yield message
            return
        if self._expected is None or message.number < self._expected - 1_000:  # counts from 0 again
            self._expected = message.number
        self._arrivals += 1
        heapq.heappush(self._early, (message.number, self._arrivals, message))
        while self._early and (self._early[0][0] <= self._expected or len(self._early) > _EARLY):
            number, _, one = heapq.heappop(self._early)
            self._expected = max(self._expected, number + 1)
            yield one

    def _batches(self, message: PhoneMessage, wanted: Collection[Sensor]) -> Iterator[SampleBatch]:
        for sensor, readings in self._used(message):
            for piece in self._grids[sensor].push(readings):
                if sensor in wanted:
                    yield from self._cut(sensor, piece)

    def _used(self, message: PhoneMessage) -> Iterator[tuple[Sensor, Readings]]:
        for readings in message.readings:
            if readings.sensor == Sensor.GYRO:
                yield Sensor.GYRO, readings
            elif readings.sensor == Sensor.ACC and self._with_gravity is not False:
                self._with_gravity = True
                yield Sensor.ACC, readings
        if self._with_gravity:
            return
        total = self._sum.push(message.readings)
        if len(total.times_ns):
            self._with_gravity = False
            yield Sensor.ACC, total

    def _cut(self, sensor: Sensor, piece: Piece) -> Iterator[SampleBatch]:
        for start in range(0, len(piece.values), _MOST_ROWS):
            t0_us = (piece.t0_ns + round(start * 1e9 / piece.fs)) // 1_000
            rows = piece.values[start : start + _MOST_ROWS]
            yield SampleBatch(self._device, self._boot, self._seq, t0_us, piece.fs, CHANNELS[sensor], rows)
            self._seq += 1


class _GravityAdder:
    """Adds gravity, interpolated, to acceleration that comes without it; what has none yet waits."""

    def __init__(self) -> None:
        self._linear = _none(Sensor.LINEAR)
        self._gravity = _none(Sensor.GRAVITY)

    def push(self, readings: Iterable[Readings]) -> Readings:
        """The sums that are complete."""
        for one in readings:
            if one.sensor == Sensor.LINEAR:
                self._linear = _joined(self._linear, one)
            elif one.sensor == Sensor.GRAVITY:
                self._gravity = _joined(self._gravity, one)
        linear, gravity = self._linear, self._gravity
        if not len(linear.times_ns) or not len(gravity.times_ns):
            return _none(Sensor.ACC)
        ready = linear.times_ns <= gravity.times_ns[-1]
        known = ready & (linear.times_ns >= gravity.times_ns[0])
        at, base = linear.times_ns[known], int(gravity.times_ns[0])
        added = [
            np.interp((at - base) / 1e9, (gravity.times_ns - base) / 1e9, gravity.values[:, axis])
            for axis in range(3)
        ]
        total = linear.values[known] + np.stack(added, axis=1)
        self._linear = Readings(Sensor.LINEAR, linear.times_ns[~ready], linear.values[~ready])
        self._gravity = Readings(Sensor.GRAVITY, gravity.times_ns[-2:], gravity.values[-2:])
        return Readings(Sensor.ACC, at, total)


def _none(sensor: Sensor) -> Readings:
    return Readings(sensor, np.empty(0, np.int64), np.empty((0, 3)))


def _joined(a: Readings, b: Readings) -> Readings:
    times = np.concatenate([a.times_ns, b.times_ns])
    order = np.argsort(times, kind="stable")[-_MOST_ROWS:]
    return Readings(a.sensor, times[order], np.concatenate([a.values, b.values])[order])


def batches_of(messages: Iterable[PhoneMessage], device: str, boot: int = 0) -> list[SampleBatch]:
    """All batches that a phone's messages make."""
    assembler = Assembler(device, boot)
    return [batch for message in messages for batch in assembler.push(message)]
