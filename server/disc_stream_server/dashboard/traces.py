"""Which devices' samples are drawn, and their traces; on the page's thread."""

from __future__ import annotations

from collections.abc import Iterable

from disc_stream.clock import Clock
from disc_stream_server.dashboard.devices import PRETRACED, DeviceTable
from disc_stream_server.dashboard.trace import Trace

MAX_TRACED = 400
KEEP_S = 10.0  # a trace that nobody looks at any more; a new filter may bring it back


class Traces:
    """Traces of the devices that somebody looks at, and of a few more.

    Args:
        table: where batches come from.
        clock: time.
    """

    def __init__(self, table: DeviceTable, clock: Clock) -> None:
        self._table, self._clock = table, clock
        self._traces: dict[str, Trace] = {}
        self._wanted: dict[str, float] = {}  # monotonic time at which somebody last looked

    def get(self, device: str) -> Trace | None:
        """A device's trace; None if none is kept."""
        return self._traces.get(device)

    def want(self, devices: Iterable[str]) -> None:
        """Somebody looks at these devices now."""
        now = self._clock.monotonic()
        for device in devices:
            row = self._table.get(device)
            if row is None or (not row.traced and len(self._wanted) >= MAX_TRACED):
                continue
            row.traced = True
            self._wanted[device] = now

    def update(self, limit: int) -> None:
        """Draw what has come since the last call, ``limit`` batches at most."""
        for batch in self._table.take_batches(limit):
            trace = self._traces.get(batch.device)
            if trace is None:
                if len(self._traces) >= MAX_TRACED:
                    continue
                trace = self._traces[batch.device] = Trace()
                self._wanted.setdefault(batch.device, self._clock.monotonic())
            trace.add(batch)

    def drop_unwanted(self) -> None:
        """Give up traces that nobody looks at; a few are kept, so that a page does not begin empty."""
        before = self._clock.monotonic() - KEEP_S
        for device in [name for name in self._wanted if self._table.get(name) is None]:
            self._drop(device)
        excess = len(self._wanted) - PRETRACED
        if excess > 0:
            oldest = sorted(self._wanted, key=self._wanted.__getitem__)[:excess]
            for device in oldest:
                if self._wanted[device] < before:
                    self._drop(device)

    def forget(self, devices: Iterable[str]) -> None:
        """Give up the traces of devices that were erased."""
        for device in devices:
            self._drop(device)

    def _drop(self, device: str) -> None:
        self._wanted.pop(device, None)
        self._traces.pop(device, None)
        row = self._table.get(device)
        if row is not None:
            row.traced = False
