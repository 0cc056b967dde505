"""How a device's samples come: at which rate by its own clock, and what is missing between them."""

from __future__ import annotations

from disc_stream.types import Channel, SampleBatch

SPAN_US = 5_000_000
"""Of samples without a gap, before a rate is told."""
_LONG_US = 60_000_000  # the rate is of the last minute at most
_HALF, _WHOLE = 2**31, 2**32


class Received:
    """Takes each batch once, on the labelling thread, for about a microsecond; read from any.

    What comes late is taken off again from what is missing, as far as it is of the newest gap.
    """

    __slots__ = (
        "_boot", "_channels", "_next", "_open", "_samples", "_since_us", "_t0_us", "fs", "gaps", "measured",
        "messages", "missing",
    )  # fmt: skip

    def __init__(self) -> None:
        self.messages = 0
        """Taken."""
        self.gaps = 0
        """Places where messages are missing."""
        self.missing = 0
        """Messages missing there."""
        self.fs = 0.0
        """Rate that the device declares, Hz."""
        self.measured: float | None = None
        """Rate by its own clock, Hz; None before some seconds without a gap."""
        self._boot = self._next = -1
        self._open = 0  # messages that the newest gap still lacks
        self._channels: tuple[Channel, ...] = ()
        self._since_us = self._t0_us = self._samples = 0

    def take(self, batch: SampleBatch) -> None:
        """A batch was taken."""
        self.messages += 1
        self.fs = batch.fs
        if batch.boot != self._boot:
            self._boot = batch.boot
            self._begin(batch)
            return
        ahead = (batch.seq - self._next) % _WHOLE
        if ahead == 0 or ahead == _WHOLE - 1:  # the latter of a device that does not number its batches
            self._go_on(batch)
        elif ahead < _HALF:
            self.gaps += 1
            self.missing += ahead
            self._open = ahead
            self._begin(batch)
        elif self._open:
            self._open -= 1
            self.missing -= 1
            self.gaps -= not self._open

    def _begin(self, batch: SampleBatch) -> None:
        self._next = (batch.seq + 1) % _WHOLE
        self._since_us = self._t0_us = batch.t0_us
        self._samples, self._channels = len(batch.samples), batch.channels

    def _go_on(self, batch: SampleBatch) -> None:
        self._next = (batch.seq + 1) % _WHOLE
        if batch.channels is not self._channels and batch.channels != self._channels:
            return  # of another sensor of the same device
        span_us = batch.t0_us - self._since_us
        if batch.t0_us <= self._t0_us:  # the clock was set, or stands
            self._begin(batch)
            return
        self._t0_us = batch.t0_us
        if span_us >= SPAN_US:
            self.measured = self._samples * 1e6 / span_us
            if span_us >= _LONG_US:
                self._begin(batch)
                return
        self._samples += len(batch.samples)
