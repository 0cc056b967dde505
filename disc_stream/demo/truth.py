"""What the devices really did, kept apart from everything that learns, and how well labels agree with it."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from disc_stream.clustering.agreement import Agreement
from disc_stream.data.types import UNLABELLED, LabelArray
from disc_stream.types import Label

_REMEMBERED_S = 900  # of each device; labels come within seconds
_FIRST_COLUMNS = 16  # labels, before the table grows


class Truth(Protocol):
    """The true activities of one device."""

    def majority(self, t0_us: int, n: int) -> int | None:
        """The activity of most of the ``n`` samples from device time ``t0_us`` on.

        None if they have not all been taken yet, ``UNLABELLED`` if it is not known and never will be.
        """
        ...


class TruthTape:
    """Written while a simulated device is read; remembers the last quarter of an hour.

    Args:
        start_us: device clock at the first sample.
        fs: samples per second.
    """

    def __init__(self, start_us: int, fs: float) -> None:
        self._start_us, self._fs = start_us, fs
        self._ring = np.full(round(_REMEMBERED_S * fs), UNLABELLED, dtype=np.int16)
        self._end = 0

    def append(self, labels: LabelArray) -> None:
        """The labels of the next samples."""
        kept = labels[-len(self._ring) :]
        first = self._end + len(labels) - len(kept)
        self._ring[(first + np.arange(len(kept))) % len(self._ring)] = kept
        self._end += len(labels)

    def majority(self, t0_us: int, n: int) -> int | None:
        """See ``Truth``."""
        first = round((t0_us - self._start_us) * self._fs / 1e6)
        if first + n > self._end:
            return None
        if first < self._end - len(self._ring):
            return UNLABELLED
        return majority_of(self._ring[(first + np.arange(n)) % len(self._ring)])


class RecordedTruth:
    """The labels that came with a recording, whose device clock starts at 0.

    Args:
        labels: (n_samples,) index of the activity or ``UNLABELLED``.
        fs: samples per second.
    """

    def __init__(self, labels: LabelArray, fs: float) -> None:
        self._labels, self._fs = labels, fs

    def majority(self, t0_us: int, n: int) -> int | None:
        """See ``Truth``."""
        first = round(t0_us * self._fs / 1e6)
        span = self._labels[first : first + n]
        return majority_of(span) if len(span) == n else UNLABELLED


def majority_of(labels: npt.NDArray[np.int16]) -> int:
    """The most frequent label; ``UNLABELLED`` if most samples have none."""
    known = labels[labels != UNLABELLED]
    if 2 * len(known) < len(labels):
        return UNLABELLED
    return int(np.bincount(known).argmax())


class ByLabel:
    """Counts windows by true activity and by the id of their label; ids come and go with retrainings.

    Args:
        n_activities: number of true activities.
    """

    def __init__(self, n_activities: int) -> None:
        self._columns: dict[int, int] = {}
        self._counts = Agreement(n_activities, _FIRST_COLUMNS)

    def add(self, truth: int, label: int) -> None:
        """Count one window; the two states count as any other group of windows."""
        column = self._columns.setdefault(label, len(self._columns))
        if column == self._counts.table.shape[1]:
            self._counts.table = np.pad(self._counts.table, ((0, 0), (0, column)))
        self._counts.add(truth, column)

    def of(self, label: int) -> npt.NDArray[np.int64]:
        """(n_activities,) windows with this label."""
        column = self._columns.get(label)
        return np.zeros_like(self._counts.table[:, 0]) if column is None else self._counts.table[:, column]

    @property
    def windows(self) -> int:
        """How many were counted."""
        return self._counts.windows

    def score(self) -> dict[str, float] | None:
        """See ``Agreement.score``."""
        return self._counts.score()


Compared = Callable[[int, Label], None]
"""Is told the true activity of a window, and its label."""


class TruthComparison:
    """Compares labels with the true activity of their windows, raw and smoothed ones apart.

    Args:
        n_activities: number of true activities.
        window: samples of a window.
    """

    def __init__(self, *, n_activities: int, window: int) -> None:
        self._window = window
        self.tell: Compared | None = None
        """Is told of each window that was compared."""
        self._truths: Mapping[str, Truth] = {}
        self._waiting: dict[str, deque[Label]] = defaultdict(deque)
        self.raw, self.smoothed = ByLabel(n_activities), ByLabel(n_activities)

    def follow(self, truths: Mapping[str, Truth]) -> None:
        """From now on labels are compared with these streams."""
        self._truths = truths

    def truth(self, label: Label, n: int) -> int | None:
        """The activity of most of the first ``n`` samples of a label's window; see ``Truth.majority``."""
        truth = self._truths.get(label.device)
        return UNLABELLED if truth is None else truth.majority(label.t0_us, n)

    def add(self, label: Label) -> None:
        """Take a label; it is counted once the rest of its window has been simulated too."""
        waiting = self._waiting[label.device]
        waiting.append(label)
        while waiting:
            truth = self.truth(waiting[0], self._window)
            if truth is None:
                return
            complete = waiting.popleft()
            if truth != UNLABELLED:
                self.raw.add(truth, complete.best.label)
                self.smoothed.add(truth, complete.smoothed.label)
                if self.tell is not None:
                    self.tell(truth, complete)

    def summary(self) -> dict[str, Any] | None:
        """ACC, NMI and ARI of both kinds of labels; None if nothing could be compared."""
        raw, smoothed = self.raw.score(), self.smoothed.score()
        if raw is None or smoothed is None:
            return None
        return {"windows": self.raw.windows, "raw": _rounded(raw), "smoothed": _rounded(smoothed)}


def _rounded(scores: dict[str, float]) -> dict[str, float]:
    return {name: round(scores[name], 4) for name in ("acc", "nmi", "ari")}
