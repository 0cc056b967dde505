"""Motion that was not there before: groups of windows that resemble one another more than anything known.

A model's own distances cannot tell. Its map was learned without the new motion, and may squeeze it into a
cluster of something else; and a new person's walk is as far from all that is known as a new activity. So this
looks at descriptors of the windows, and compares two distances of every window:

- to the k-th nearest window of what is known, a bounded sample of earlier motion (``KnownMotion``);
- to the k-th nearest window of *other devices* among all that there is now.

Known motion has as near neighbours among the known as among all, whoever does it. New motion that several
devices make has near neighbours in the present alone. The difference of the logarithms of the two is the
*surplus*; without any new motion it is about 0 everywhere. It is a local form of the nearest-neighbour
two-sample test (Schilling 1986, doi:10.1080/01621459.1986.10478337) with distances for counts. How large the
two samples are matters little; what it matters is the same for a cluster's windows, and taken from the known
ones among them.

Two people can have a way of walking in common that no other has. How far such a pair is from the others is
seen in the known motion: each window's distance without its own device and the one most like it, beside that
without its own alone. In a cluster where pairs of people differ much, the surplus has to be larger.

Windows with a surplus that lasts are linked to their nearest neighbours among them; what hangs together is a
group, if it is large enough and comes from several devices.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from disc_stream.clustering.anchors import share_out
from disc_stream.errors import ConfigError, DataError
from disc_stream.types import Float32Array, IntArray

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_BLOCK = 1024  # windows whose distances are computed at once
_SHRINKAGE = 0.05  # of the covariance within clusters, towards a multiple of the identity
_PER_COMPONENT = 20  # known windows for each direction that is looked at
_FEW = 20  # known windows of a cluster, below which it has the common constants
_TINY = 1e-9
_LEAST_DEVIATION = 1e-6
_SAME = 1e-6  # squared difference of a descriptor, in variances, below which two windows are one
_USUAL = 0.99  # quantile of what known windows show among themselves, up to which it is nothing special


@dataclass(frozen=True, slots=True)
class KnownMotion:
    """A sample of the motion that a model has clusters for.

    Args:
        features: (m, F) float32, descriptors of windows.
        rows: (m,) cluster of each, int64.
        devices: (m,) number of the device of each, int64; the same device has the same number for ever.

    Raises:
        DataError: if the arrays do not fit one another.
    """

    features: Float32Array = field(repr=False)
    rows: IntArray = field(repr=False)
    devices: IntArray = field(repr=False)

    def __post_init__(self) -> None:
        """Check the shapes."""
        m = len(self.features)
        if self.features.ndim != 2 or self.rows.shape != (m,) or self.devices.shape != (m,):
            raise DataError(
                f"known motion needs (m, F) features with m rows and devices, got {self.features.shape}, "
                f"{self.rows.shape} and {self.devices.shape}"
            )

    def __len__(self) -> int:
        return len(self.features)

    def joined(self, other: KnownMotion) -> KnownMotion:
        """These and the others, but for those that are here already: windows of one device that are equal."""
        deviation = self.features.std(0, dtype=np.float64)
        factor = np.where(deviation > _LEAST_DEVIATION, 1.0 / np.maximum(deviation, _LEAST_DEVIATION), 0.0)
        fresh = np.ones(len(other), dtype=np.bool_)
        for device in np.intersect1d(self.devices, other.devices):
            mine, its = self.devices == device, np.flatnonzero(other.devices == device)
            there, here = self.features[mine] * factor, other.features[its] * factor
            for start in range(0, len(its), _BLOCK):
                block = slice(start, start + _BLOCK)
                apart = _squared(here[block], there).min(1)
                fresh[its[block]] = apart > _SAME * len(factor)
        return KnownMotion(
            np.concatenate([self.features, other.features[fresh]]),
            np.concatenate([self.rows, other.rows[fresh]]),
            np.concatenate([self.devices, other.devices[fresh]]),
        )

    def reduced(self, most: int, *, seed: int) -> KnownMotion:
        """At most ``most`` of the windows, shared out evenly between all pairs of cluster and device."""
        if len(self) <= most:
            return self
        random = np.random.default_rng(seed)
        _, which = np.unique(np.stack([self.rows, self.devices]), axis=1, return_inverse=True)
        order = np.lexsort((random.random(len(self)), which.reshape(-1)))
        parts = np.split(order, np.flatnonzero(np.diff(which.reshape(-1)[order])) + 1)
        shares = share_out(most, [len(part) for part in parts], random)
        chosen = np.sort(np.concatenate([p[:s] for p, s in zip(parts, shares, strict=True)]))
        return KnownMotion(self.features[chosen], self.rows[chosen], self.devices[chosen])


@dataclass(frozen=True, slots=True)
class NewMotionRule:
    """From when on windows are a group of new motion.

    Args:
        neighbours: k.
        surplus: of a window and its neighbours in time on average, in natural logarithms of distance, at
            least.
        windows: of a group, at least.
        devices: that it comes from, at least.
        of_each: windows of a device that count it, at least.

    Raises:
        ConfigError: if a number is below 1, or the surplus not above 0.
    """

    neighbours: int = 5
    surplus: float = 0.1
    windows: int = 20
    devices: int = 2
    of_each: int = 5

    def __post_init__(self) -> None:
        """Check the numbers."""
        if min(self.neighbours, self.windows, self.devices, self.of_each) < 1 or not self.surplus > 0:
            raise ConfigError(
                "numbers of windows, devices and neighbours must be at least 1, surplus above 0"
            )


@dataclass(frozen=True, slots=True)
class NewMotion:
    """What was found.

    Args:
        groups: positions of the windows of each group, the largest first.
        surplus: (n,) of every window, after what is usual in its cluster.
        near: (n,) see ``near_to``.
    """

    groups: tuple[IntArray, ...]
    surplus: Floats = field(repr=False)
    near: Mask = field(repr=False)

    def reordered(self, order: IntArray) -> NewMotion:
        """The same of windows of which these were ``windows[order]``."""
        surplus, near = np.empty_like(self.surplus), np.empty_like(self.near)
        surplus[order], near[order] = self.surplus, self.near
        return NewMotion(tuple(np.sort(order[group]) for group in self.groups), surplus, near)

    @property
    def grouped(self) -> Mask:
        """(n,) which windows are in a group."""
        out = np.zeros(len(self.near), dtype=np.bool_)
        for group in self.groups:
            out[group] = True
        return out


@dataclass(frozen=True, slots=True)
class Whitening:
    """features -> (features - mean) @ project, in which clusters are about round and of variance 1.

    Args:
        mean: (F,).
        project: (F, d).
    """

    mean: Floats
    project: Floats

    @classmethod
    def of(cls, features: npt.NDArray[np.floating], rows: IntArray) -> Whitening:
        """By the common covariance of windows (m, F) within their clusters, shrunk."""
        x = np.asarray(features, dtype=np.float64)
        mean, deviation = x.mean(0), x.std(0)
        telling = deviation > np.maximum(_LEAST_DEVIATION, _LEAST_DEVIATION * np.abs(x).max(0))
        factor = np.where(telling, 1.0 / np.where(telling, deviation, 1.0), 0.0)
        x = (x - mean) * factor
        axes = np.eye(x.shape[1])
        if (most := max(1, len(x) // _PER_COMPONENT)) < x.shape[1]:
            axes = np.linalg.svd(x, full_matrices=False)[2][:most].T
            x = x @ axes
        inner = x.copy()
        for row in np.unique(rows):
            inner[rows == row] -= inner[rows == row].mean(0)
        powers, turned = np.linalg.eigh(inner.T @ inner / len(inner))
        powers = np.maximum(powers, 0.0) + max(_SHRINKAGE * float(powers.mean()), _TINY)
        return cls(mean, factor[:, None] * (axes @ (turned / np.sqrt(powers))))

    def directions_of(self, project: Floats) -> Floats:
        """A linear map (F, q) of features as one of the whitened ones, (d, q)."""
        return np.asarray(np.linalg.pinv(self.project) @ project)

    def __call__(self, features: npt.NDArray[np.floating]) -> Floats:
        """(n, F) -> (n, d)."""
        return np.asarray((np.asarray(features, dtype=np.float64) - self.mean) @ self.project)


def find_new_motion(
    features: npt.NDArray[np.floating],
    rows: IntArray,
    devices: IntArray,
    known: KnownMotion,
    rule: NewMotionRule | None = None,
) -> NewMotion:
    """Look for groups of new motion.

    Args:
        features: (n, F) of windows by device and time.
        rows: (n,) the cluster that the model puts each into.
        devices: (n,) as in ``known``.
        known: what the model has clusters for.
        rule: None for the usual one.

    Returns:
        No group where fewer than three devices are known: nobody can say then how pairs of them differ.
    """
    rule = rule or NewMotionRule()
    n, k = len(features), rule.neighbours
    whiten = Whitening.of(known.features, known.rows)
    there, here = whiten(known.features), whiten(features)
    far, _ = _neighbours(here, None, there, known.devices, k)  # what a device did before is known, too
    beside, nearest = _neighbours(here, devices, here, devices, k)
    own, twin = _neighbours(there, known.devices, there, known.devices, k)
    again, _ = _neighbours(there, known.devices, here, devices, k)
    if not (np.isfinite(own) & np.isfinite(again)).any():
        return NewMotion((), np.zeros(n), np.ones(n, dtype=np.bool_))

    # Below 0 where a cluster's motion is hardly there now, which says nothing of how dense it would be.
    usual = np.maximum(_by_row(_difference(own, again), known.rows, rows, 0.5), 0.0)
    surplus = _lasting(_difference(far, beside) - usual, devices)
    # Without the device most like it, too: as if that and its own were the only two to move in this way.
    alone, _ = _neighbours(there, known.devices, there, known.devices, k, known.devices[twin[:, 0]])
    pairs = _by_row(_difference(alone, own), known.rows, rows, _USUAL)
    new = np.flatnonzero(surplus > np.maximum(rule.surplus, pairs))
    groups = _linked(new, nearest, n)
    fit = [g for g in groups if len(g) >= rule.windows and _n_devices(devices[g], rule) >= rule.devices]
    near = far <= _by_row(own, known.rows, rows, _USUAL)
    return NewMotion(tuple(sorted(fit, key=lambda g: (-len(g), g[0]))), surplus, near)


def near_to(
    known: KnownMotion, features: npt.NDArray[np.floating], rows: IntArray, rule: NewMotionRule | None = None
) -> Mask:
    """Whether windows are as near to what is known as most of that is, from one device to the others: (n,).

    Arguments are those of ``find_new_motion``.
    """
    k = (rule or NewMotionRule()).neighbours
    whiten = Whitening.of(known.features, known.rows)
    there = whiten(known.features)
    own, _ = _neighbours(there, known.devices, there, known.devices, k)
    if not np.isfinite(own).any():
        return np.ones(len(features), dtype=np.bool_)
    far, _ = _neighbours(whiten(features), None, there, known.devices, k)
    return np.asarray(far <= _by_row(own, known.rows, rows, _USUAL))


def _difference(one: Floats, other: Floats) -> Floats:
    """NaN where one of them is not there."""
    out = np.full(len(one), np.nan)
    np.subtract(one, other, out=out, where=np.isfinite(one) & np.isfinite(other))
    return out


def _neighbours(
    x: Floats,
    of_x: IntArray | None,
    y: Floats,
    of_y: IntArray,
    k: int,
    nor_of: IntArray | None = None,
) -> tuple[Floats, IntArray]:
    """Logarithm of the distance to the k-th nearest of ``y``, (n,); which these are, (n, k).

    Those of the same device are passed over, unless ``of_x`` is None. Infinite where there are fewer than k.
    """
    targets = y.astype(np.float32)
    squares, k = np.square(targets).sum(1), min(k, len(targets))
    distance, found = np.empty(len(x)), np.empty((len(x), k), dtype=np.int64)
    for start in range(0, len(x), _BLOCK):
        block = slice(start, start + _BLOCK)
        part = x[block].astype(np.float32)
        apart = np.square(part).sum(1)[:, None] - 2.0 * part @ targets.T + squares
        if of_x is not None:
            apart[of_x[block][:, None] == of_y[None]] = np.inf
        if nor_of is not None:
            apart[nor_of[block][:, None] == of_y[None]] = np.inf
        nearest = np.argpartition(apart, k - 1, axis=1)[:, :k]
        there = np.take_along_axis(apart, nearest, axis=1)
        found[block] = np.take_along_axis(nearest, there.argsort(1, kind="stable"), axis=1)
        distance[block] = there.max(1)
    return 0.5 * np.log(np.maximum(distance, _TINY)), found


def _squared(x: npt.NDArray[np.floating], y: npt.NDArray[np.floating]) -> Floats:
    """Squared distances, (n, d) and (m, d) -> (n, m)."""
    return np.asarray(np.square(x).sum(1)[:, None] - 2.0 * x @ y.T + np.square(y).sum(1)[None])


def _by_row(values: Floats, rows: IntArray, wanted: IntArray, level: float) -> Floats:
    """A quantile of the values of each window's row, (n,); of all values where a row has too few.

    Infinite, so that nothing is beyond it, where there are none at all.
    """
    there = np.isfinite(values)
    common = float(np.quantile(values[there], level)) if there.any() else np.inf
    table = np.full(1 + int(max(rows.max(), wanted.max())), common)
    for row in np.unique(rows):
        mine = values[there & (rows == row)]
        if len(mine) >= _FEW:
            table[row] = np.quantile(mine, level)
    return np.asarray(table[wanted])


def _lasting(values: Floats, devices: IntArray) -> Floats:
    """Mean of each window and those of its device before and after it; -inf where one is not there."""
    values = np.where(np.isfinite(values), values, -np.inf)
    before, after = np.r_[values[:1], values[:-1]], np.r_[values[1:], values[-1:]]
    first = np.r_[True, devices[1:] != devices[:-1]]
    last = np.r_[devices[1:] != devices[:-1], True]
    return np.asarray((np.where(first, values, before) + values + np.where(last, values, after)) / 3.0)


def _linked(new: IntArray, nearest: IntArray, n: int) -> list[IntArray]:
    """What hangs together of the windows ``new``, by their nearest neighbours among them."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    place = np.full(n, -1)
    place[new] = np.arange(len(new))
    source = np.repeat(np.arange(len(new)), nearest.shape[1])
    target = place[nearest[new]].reshape(-1)
    there = target >= 0
    links = csr_matrix((np.ones(int(there.sum())), (source[there], target[there])), (len(new), len(new)))
    count, which = connected_components(links, directed=False)
    return [new[which == one] for one in range(count)]


def _n_devices(devices: IntArray, rule: NewMotionRule) -> int:
    return int((np.unique(devices, return_counts=True)[1] >= rule.of_each).sum())
