"""``disc-stream benchmark drift``: how often drift is seen where there is none, and how soon where there is.

The signals are real recordings in the eyes of a quick model: spectral descriptors, k-means on one half of the
people, and of the other half the novelty of each window (squared distance over the cluster's 95 % quantile).

*Stationary*: stretches of one person's recordings, one activity each, are drawn at random for a month of
wearing the device, in two ways. ``shuffled`` plays each stretch once. ``days`` lets each last for one to ten
minutes, and the quietest alone for eight of the 24 hours, which is as uneven as a day is.

*Changed*: the same stream, and from one moment on the same stretches of the same person in another way: with
an activity that was held back from the model and from the time before; with the sensor turned by a quarter;
turned by 30°; with a gain of 1.1.

The *dummy* fires at random, as often as the detector did over all of these streams together, changed or not.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from disc_stream.clustering.drift import MONTH_S, Detector, DeviceWatch, DriftRule, adwin
from disc_stream.data.readers.loading import load_recordings
from disc_stream.data.readers.registry import get_reader
from disc_stream.data.types import UNLABELLED, WindowSet
from disc_stream.data.windows import plan_windows, window_recordings
from disc_stream.types import Float32Array

SCHEMA = "disc-stream.drift/1"
DATASETS = ("hapt", "motionsense", "wisdm", "mhealth-partial")
WAYS = ("shuffled", "days")
CHANGES = ("activity", "quarter turn", "turn 30°", "gain 1.1")
_DAY = 86_400.0
_SHORTEST = 4  # windows of a stretch
_QUIET_SHARE = 1 / 3  # of a day
_CLUSTERS = 12
_DUMMIES = 200  # repetitions of the dummy

Say = Callable[[str], None]
Signal = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]  # cluster and novelty of each window
Blocks = npt.NDArray[np.float64]  # (n, 2): mean residual, share of unknown


@dataclass(frozen=True, slots=True)
class DriftPlan:
    """How much is measured.

    Args:
        people: of each dataset, at most.
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
        import torch
        from sklearn.cluster import KMeans

        from disc_stream.models.descriptors import Descriptors

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
        import torch

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
        part = pool[rng.integers(len(pool))]
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
        path: of the data.
        plan: how much.
        rule: whose blocks are made.
    """

    def __init__(self, dataset: str, path: Path | None, plan: DriftPlan, rule: DriftRule) -> None:
        reader = get_reader(dataset)
        recordings = load_recordings(dataset, path)
        sizes = plan_windows(reader.fs, reader.window_s, 0.5)
        self._windows = window_recordings(recordings, sizes)
        self._hop_s = sizes.hop / reader.fs
        self._plan, self._rule, self._dataset = plan, rule, dataset
        people = np.unique(self._windows.subject)
        self._learned = np.isin(self._windows.subject, people[::2])
        self.people = [int(person) for person in people[1::2][: plan.people]]

    def held_back(self) -> int:
        """The activity that is held back: of those that everybody does, the one in the middle by number."""
        labels = [set(self._windows.y[self._windows.subject == person]) for person in self.people]
        common = sorted(set.intersection(*labels) - {UNLABELLED})
        return int(common[len(common) // 2])

    def stationary(self, way: str, say: Say) -> Iterator[Stream]:
        """A stream of each person."""
        model = QuickModel(self._windows.select(self._learned), self._plan.seed)
        signal = model.signal(self._windows.x)
        for person in self.people:
            say(f"{self._dataset}, {way}, stationary, person {person}")
            order = self._play(person, way, self._plan.days, stretches(self._windows, person))
            yield Stream(blocks_of((signal[0][order], signal[1][order]), self._rule), None, self._block_s)

    def changed(self, way: str, change: str, say: Say) -> Iterator[Stream]:
        """A stream of each person, in which something changes."""
        held = self.held_back() if change == "activity" else None
        known = self._learned if held is None else self._learned & (self._windows.y != held)
        model = QuickModel(self._windows.select(known), self._plan.seed)
        before = model.signal(self._windows.x)
        after = before if held is not None else model.signal(changed_windows(change, self._windows.x))
        days = self._plan.days / 2
        for person in self.people:
            say(f"{self._dataset}, {way}, {change}, person {person}")
            parts = stretches(self._windows, person)
            usual = [part for part in parts if self._windows.y[part[0]] != held]
            old = self._play(person, way, days * self._plan.before, usual)
            new = self._play(person, way, days * (1 - self._plan.before), parts)
            signal = tuple(np.concatenate([before[i][old], after[i][new]]) for i in (0, 1))
            blocks = blocks_of((signal[0].astype(np.int64), signal[1]), self._rule)
            yield Stream(blocks, len(old) // self._rule.block, self._block_s)

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


# -- detectors -------------------------------------------------------------------------------------------


def candidates(rule: DriftRule) -> dict[str, Callable[[], Detector]]:
    """What is compared: that of the server first."""
    from river.drift import KSWIN, PageHinkley

    half = rule.delta / 2
    return {
        "ADWIN": adwin(half),
        "Page-Hinkley": lambda: PageHinkley(min_instances=30, delta=0.01, threshold=1.0, alpha=1.0),
        "KSWIN": lambda: KSWIN(alpha=1e-6, window_size=100, stat_size=30, seed=0),
    }


def alarms(stream: Stream, make: Callable[[], Detector], min_blocks: int) -> list[int]:
    """Blocks at which a device of this stream alarms; after each its detectors begin anew."""
    found, detectors, since = [], [make(), make()], 0
    for number, values in enumerate(stream.blocks.tolist()):
        since += 1
        changed = False
        for detector, value in zip(detectors, values, strict=True):
            detector.update(value)
            changed |= detector.drift_detected
        if changed and since >= min_blocks:
            found.append(number)
            detectors, since = [make(), make()], 0
    return found


def chance(streams: Sequence[Stream], rate: float, rng: np.random.Generator) -> list[list[int]]:
    """Blocks at which the dummy fires."""
    return [np.flatnonzero(rng.random(len(one.blocks)) < rate).tolist() for one in streams]


def score(streams: Sequence[Stream], found: Sequence[Sequence[int]]) -> dict[str, Any]:
    """False alarms per device and month, share of changes that were seen within a day, and the delay.

    An alarm is false where nothing has changed, and before the change.
    """
    months, false, delays, n_changes = 0.0, 0, [], 0
    for stream, at in zip(streams, found, strict=True):
        end = len(stream.blocks) if stream.change is None else stream.change
        months += end * stream.block_s / MONTH_S
        false += sum(number < end for number in at)
        if stream.change is None:
            continue
        n_changes += 1
        after = [number for number in at if number >= end]
        delays.append((after[0] - end + 1) * stream.block_s / 3600 if after else np.inf)
    facts: dict[str, Any] = {"false_alarms": false, "device_months": round(months, 2)}
    facts["false_per_month"] = round(false / months, 3) if months else None
    if n_changes:
        within = np.array(delays)
        median = float(np.median(within))
        facts |= {
            "changes": n_changes,
            "seen_in_a_day": round(float((within <= 24).mean()), 3),
            "seen_ever": round(float(np.isfinite(within).mean()), 3),
            "median_delay_h": round(median, 1) if np.isfinite(median) else None,
        }
    return facts


# -- all of it -------------------------------------------------------------------------------------------


def run(
    datasets: Sequence[str], paths: Callable[[str], Path | None], plan: DriftPlan, say: Say
) -> dict[str, Any]:
    """Measure.

    Args:
        datasets: names.
        paths: where each is.
        plan: how much.
        say: is told what is being done.

    Returns:
        The report: ``rows``, one for each dataset, way, change (or ``none``) and detector.

    Raises:
        DiscStreamError: if a dataset cannot be read, or river is not installed.
    """
    rule = DriftRule()
    detectors = candidates(rule)
    rows = []
    for dataset in datasets:
        say(f"reading {dataset}")
        maker = Streams(dataset, paths(dataset), plan, rule)
        for way in WAYS:
            kinds = {"none": list(maker.stationary(way, say))}
            kinds |= {change: list(maker.changed(way, change, say)) for change in CHANGES}
            for name, make in detectors.items():
                say(f"{dataset}, {way}: {name}")
                rows += _rows((dataset, way, name), kinds, make, rule, plan)
    facts = {"people": plan.people, "days": plan.days, "seed": plan.seed}
    return {"schema": SCHEMA, **facts, "rule": _rule_facts(rule), "rows": rows, "totals": totals(rows)}


def _rows(
    where: tuple[str, str, str],
    kinds: dict[str, list[Stream]],
    make: Callable[[], Detector],
    rule: DriftRule,
    plan: DriftPlan,
) -> list[dict[str, Any]]:
    found = {kind: [alarms(one, make, rule.min_blocks) for one in streams] for kind, streams in kinds.items()}
    n_alarms = sum(len(at) for several in found.values() for at in several)
    rate = n_alarms / sum(len(one.blocks) for streams in kinds.values() for one in streams)
    rng = np.random.default_rng([plan.seed, zlib.crc32(" ".join(where).encode())])
    rows = []
    for kind, streams in kinds.items():
        dummies = [score(streams, chance(streams, rate, rng)) for _ in range(_DUMMIES)]
        names = [name for name in ("false_per_month", "seen_in_a_day", "seen_ever") if name in dummies[0]]
        dummy = {name: round(float(np.mean([one[name] for one in dummies])), 3) for name in names}
        facts = dict(zip(("dataset", "way", "detector"), where, strict=True))
        rows.append({**facts, "change": kind, **score(streams, found[kind]), "dummy": dummy})
    return rows


def totals(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Over all datasets: by way and detector, false alarms of stationary streams, and changes seen in a day."""
    found = []
    for way in WAYS:
        for name in dict.fromkeys(row["detector"] for row in rows):
            mine = [row for row in rows if (row["way"], row["detector"]) == (way, name)]
            still = [row for row in mine if row["change"] == "none"]
            moved = [row for row in mine if row["change"] != "none"]
            months = sum(row["device_months"] for row in still)
            dummy = [np.mean([row["dummy"][key] for row in part]) for part, key in (
                (still, "false_per_month"), (moved, "seen_in_a_day"))]  # fmt: skip
            found.append({
                "way": way, "detector": name,
                "false_per_month": round(sum(row["false_alarms"] for row in still) / months, 3),
                "worst_dataset": max(row["false_per_month"] for row in still),
                "seen_in_a_day": round(float(np.mean([row["seen_in_a_day"] for row in moved])), 3),
                "dummy_false_per_month": round(float(dummy[0]), 3),
                "dummy_seen_in_a_day": round(float(dummy[1]), 3),
            })  # fmt: skip
    return found


def _rule_facts(rule: DriftRule) -> dict[str, Any]:
    return {"block": rule.block, "min_blocks": rule.min_blocks, "delta": rule.delta, "unknown": rule.unknown}
