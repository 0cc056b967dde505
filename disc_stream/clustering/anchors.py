"""Anchors: a bounded, weighted sample of windows that stands for all that was published under each id.

The rule. An id may keep ``Bounds.per_id`` anchors (fewer where all ids together would have more than
``Bounds.total``). These are shared out evenly between the devices that it was seen on; a device with fewer
windows than its share leaves the rest to the others, and of what cannot be shared evenly, a seeded order of
the devices decides. Within one id and device, windows are sorted by their distance to the id's centroid and
cut into as many strata of equal weight as there are anchors to keep; one window is drawn from each stratum,
with probability in proportion to its weight, and takes the weight of the whole stratum. So the core of a
cluster and its border are both there, and weighted counts of anchors estimate counts of windows without bias
(stratified sampling, Cochran 1977, chapter 5). A kept anchor enters the next choice like a window of its
weight: choosing again, batch by batch or over many retrainings, needs the memory of one batch and the anchors
(the merge-and-reduce scheme of coresets, Har-Peled and Mazumdar 2004, doi:10.1145/1007352.1007400).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from disc_stream.errors import ConfigError, DataError
from disc_stream.types import Float32Array, IntArray

Weights = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many anchors there may be.

    Args:
        per_id: of one id.
        total: of all ids together; each id keeps at least one.

    Raises:
        ConfigError: if one is below 1.
    """

    per_id: int = 200
    total: int = 10_000

    def __post_init__(self) -> None:
        """Check the values."""
        if self.per_id < 1 or self.total < 1:
            raise ConfigError(f"at least one anchor per id and in all, got {self.per_id} and {self.total}")

    def of_each(self, n_ids: int) -> int:
        """Anchors that one id may have when there are ``n_ids`` of them."""
        return max(1, min(self.per_id, self.total // max(1, n_ids)))


@dataclass(frozen=True, slots=True)
class AnchorSet:
    """Windows with what they were published as; also the candidates that anchors are chosen from.

    Args:
        windows: (n, T, C) float32, physical units.
        ids: (n,) own id that each was published under, int64.
        devices: (n,) name of the device that each came from.
        when_us: (n,) start of each window, Unix µs, int64.
        distance: (n,) squared distance to the id's centroid, 0 or more, float32.
        weights: (n,) number of windows that each stands for, above 0, float64.

    Raises:
        DataError: if the arrays do not fit one another.
    """

    windows: Float32Array = field(repr=False)
    ids: IntArray = field(repr=False)
    devices: npt.NDArray[np.str_] = field(repr=False)
    when_us: IntArray = field(repr=False)
    distance: Float32Array = field(repr=False)
    weights: Weights = field(repr=False)

    def __post_init__(self) -> None:
        """Check shapes and values."""
        n = len(self.windows)
        if self.windows.ndim != 3:
            raise DataError(f"anchors are windows of shape (n, T, C), got {self.windows.shape}")
        for name in ("ids", "devices", "when_us", "distance", "weights"):
            if getattr(self, name).shape != (n,):
                raise DataError(f"{n} anchors need {n} {name}, got shape {getattr(self, name).shape}")
        if not (np.isfinite(self.weights).all() and (self.weights > 0).all()):
            raise DataError("weights of anchors must be finite and above 0")
        if not (np.isfinite(self.distance).all() and (self.distance >= 0).all()):
            raise DataError("distances of anchors must be finite and at least 0")

    @classmethod
    def published(
        cls,
        windows: Float32Array,
        ids: IntArray,
        devices: npt.NDArray[np.str_],
        *,
        when_us: IntArray,
        distance: Float32Array,
    ) -> AnchorSet:
        """Windows as they come from the stream: each stands for itself. Arguments are those of the class."""
        return cls(windows, ids, devices, when_us, distance, np.ones(len(windows)))

    def __len__(self) -> int:
        return len(self.windows)

    def select(self, index: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> AnchorSet:
        """Those at some positions, or where a mask is true."""
        return AnchorSet(
            self.windows[index], self.ids[index], self.devices[index], self.when_us[index],
            self.distance[index], self.weights[index],
        )  # fmt: skip

    def joined(self, other: AnchorSet) -> AnchorSet:
        """These and then the others.

        Raises:
            DataError: if their windows have another shape.
        """
        if not len(self) or not len(other):
            return self if len(self) else other
        if self.windows.shape[1:] != other.windows.shape[1:]:
            raise DataError(
                f"anchors of shape {self.windows.shape[1:]} and {other.windows.shape[1:]} cannot be joined",
                remedy="Begin with new anchors when window or channels change",
            )
        names = ("windows", "ids", "devices", "when_us", "distance", "weights")
        return AnchorSet(*(np.concatenate([getattr(self, n), getattr(other, n)]) for n in names))

    def without_device(self, device: str) -> AnchorSet:
        """Those of all other devices: for a device whose data must be forgotten."""
        return self.select(self.devices != device)

    def labelled(self, ids: IntArray, distance: Float32Array) -> AnchorSet:
        """The same windows as another version publishes them: ids and distances of all, (n,)."""
        return replace(self, ids=ids, distance=distance)

    def reduced(self, bounds: Bounds, *, seed: int = 0) -> AnchorSet:
        """At most as many as the bounds allow, by the rule above; in order of id, device and time.

        The same windows in any order, with the same bounds and seed, give the same anchors.
        """
        if not len(self):
            return self
        order = np.lexsort((self.weights, self.when_us, self.devices, self.ids))
        ids, starts = np.unique(self.ids[order], return_index=True)
        keep, weights = [], []
        for own, rows in zip(ids.tolist(), np.split(order, starts[1:]), strict=True):
            random = np.random.default_rng([seed, own])
            chosen, weight = self._of_one_id(rows, bounds.of_each(len(ids)), random)
            keep.append(chosen)
            weights.append(weight)
        return replace(self.select(np.concatenate(keep)), weights=np.concatenate(weights))

    def _of_one_id(self, rows: IntArray, quota: int, random: np.random.Generator) -> tuple[IntArray, Weights]:
        """Which of one id's ``rows``, in order of device and time, are kept; and their weights."""
        _, starts = np.unique(self.devices[rows], return_index=True)
        parts = np.split(rows, starts[1:])
        shares = share_out(quota, [len(part) for part in parts], random)
        total = float(self.weights[rows].sum())
        keep, weights = [], []
        for part, share in zip(parts, shares, strict=True):
            if share:
                chosen, weight = _from_strata(self.distance[part], self.weights[part], share, random)
                keep.append(part[chosen])
                weights.append(weight)
        kept = np.concatenate(weights)
        return np.concatenate(keep), kept * (total / kept.sum())  # devices without a share are stood for


def share_out(quota: int, sizes: list[int], random: np.random.Generator) -> list[int]:
    """Parts of a quota, as even as the sizes allow; never more than a size.

    Example:
        >>> share_out(9, [1, 7, 7], np.random.default_rng(0))
        [1, 4, 4]
    """
    shares = [0] * len(sizes)
    left = min(quota, sum(sizes))
    while left:
        hungry = [i for i, size in enumerate(sizes) if shares[i] < size]
        each = left // len(hungry)
        if each == 0:
            hungry = sorted(random.permutation(hungry)[:left].tolist())
            each = 1
        for i in hungry:
            given = min(each, sizes[i] - shares[i])
            shares[i] += given
            left -= given
    return shares


def _from_strata(
    distance: Float32Array, weights: Weights, n: int, random: np.random.Generator
) -> tuple[IntArray, Weights]:
    """One window of each of ``n`` strata of equal weight: ascending positions, and their weights."""
    order = np.argsort(distance, kind="stable")
    if n >= len(order):
        return np.arange(len(order)), weights.copy()
    edges = np.cumsum(weights[order])
    step = float(edges[-1]) / n
    # One point in each stratum hits a window in proportion to its weight (systematic over strata). A window
    # heavier than a stratum can be hit twice; it then stands for both.
    points = (np.arange(n) + random.random(n)) * step
    hit = np.minimum(np.searchsorted(edges, points, side="right"), len(order) - 1)
    found, times = np.unique(order[hit], return_counts=True)
    return found.astype(np.int64), (times * step).astype(np.float64)
