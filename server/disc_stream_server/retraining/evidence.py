"""What decisions rest on: the registry's newest version, what has come since, and whether motion has changed.

All of it is counted in the labeller's database, from where the last look ended; the spool is not read. Only
while there is no model, and so no label, a sample of its messages says about how many windows there are.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from disc_stream.clustering.drift import DriftWatch
from disc_stream.registry import Registry, VersionInfo, device_digest
from disc_stream_server.dataset.collected import estimate_collected
from disc_stream_server.retraining.schedule import Situation
from disc_stream_server.storage.forget import RETRAINING
from disc_stream_server.storage.lock import holder
from disc_stream_server.storage.queries import FILE, StateQueries, StateReader

_ROWS = 5_000  # whose labels are counted at once
_MOST_ROWS = 500_000  # in one look; the rest waits for the next
_MAX_DEVICES = 100_000
_DRIFT_ROWS = 1_000_000  # that a start looks back, for what is usual


@dataclass(frozen=True, slots=True)
class Known:
    """What the registry says.

    Args:
        newest: the version that came in last; None if there is none.
        serves: version in production, "" if none is.
    """

    newest: VersionInfo | None
    serves: str

    @classmethod
    def of(cls, models: Path) -> Known:
        """As it is now.

        Raises:
            DiscStreamError: if it cannot be read.
        """
        with Registry.open(models) as registry:
            current = registry.current()
            newest = max(registry.versions(), key=lambda info: info.number, default=None)
        return cls(newest, "" if current is None else current.version)


class Evidence:
    """Looks again and again at what has come.

    Args:
        state: the state folder.
        models: the registry.
        prefix: of the topics.
        window_s: length of windows, for a first model.
        drift: watches the labels; None if nothing is to.
    """

    def __init__(
        self, state: Path, models: Path, prefix: str, window_s: float, drift: DriftWatch | None = None
    ) -> None:
        self._state, self._models = state, models
        self._prefix, self._window_s = prefix, window_s
        self._drift = drift
        self._since: int | None = None  # number of the version that is counted from
        self._learned: frozenset[str] = frozenset()
        self._counted = self._fed = 0
        self._fed_of = ""
        self._new: set[str] = set()
        self._windows = 0

    def look(self, now_us: int) -> Situation:
        """What is known now; what the supervisor alone knows is missing.

        Raises:
            DiscStreamError: if the registry or the state folder cannot be read.
        """
        known = Known.of(self._models)
        busy = holder(self._state / RETRAINING)
        found = Situation(now_us, serves=bool(known.serves), busy=busy)
        if known.newest is not None:
            found = replace(found, since_us=known.newest.added_us)
        if not (self._state / FILE).exists():
            return found
        with closing(StateReader(self._state)) as store:
            self._count(store, known.newest)
            self._feed(store, known.serves)
        windows, devices = self._windows, len(self._new)
        if not known.serves and not windows:
            windows, devices = estimate_collected(self._state, self._prefix, self._window_s)
        drift = "" if self._drift is None else self._drift.alarm(now_us)
        return replace(found, windows=windows, devices=devices, drift=drift)

    def look_at_all(self, now_us: int) -> Situation:
        """The same, however much has come since the last look.

        Raises:
            DiscStreamError: as ``look``.
        """
        while True:
            before, found = self._counted, self.look(now_us)
            if self._counted - before < _MOST_ROWS:
                return found

    def begin_anew(self) -> None:
        """A retraining has ended: what was unusual until now is not held against the next."""
        if self._drift is not None:
            self._drift = self._drift.anew()

    def _count(self, store: StateQueries, newest: VersionInfo | None) -> None:
        """Windows since the newest version came in, and devices that it has not learned from."""
        number = 0 if newest is None else newest.number
        if number != self._since:
            self._since = number
            self._learned = frozenset(() if newest is None else newest.lineage.device_digests)
            self._windows, self._new = 0, set()
            self._counted = 0 if newest is None else store.position_labelled_at(newest.added_us)
        last = min(store.last_labelled, self._counted + _MOST_ROWS)
        while self._counted < last:
            upto = min(last, self._counted + _ROWS)
            by_device = store.labels_by_device(self._counted, upto)
            self._windows += sum(by_device.values())
            fresh = {device_digest(device) for device in by_device} - self._learned
            if len(self._new) < _MAX_DEVICES:
                self._new |= fresh
            self._counted = upto

    def _feed(self, store: StateQueries, model: str) -> None:
        """Show the labels of the model in production to the drift watch."""
        if self._drift is None or not model:
            return
        if model != self._fed_of:  # what is usual is so for one model
            self._fed_of, self._drift = model, self._drift.anew()
            self._fed = max(0, store.last_labelled - _DRIFT_ROWS)
        last = min(store.last_labelled, self._fed + _MOST_ROWS)
        while self._fed < last:
            upto = min(last, self._fed + _ROWS)
            self._drift.feed(store.novelties(model, self._fed, upto))
            self._fed = upto
