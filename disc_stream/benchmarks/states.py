"""Not worn and unknown: how often worn devices and known motion are called so, and how soon others are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from disc_stream.benchmarks.cells import hardware
from disc_stream.benchmarks.quick import Motion, assign, describe_windows, load_motion, recordings_of
from disc_stream.clustering.novelty import NoveltyThresholds, calibrate, optimism
from disc_stream.data.readers.registry import get_reader
from disc_stream.data.synthetic import CHANNELS, SensorModel
from disc_stream.data.types import Recording
from disc_stream.signal.nonwear import van_hees_nonwear
from disc_stream.stream.wear import Stillness, WearDetector, WearRule, WearState
from disc_stream.training.runs import load_run
from disc_stream.types import Float32Array, IntArray

DATASETS = ("hapt", "motionsense", "wisdm")

_INPUT_S = 1.28
_TABLE_S, _COOLS_S = 4 * 3600, 600.0
_SPLITS, _FOLDS = 5, 4
_Floats = npt.NDArray[np.float64]


def measure_states(
    datasets: Sequence[str],
    data: Path | None,
    seed: int,
    rate: float = 0.02,
    *,
    runs: Sequence[Path] = (),
    on_step: Callable[[str], None] = lambda _what: None,
) -> dict[str, Any]:
    """Measure both states on real recordings and on a synthetic sensor that lies on a table.

    Args:
        datasets: names as ``quick.load_motion`` takes them; not used if there are ``runs``.
        data: the folder that holds them.
        seed: of splits, clustering and noise.
        rate: of known motion that may be called unknown.
        runs: folders of trained runs; only the unknown is measured then, with their networks, on the people
        that     they were not trained on.
        on_step: told what is measured next.

    Raises:
        ConfigError: if a dataset is not known.
        InputNotFoundError: if it is not there, or a run.
        TrainingError: if a folder holds no finished run.
    """
    if runs:
        found = [_of_run(folder, data, rate, seed) for folder in runs]
        return {"seed": seed, "hardware": hardware(), "not_worn": [], "table": {}, "unknown": found}
    not_worn, unknown = [], []
    for name in datasets:
        on_step(f"{name}: not worn")
        not_worn.append(_worn_recordings(name, recordings_of(name, data, seed)))
        motion = load_motion(name, data, seed)
        on_step(f"{name}: unknown")
        unknown.append(_unknown(motion, rate, seed))
    on_step("a sensor on a table")
    return {
        "seed": seed,
        "hardware": hardware(),
        "not_worn": not_worn,
        "table": _table(seed),
        "unknown": unknown,
    }


# Not worn


def _worn_recordings(name: str, recordings: Sequence[Recording]) -> dict[str, Any]:
    """People who wear the sensor all the time: every window not worn is false."""
    rules = {
        "default": WearRule(),
        "6 mg for 1 min": WearRule(ways=(Stillness(6.0, 60.0),)),
        "50 mg for 1 min": WearRule(ways=(Stillness(50.0, 60.0),)),
        "50 mg for 2 min": WearRule(ways=(Stillness(50.0, 120.0),)),
    }
    hours = sum(recording.seconds for recording in recordings) / 3600
    return {
        "dataset": name,
        "hours": round(hours, 1),
        "false_not_worn": {
            words: round(_share_not_worn(recordings, rule), 5) for words, rule in rules.items()
        },
        "creeping": [_creeping(recordings, seconds) for seconds in (10, 30, 60, 120)],
    }


def _share_not_worn(recordings: Sequence[Recording], rule: WearRule) -> float:
    """Share of windows that are called not worn."""
    states = [state for recording in recordings for state in _follow(recording.samples, recording, rule)]
    return sum(not state.worn for state in states) / max(1, len(states))


def _creeping(recordings: Sequence[Recording], seconds: float) -> dict[str, Any]:
    """How far the level of people at rest moves, over stretches of still windows of that length."""
    detector = WearDetector(recordings[0].channels, _INPUT_S, WearRule(ways=(Stillness(1e9, 1e9),)))
    found = []
    for recording in recordings:
        state = None
        length = round(_INPUT_S * recording.fs)
        for k in range(len(recording.samples) // length):
            state = detector.update(state, 0, _at(k), recording.samples[k * length : (k + 1) * length])
            (stretch,) = state.stretches
            if stretch.still_us >= seconds * 1e6:
                found.append(max(np.subtract(stretch.high, stretch.low)))
                state = None
    moved = np.array(found)
    if len(moved) == 0:
        return {"seconds": seconds, "stretches": 0}
    return {
        "seconds": seconds,
        "stretches": len(moved),
        "median_mg": round(float(np.median(moved)), 1),
        "within_6_mg": round(float((moved < 6.0).mean()), 3),
    }


def _table(seed: int) -> dict[str, Any]:
    """A sensor that is worn, laid on a table for four hours and picked up again; several kinds of sensor."""
    kinds = {
        "3 mg, 4 mrad/s": SensorModel(),
        "1 mg, 2 mrad/s": SensorModel(acc_noise=0.001, gyro_noise=0.002),
        "8 mg, 8 mrad/s": SensorModel(acc_noise=0.008, gyro_noise=0.008),
        "1 mg, 12 bits": SensorModel(acc_noise=0.001, bits=12),
    }
    return {words: _on_table(kind, seed) for words, kind in kinds.items()}


def _on_table(kind: SensorModel, seed: int) -> dict[str, Any]:
    from disc_stream.data.synthetic.sensor import Sensor

    fs, length = 50.0, round(_INPUT_S * 50)
    rng = np.random.default_rng(seed)
    still = np.tile([0.0, 0.0, 1.0, 0.0, 0.0, 0.0], (int(_TABLE_S * fs), 1))
    # It cools down from the skin's temperature, and its level drifts by 10 mg as it does.
    still[:, 0] += 0.01 * (1.0 - np.exp(-np.arange(len(still)) / fs / _COOLS_S))
    lying = Sensor(rng, kind).block(still)
    walking = recordings_of("synthetic", None, seed)[0].samples[: 60 * length]
    samples = np.concatenate([walking, lying, walking])
    recording = Recording(
        "table", 0, fs, CHANNELS, samples, np.full(len(samples), -1, dtype=np.int16), ("none",)
    )
    states = list(_follow(samples, recording, WearRule()))
    worn = np.array([state.worn for state in states])
    laid, taken = 60, 60 + len(lying) // length
    first = next((k for k in range(laid, taken) if not worn[k]), None)
    blocks = van_hees_nonwear(lying[:, :3] * 1000.0, fs)
    return {
        "not_worn_after_min": None if first is None else round((first - laid + 1) * _INPUT_S / 60, 1),
        "missed_after_that": 0 if first is None else int(worn[first:taken].sum()),
        "worn_again_after_windows": int(np.argmax(worn[taken:])) + 1,
        "van_hees_2013_finds": f"{int(blocks.sum())} of {len(blocks)} blocks",
    }


def _follow(samples: Float32Array, like: Recording, rule: WearRule) -> list[WearState]:
    detector, length = WearDetector(like.channels, _INPUT_S, rule), round(_INPUT_S * like.fs)
    state, states = None, []
    for k in range(len(samples) // length):
        state = detector.update(state, 0, _at(k), samples[k * length : (k + 1) * length])
        states.append(state)
    return states


def _at(window: int) -> int:
    return round(window * _INPUT_S * 1e6)


# Unknown


@dataclass(frozen=True, slots=True)
class _Parts:
    """Which windows are learned from, calibrated on, and judged."""

    train: npt.NDArray[np.bool_]
    held: npt.NDArray[np.bool_]
    test: npt.NDArray[np.bool_]


def _unknown(motion: Motion, rate: float, seed: int) -> dict[str, Any]:
    """Rates on people of the test part: half of all train, a fifth calibrate, the others judge."""
    z = describe_windows(motion.windows)
    rates: dict[str, list[float]] = {"q95": [], "trained": [], "trained, widened": [], "held out": []}
    found: dict[str, list[float]] = {}
    for split in range(_SPLITS):
        parts = _split(motion, seed + split)
        for words, value in _known_rates(z, motion, parts, rate, seed).items():
            rates[words].append(value)
        for activity, value in _held_back(z, motion, parts, rate, seed).items():
            found.setdefault(activity, []).append(value)
    return {
        "dataset": motion.name,
        "rate": rate,
        "splits": _SPLITS,
        "known_called_unknown": {words: _summary(values) for words, values in rates.items()},
        "held_back_called_unknown": {words: _summary(values) for words, values in sorted(found.items())},
    }


def _of_run(folder: Path, data: Path | None, rate: float, seed: int) -> dict[str, Any]:
    """Rates of a trained network on the people of its dataset's test part.

    Thresholds are from the training part, or from a random half of the test people; the other half judges.
    """
    run = load_run(folder)
    motion = load_motion(run.info.dataset, data, seed)
    row, distance = assign(run, motion)
    far, of, k = distance.astype(np.float64), motion.windows.subject, int(run.net.centroids.shape[0])
    judges = np.array(get_reader(run.info.dataset).test_subjects)
    train = ~np.isin(of, judges)
    rates: dict[str, list[float]] = {"q95": [], "trained": [], "held out": []}
    for split in range(_SPLITS):
        people = np.random.default_rng(seed + split).permutation(judges)
        held, test = np.isin(of, people[: len(people) // 2]), np.isin(of, people[len(people) // 2 :])
        limits = {
            "q95": _q95(far[train], row[train], k),
            "trained": calibrate(far[train], row[train], of[train], k, rate),
            "held out": calibrate(far[held], row[held], of[held], k, rate),
        }
        for words, limit in limits.items():
            rates[words].append(_rate(limit, (far[test], row[test]), of[test]))
    return {
        "dataset": motion.name,
        "run": folder.name,
        "rate": rate,
        "splits": _SPLITS,
        "known_called_unknown": {words: _summary(values) for words, values in rates.items()},
        "held_back_called_unknown": {},
    }


def _split(motion: Motion, seed: int) -> _Parts:
    people = np.random.default_rng(seed).permutation(motion.people)
    first, second = len(people) // 2, len(people) // 2 + max(1, len(people) // 5)
    of = motion.windows.subject
    return _Parts(
        np.isin(of, people[:first]), np.isin(of, people[first:second]), np.isin(of, people[second:])
    )


@dataclass(frozen=True, slots=True)
class _Fit:
    """Standardisation and centroids of the windows that were learned from."""

    mean: Float32Array
    spread: Float32Array
    centroids: _Floats

    def assign(self, z: Float32Array) -> tuple[_Floats, IntArray]:
        """Squared distance to the nearest centroid, and which it is."""
        scaled = (z - self.mean) / self.spread
        distance = (
            np.square(scaled).sum(1)[:, None]
            - 2 * scaled @ self.centroids.T
            + np.square(self.centroids).sum(1)
        )
        row: IntArray = distance.argmin(1)
        nearest: _Floats = np.maximum(distance[np.arange(len(z)), row], 0.0).astype(np.float64)
        return nearest, row


def _fit(z: Float32Array, n_clusters: int, seed: int) -> _Fit:
    from sklearn.cluster import KMeans

    mean, spread = z.mean(0), np.maximum(z.std(0), 1e-6)
    centroids = KMeans(n_clusters, n_init=2, random_state=seed).fit((z - mean) / spread).cluster_centers_
    return _Fit(mean, spread, centroids)


def _known_rates(z: Float32Array, motion: Motion, parts: _Parts, rate: float, seed: int) -> dict[str, float]:
    k, of = motion.n_clusters, motion.windows.subject
    fit = _fit(z[parts.train], k, seed)
    trained, held, test = (fit.assign(z[part]) for part in (parts.train, parts.held, parts.test))
    limits = {
        "q95": _q95(*trained, k),
        "trained": calibrate(*trained, of[parts.train], k, rate),
        "held out": calibrate(*held, of[parts.held], k, rate),
    }
    limits["trained, widened"] = limits["trained"].widened(_factor(z, motion, parts, rate, seed))
    return {words: _rate(limit, test, of[parts.test]) for words, limit in limits.items()}


def _q95(distance: _Floats, row: IntArray, k: int) -> NoveltyThresholds:
    """Novelty as labels have it: distance over the 95 % quantile of the cluster's training windows."""
    q95 = np.array([np.quantile(distance[row == j], 0.95) if (row == j).any() else np.nan for j in range(k)])
    return NoveltyThresholds(0.05, q95, np.ones(k, dtype=np.bool_), 0, len(row))


def _factor(z: Float32Array, motion: Motion, parts: _Parts, rate: float, seed: int) -> float:
    """Leave each quarter of the training people out in turn, fit anew, and compare; the mean of the four."""
    of = motion.windows.subject
    people = np.unique(of[parts.train])
    factors = []
    for fold in range(_FOLDS):
        left_out = parts.train & np.isin(of, people[fold::_FOLDS])
        stays = parts.train & ~left_out
        fit = _fit(z[stays], motion.n_clusters, seed)
        factors.append(
            optimism(fit.assign(z[stays]), fit.assign(z[left_out]), (of[stays], of[left_out]), rate)
        )
    return float(np.mean(factors))


def _held_back(z: Float32Array, motion: Motion, parts: _Parts, rate: float, seed: int) -> dict[str, float]:
    """Share of an activity's windows called unknown where nobody was seen doing it before."""
    y, of, out = motion.windows.y, motion.windows.subject, {}
    for label, name in enumerate(motion.windows.label_names):
        new = parts.test & (y == label)
        if new.sum() < 50:
            continue
        fit = _fit(z[parts.train & (y != label)], motion.n_clusters, seed)
        known = parts.held & (y != label)
        limit = calibrate(*fit.assign(z[known]), of[known], motion.n_clusters, rate)
        out[name] = _rate(limit, fit.assign(z[new]), of[new])
    return out


def _rate(limit: NoveltyThresholds, windows: tuple[_Floats, IntArray], of: npt.NDArray[np.integer]) -> float:
    """Share of windows above their threshold, each person with the same weight."""
    above = limit.novelty(*windows) > 1.0
    return float(np.mean([above[of == person].mean() for person in np.unique(of)]))


def _summary(values: Sequence[float]) -> dict[str, float]:
    return {
        "mean": round(float(np.mean(values)), 4),
        "least": round(min(values), 4),
        "most": round(max(values), 4),
    }
