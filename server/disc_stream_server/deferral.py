"""Windows that are put off while there is more to do than can be done, and caught up later.

Live labels are worth most when they are fresh. When the spool's backlog is long, windows older than a limit
are put aside on disk, and those that come now are labelled first. Nothing is lost: when there is time
again the others are labelled too, in order, and their labels say ``deferred``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import cbor2
import numpy as np
import numpy.typing as npt

from disc_stream.clustering.smoothing import StickyFilter
from disc_stream_server.sessions import Sessions
from disc_stream_server.shards import ReadyInput
from disc_stream_server.storage.state import DeferredWindow, StateStore

Key = tuple[str, int, int]

_FETCHED = 2_048  # windows read from the disk at once


class Deferral:
    """Decides which windows wait, and brings them back.

    A device's smoothing is handed to the windows that wait, so that theirs goes on as if nothing had
    happened; the live windows after them begin a new one.

    Args:
        sessions: hand out the smoothing.
        store: where the windows wait.
        stale_us: age from which on they do, in microseconds.
        backlog: rows of backlog that are nothing to worry about.
    """

    def __init__(self, sessions: Sessions, store: StateStore, *, stale_us: int, backlog: int) -> None:
        self._sessions, self._store = sessions, store
        self._stale_us, self._backlog = stale_us, backlog
        self._off: set[str] = set()  # devices whose last window was put off
        self._filters: dict[str, StickyFilter] = {}
        self._on_disk = store.deferred_count
        self._fetched: deque[DeferredWindow] = deque()  # read from the disk and not caught up yet
        self.put_off: list[DeferredWindow] = []
        """Windows put off and not on disk yet."""
        self.done: dict[Key, None] = {}
        """Windows caught up, for whose removal from the disk it is time."""

    @property
    def waiting(self) -> int:
        """Windows that wait, on disk or about to be."""
        return self._on_disk + len(self.put_off) - len(self.done)

    def split(self, ready: list[ReadyInput], now_us: int, backlog: int) -> list[ReadyInput]:
        """Put off what is too old; returns what is to be labelled now."""
        if backlog <= self._backlog and not self._off:
            return ready
        late = now_us - self._stale_us
        fresh = []
        for one in ready:
            if backlog > self._backlog and one.received_us < late:
                self._keep(one)
            else:
                self._off.discard(one.device)
                fresh.append(one)
        return fresh

    def catch_up(self, limit: int) -> list[ReadyInput]:
        """The oldest windows that wait."""
        if not self._fetched and self._on_disk > len(self.done):
            for window in self._store.deferred(_FETCHED + len(self.done)):
                if _key(window) not in self.done:
                    self._fetched.append(window)
        found: list[ReadyInput] = []
        while self._fetched and len(found) < limit:
            window = self._fetched.popleft()
            self.done[_key(window)] = None
            found.append(self._load(window))
        return found

    def smooth(self, ready: Sequence[ReadyInput], q: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Smoothing of windows that are caught up, (n, K), each device's in order."""
        rows = []
        for one, row in zip(ready, q, strict=True):
            if one.device not in self._filters:  # its beginning was caught up before a restart
                self._filters[one.device] = self._sessions.new_filter()
            rows.append(self._filters[one.device].update(row))
        return np.array(rows)

    def stored(self, put_off: Sequence[DeferredWindow], done: Sequence[Key]) -> None:
        """These have been written to, and removed from, the disk."""
        self._on_disk += len(put_off)
        for key in done:
            if key in self.done:  # else its device was erased meanwhile
                del self.done[key]
                self._on_disk -= 1
        if not self._on_disk:
            self._filters.clear()

    def forget(self, device: str) -> None:
        """Drop what waits of a device."""
        self.put_off = [window for window in self.put_off if window.device != device]
        self.done = {key: None for key in self.done if key[0] != device}
        self._fetched = deque(window for window in self._fetched if window.device != device)
        self._filters.pop(device, None)
        self._off.discard(device)
        self._on_disk = self._store.deferred_count

    def _keep(self, one: ReadyInput) -> None:
        begins: Any = None
        if one.device not in self._off:
            self._off.add(one.device)
            (p,) = self._sessions.interrupt(one.device).state()
            begins = b"" if p is None else p.tobytes()
        facts = [
            one.samples.tobytes(), list(one.samples.shape), one.received_us, one.t0_unix_us, one.bridged,
            begins,
        ]  # fmt: skip
        self.put_off.append(
            DeferredWindow(
                position=one.position, device=one.device, boot=one.boot, window=one.window, t0_us=one.t0_us,
                seq=one.seq, segment=one.segment, blob=cbor2.dumps(facts),
            )
        )  # fmt: skip

    def _load(self, window: DeferredWindow) -> ReadyInput:
        samples, shape, received_us, t0_unix_us, bridged, begins = cbor2.loads(window.blob)
        if begins is not None:
            smoothing = self._sessions.new_filter()
            smoothing.restore((np.frombuffer(begins, dtype=np.float64) if begins else None,))
            self._filters[window.device] = smoothing
        return ReadyInput(
            window.device, window.boot, window.window, window.t0_us, window.seq, window.segment,
            np.frombuffer(samples, dtype=np.float32).reshape(shape), window.position, received_us, t0_unix_us,
            bridged,
        )  # fmt: skip


def _key(window: DeferredWindow) -> Key:
    return window.device, window.boot, window.window
