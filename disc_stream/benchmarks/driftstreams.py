"""Signals for ``benchmark drift``: real recordings, played for days, in the eyes of a quick model.

*Stationary*: stretches of one person's recordings, one activity each, drawn at random, in two ways.
``shuffled`` plays each once. ``days`` lets each last for one to ten minutes, and the quietest alone for eight
of 24 hours, which is as uneven as a day is.

*Changed*: the same, and from one moment on in another way: with an activity that was held back from the model
and from the time before; with the sensor turned by a quarter, or by 30°; with a gain of 1.1.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from disc_stream.benchmarks.quick import load_motion
from disc_stream.clustering.drift import DeviceWatch, DriftRule
from disc_stream.data.types import UNLABELLED, WindowSet
from disc_stream.models.descriptors import Descriptors
from disc_stream.types import Float32Array

WAYS = ("shuffled", "days")
ACTIVITY = "activity"
CHANGES = (ACTIVITY, "quarter turn", "turn 30°", "gain 1.1")
_DAY = 86_400.0
_SHORTEST = 4  # windows of a stretch
_QUIET_SHARE = 1 / 3  # of a day
_CLUSTERS = 12
_HELD_BACK = 3  # activities, one at a time

Say = Callable[[str], None]
Signal = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]  # cluster and novelty of each window
Blocks = npt.NDArray[np.float64]  # (n, 2): mean residual, share of unknown


@dataclass(frozen=True, slots=True)
class DriftPlan:
    """How much is measured.

    Args:
        people: of each dataset, at most: the last of those that nothing is learned from. The settings of the
            detectors were chosen on the first three.
        days: of a stationary stream.
        before: share of a changed stream before the change.
        seed: of everything random.
    """

    people: int = 8
    days: float = 30.0
    before: float = 0.25
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Stream:
    """Blocks of one device.

    Args:
        blocks: what a detector is told.
        change: block from which on it is another motion; None for never.
        block_s: seconds of one.
    """

    blocks: Blocks
    change: int | None
    block_s: float


Fleet = list[Stream]
"""One stream of each person; where something changes, it does at the same moment."""


class _Recorder:
    """In the place of a detector: keeps what it is told."""

    drift_detected = False

    def __init__(self) -> None:
        self.values: list[float] = []

    def update(self, x: float) -> None:
        self.values.append(x)


class QuickModel:
    """Descriptors and k-means: tells cluster and novelty of windows.

    Args:
        windows: to learn from.
        seed: of k-means.
    """

    def __init__(self, windows: WindowSet, seed: int) -> None:
        from sklearn.cluster import KMeans

        deviation = windows.x.std((0, 1))
        self._descriptors = Descriptors(
            windows.x.shape[1], torch.from_numpy(1.0 / np.maximum(deviation, 1e-6))
        )
        found = self._describe(windows.x)
        self._mean, self._scale = found.mean(0), np.maximum(found.std(0), 1e-6)
        scaled = (found - self._mean) / self._scale
        self._kmeans = KMeans(_CLUSTERS, n_init=3, random_state=seed).fit(scaled)
        distance = self._kmeans.transform(scaled) ** 2
        nearest, least = distance.argmin(1), distance.min(1)
        self._usual = np.array([np.quantile(least[nearest == k], 0.95) for k in range(_CLUSTERS)])

    def signal(self, x: Float32Array) -> Signal:
        """Cluster and novelty of windows (n, T, C)."""
        distance = self._kmeans.transform((self._describe(x) - self._mean) / self._scale) ** 2
        nearest = distance.argmin(1).astype(np.int64)
        return nearest, distance.min(1) / self._usual[nearest]

    def _describe(self, x: Float32Array) -> npt.NDArray[np.float64]:
        with torch.no_grad():
            parts = [
                self._descriptors(torch.from_numpy(np.ascontiguousarray(x[i : i + 2_048])))
                for i in range(0, len(x), 2_048)
            ]
        return torch.cat(parts).double().numpy()


# -- changes ---------------------------------------------------------------------------------------------


def turned(x: Float32Array, degrees: float) -> Float32Array:
    """Windows of a device whose sensors, three axes each, are turned about their third axis."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    axes = x.reshape(*x.shape[:2], -1, 3)
    return (axes @ turn.T.astype(np.float32)).reshape(x.shape)


def changed_windows(change: str, x: Float32Array) -> Float32Array:
    """What the same motion looks like after a change; ``activity`` changes no window."""
    match change:
        case "quarter turn":
            return turned(x, 90.0)
        case "turn 30°":
            return turned(x, 30.0)
        case "gain 1.1":
            return x * np.float32(1.1)
        case _:
            return x


# -- streams ---------------------------------------------------------------------------------------------


def stretches(windows: WindowSet, person: int) -> list[npt.NDArray[np.int64]]:
    """Indices of the windows of a person, cut where the recording or the activity changes."""
    mine = np.flatnonzero(windows.subject == person)
    cuts = np.flatnonzero((np.diff(windows.y[mine]) != 0) | (np.diff(windows.group[mine]) != 0)) + 1
    return [part for part in np.split(mine, cuts) if len(part) >= _SHORTEST]


def play(
    parts: Sequence[npt.NDArray[np.int64]],
    quiet: Sequence[npt.NDArray[np.int64]],
    way: str,
    n: int,
    hop_s: float,
    rng: np.random.Generator,
) -> npt.NDArray[np.int64]:
    """Indices of n windows: stretches drawn at random, as the way says."""
    found, length = [], 0
    while length < n:
        pool = parts
        if way == "days" and length * hop_s % _DAY > (1 - _QUIET_SHARE) * _DAY:
            pool = quiet
        part = pool[int(rng.integers(len(pool)))]
        if way == "days":
            lasts = round(rng.uniform(60.0, 600.0) / hop_s)
            part = np.resize(np.roll(part, rng.integers(len(part))), lasts)
        found.append(part)
        length += len(part)
    return np.concatenate(found)[:n]


def blocks_of(signal: Signal, rule: DriftRule) -> Blocks:
    """What the detectors of a device are told, by the very code that a server runs."""
    residual, share = _Recorder(), _Recorder()
    watch = DeviceWatch(rule, (residual, share))
    for cluster, novelty in zip(signal[0].tolist(), signal[1].tolist(), strict=True):
        watch.take(cluster, novelty)
    return np.column_stack([residual.values, share.values])


class Streams:
    """Makes the streams of one dataset.

    Args:
        dataset: its name.
        data: the folder that holds the datasets.
        plan: how much.
        rule: whose blocks are made.
    """

    def __init__(self, dataset: str, data: Path | None, plan: DriftPlan, rule: DriftRule) -> None:
        self._windows = load_motion(dataset, data, plan.seed).windows
        steps = np.diff(self._windows.start)[np.diff(self._windows.group) == 0]
        self._hop_s = float(steps[0]) / self._windows.fs
        self._plan, self._rule, self._dataset = plan, rule, dataset
        self._models: dict[int | None, QuickModel] = {}
        people = np.unique(self._windows.subject)
        self._learned = np.isin(self._windows.subject, people[::2])
        self.people = [int(person) for person in people[1::2][-plan.people :]]

    def _model(self, held: int | None) -> QuickModel:
        """The model that has not seen an activity."""
        if held not in self._models:
            known = self._learned if held is None else self._learned & (self._windows.y != held)
            self._models[held] = QuickModel(self._windows.select(known), self._plan.seed)
        return self._models[held]

    def held_back(self) -> list[int]:
        """Activities that are held back, one at a time: some of those that everybody does."""
        labels = [set(self._windows.y[self._windows.subject == person].tolist()) for person in self.people]
        common = sorted(set.intersection(*labels) - {UNLABELLED})
        return common[:: max(1, -(-len(common) // _HELD_BACK))]

    def stationary(self, way: str, say: Say) -> list[Fleet]:
        """A stream of each person."""
        say(f"{self._dataset}, {way}, stationary")
        signal = self._model(None).signal(self._windows.x)
        fleet = []
        for person in self.people:
            order = self._play(person, way, self._plan.days, stretches(self._windows, person))
            blocks = blocks_of((signal[0][order], signal[1][order]), self._rule)
            fleet.append(Stream(blocks, None, self._block_s))
        return [fleet]

    def changed(self, way: str, change: str, say: Say) -> list[Fleet]:
        """A stream of each person, in which something changes; as often as activities are held back."""
        found = []
        for held in self.held_back() if change == ACTIVITY else [None]:
            say(f"{self._dataset}, {way}, {change} {'' if held is None else self._windows.label_names[held]}")
            found.append(self._changed(way, change, held))
        return found

    def _changed(self, way: str, change: str, held: int | None) -> Fleet:
        model = self._model(held)
        before = model.signal(self._windows.x)
        after = before if held is not None else model.signal(changed_windows(change, self._windows.x))
        days, fleet = self._plan.days / 2, []
        for person in self.people:
            parts = stretches(self._windows, person)
            usual = [part for part in parts if self._windows.y[part[0]] != held]
            old = self._play(person, way, days * self._plan.before, usual)
            new = self._play(person, way, days * (1 - self._plan.before), parts)
            clusters = np.concatenate([before[0][old], after[0][new]])
            novelty = np.concatenate([before[1][old], after[1][new]])
            blocks = blocks_of((clusters, novelty), self._rule)
            fleet.append(Stream(blocks, len(old) // self._rule.block, self._block_s))
        return fleet

    @property
    def _block_s(self) -> float:
        return self._rule.block * self._hop_s

    def _play(
        self, person: int, way: str, days: float, parts: list[npt.NDArray[np.int64]]
    ) -> npt.NDArray[np.int64]:
        activity = [float(np.abs(np.diff(self._windows.x[part], axis=1)).mean()) for part in parts]
        quiet = [parts[i] for i in np.argsort(activity, kind="stable")[: max(1, len(parts) // 5)]]
        rng = np.random.default_rng(
            [self._plan.seed, person, zlib.crc32(f"{way} {days} {len(parts)}".encode())]
        )
        return play(parts, quiet, way, round(days * _DAY / self._hop_s), self._hop_s, rng)
