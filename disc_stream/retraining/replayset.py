"""The windows that a retraining learns from: a bounded, balanced choice from everything in the spool.

The rule. Windows are chosen in stretches of consecutive ones, so that what lasts is seen to last. A stretch
belongs to the device that it comes from and to the cluster that most of its windows were labelled with. Every
pair of device and cluster may keep an equal share of the windows; what a pair does not fill goes to others,
and of what cannot be shared evenly each pair with one of the best stretches gets a window. Within a pair the
stretches with the highest priority are kept, the last of them in part if its share ends there,

    priority = t · ln 2 / half-life + g,    g a Gumbel variate of (seed, device, boot, window),

which draws without replacement, a stretch that is a half-life older with half the odds (Efraimidis and
Spirakis 2006, doi:10.1016/j.ipl.2005.11.003, in the form of the Gumbel-max trick). The same spool, rules and
seed give the same choice; that it is made while windows pass by changes nothing, for a share never grows.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from disc_stream.errors import ConfigError
from disc_stream.stream.values import ReadyInput
from disc_stream.types import NOT_WORN, STATE_NAMES, Float32Array, IntArray
from disc_stream_server.dataset.replay import LabelledWindow
from disc_stream_server.storage.records import StoredLabel

UNLABELLED = -1
_STRETCH = 8  # windows

OwnId = Callable[[StoredLabel], int | None]
"""Tells the own id that a label was published under, before merges; None if that is not known."""


@dataclass(frozen=True, slots=True)
class ReplayRule:
    """How many windows are chosen, and from when.

    Args:
        windows: at most.
        half_life_s: age, in seconds, at which a stretch has half the odds of a fresh one.
        seed: of the choice.

    Raises:
        ConfigError: if a number is not above 0.
    """

    windows: int = 20_000
    half_life_s: float = 7 * 86_400.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.windows < _STRETCH:
            raise ConfigError(f"a retraining needs at least {_STRETCH} windows, got {self.windows}")
        if not self.half_life_s > 0:
            raise ConfigError(f"the half-life must be above 0 s, got {self.half_life_s}")


@dataclass(frozen=True, slots=True)
class ReplaySet:
    """Windows by device and time.

    Args:
        x: (n, T, C) float32, SI units.
        ids: (n,) own id that each was published under, -1 where it had no label.
        devices: (n,) names.
        boots: (n,) int64.
        t0_us: (n,) device time at the first sample, int64.
        when_us: (n,) Unix microseconds, of the window where that is known, else of its arrival.
        distance: (n,) squared distance to the centroid at that time, 0 where there is no label.
        seen: windows that there were to choose from.
    """

    x: Float32Array = field(repr=False)
    ids: IntArray = field(repr=False)
    devices: npt.NDArray[np.str_] = field(repr=False)
    boots: IntArray = field(repr=False)
    t0_us: IntArray = field(repr=False)
    when_us: IntArray = field(repr=False)
    distance: Float32Array = field(repr=False)
    seen: int

    def __len__(self) -> int:
        return len(self.x)

    @property
    def device_names(self) -> list[str]:
        """Devices that it has windows of, sorted."""
        return sorted({str(name) for name in self.devices})


@dataclass(slots=True)
class _Stretch:
    """Consecutive windows of one device."""

    first: ReadyInput
    last: int
    windows: list[Float32Array] = field(default_factory=list)
    facts: list[tuple[int, int, int, float]] = field(default_factory=list)  # id, t0, when, distance

    @property
    def cluster(self) -> int:
        """The id that most windows have; of equals the lower."""
        ids, counts = np.unique([own for own, *_ in self.facts], return_counts=True)
        return int(ids[counts.argmax()])


_Kept = tuple[float, int, _Stretch]  # priority, its number to tell equals apart


class ReplayChooser:
    """Chooses while windows pass by, in memory for at most twice as many as are wanted.

    Args:
        rule: how many, and from when.
        own_id: see ``OwnId``.
    """

    def __init__(self, rule: ReplayRule, own_id: OwnId) -> None:
        self._rule, self._own_id = rule, own_id
        self._open: OrderedDict[str, _Stretch] = OrderedDict()
        self._groups: dict[tuple[str, int], list[_Kept]] = {}
        self._n_kept = self._n_open = self._n_closed = self._seen = 0

    @property
    def held(self) -> int:
        """Windows in memory."""
        return self._n_kept + self._n_open

    def take(self, windows: Iterable[LabelledWindow]) -> None:
        """Look at windows; those of a device come in order."""
        for one in windows:
            if one.label is not None and one.label.label == NOT_WORN:
                continue  # nothing is to be learned from a table
            self._add(one)
            if self._n_open > self._rule.windows // 2:
                self._close(next(iter(self._open)))
            if self.held > 2 * self._rule.windows:
                self._shrink()

    def _add(self, one: LabelledWindow) -> None:
        ready = one.window
        stretch = self._open.get(ready.device)
        if stretch is not None and not _continues(stretch, ready):
            self._close(ready.device)
            stretch = None
        if stretch is None:
            stretch = self._open[ready.device] = _Stretch(replace(ready, samples=_NO_SAMPLES), ready.window)
        own = None if one.label is None else self._own_id(one.label)
        when_us = ready.received_us if ready.t0_unix_us is None else ready.t0_unix_us
        distance = 0.0 if one.label is None else one.label.distance
        stretch.windows.append(ready.samples.astype(np.float32, copy=True))  # not a view of a larger buffer
        stretch.facts.append((UNLABELLED if own is None else own, ready.t0_us, when_us, distance))
        stretch.last = ready.window
        self._n_open += 1
        self._seen += 1
        if len(stretch.windows) == _STRETCH:
            self._close(ready.device)

    def _close(self, device: str) -> None:
        stretch = self._open.pop(device)
        self._n_open -= len(stretch.windows)
        self._n_kept += len(stretch.windows)
        self._n_closed += 1
        kept = (self._priority(stretch), self._n_closed, stretch)
        heapq.heappush(self._groups.setdefault((device, stretch.cluster), []), kept)

    def _priority(self, stretch: _Stretch) -> float:
        first, when_us = stretch.first, stretch.facts[0][2]
        key = f"{self._rule.seed}/{first.boot}/{first.window}/{first.device}"
        number = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big")
        gumbel = -math.log(-math.log((number + 0.5) / 2**64))
        return when_us / 1e6 * math.log(2) / self._rule.half_life_s + gumbel

    def _shrink(self) -> None:
        """Drop what is of the lowest priority until as many windows are left as are wanted."""
        keys = list(self._groups)
        sizes = [sum(len(kept[-1].windows) for kept in self._groups[key]) for key in keys]
        best = [max(self._groups[key])[:2] for key in keys]
        for key, size, share in zip(keys, sizes, _shares(self._rule.windows, sizes, best), strict=True):
            _cut(self._groups[key], size - share)
            self._n_kept -= size - share
            if not share:
                del self._groups[key]

    def result(self) -> ReplaySet:
        """What was chosen."""
        for device in list(self._open):
            self._close(device)
        if self._n_kept > self._rule.windows:
            self._shrink()
        stretches = [kept[-1] for heap in self._groups.values() for kept in heap]
        stretches.sort(key=lambda one: (one.first.device, one.facts[0][2], one.first.boot, one.first.window))
        return _joined(stretches, self._seen)


def _shares(wanted: int, sizes: list[int], best: list[tuple[float, int]]) -> list[int]:
    """How many windows each pair keeps: as even as the sizes allow.

    Args:
        wanted: in all; fewer than the sizes together.
        sizes: of the pairs.
        best: highest priority of each pair; of what cannot be shared evenly, the highest get one more.

    Example:
        >>> _shares(10, [1, 9, 9], [(0.0, 1), (0.5, 2), (0.7, 3)])
        [1, 4, 5]
    """
    level, left, n = 0, wanted, len(sizes)
    for i, size in enumerate(sorted(sizes)):
        if left < (size - level) * (n - i):
            level += left // (n - i)
            break
        left -= (size - level) * (n - i)
        level = size
    shares = [min(size, level) for size in sizes]
    hungry = sorted((i for i in range(n) if sizes[i] > level), key=lambda i: best[i], reverse=True)
    for i in hungry[: wanted - sum(shares)]:
        shares[i] += 1
    return shares


def _cut(heap: list[_Kept], n: int) -> None:
    """Drop the n windows of the lowest priority; of a stretch that stays in part, the last ones."""
    while n:
        stretch = heap[0][-1]
        if len(stretch.windows) > n:
            del stretch.windows[-n:], stretch.facts[-n:]
            return
        n -= len(stretch.windows)
        heapq.heappop(heap)


_NO_SAMPLES = np.empty((0, 0), dtype=np.float32)


def _continues(stretch: _Stretch, ready: ReadyInput) -> bool:
    first = stretch.first
    return (first.boot, first.segment, stretch.last + 1) == (ready.boot, ready.segment, ready.window)


def _joined(stretches: list[_Stretch], seen: int) -> ReplaySet:
    facts = [fact for one in stretches for fact in one.facts]
    windows = [window for one in stretches for window in one.windows]
    repeats = [len(one.windows) for one in stretches]
    return ReplaySet(
        x=np.stack(windows) if windows else np.empty((0, 0, 0), dtype=np.float32),
        ids=np.array([fact[0] for fact in facts], dtype=np.int64),
        devices=np.repeat(np.array([one.first.device for one in stretches], dtype=np.str_), repeats),
        boots=np.repeat(np.array([one.first.boot for one in stretches], dtype=np.int64), repeats),
        t0_us=np.array([fact[1] for fact in facts], dtype=np.int64),
        when_us=np.array([fact[2] for fact in facts], dtype=np.int64),
        distance=np.array([fact[3] for fact in facts], dtype=np.float32),
        seen=seen,
    )


def own_ids(ids_of: Mapping[str, tuple[int, ...]]) -> OwnId:
    """Reads the own id of a label from its soft assignment.

    Args:
        ids_of: version -> own ids by row.
    """

    def own(label: StoredLabel) -> int | None:
        ids = ids_of.get(label.model)
        if ids is None or label.label in STATE_NAMES:  # what is unknown was published under no id
            return None
        return ids[int(np.frombuffer(label.q, dtype="<f4").argmax())]

    return own
