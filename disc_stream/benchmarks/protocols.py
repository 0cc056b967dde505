"""The protocols that methods are scored under."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from disc_stream.benchmarks.cells import Protocol
from disc_stream.benchmarks.followed import adapt_recordings, adapt_sequences, hop_s, occurrences_of
from disc_stream.clustering.adaptation import AdaptationRule, Adapter
from disc_stream.clustering.metrics import score
from disc_stream.clustering.smoothing import filter_sequence, forward_backward
from disc_stream.data.types import Split, WindowSet
from disc_stream.errors import ConfigError
from disc_stream.signal.running import running_standardise
from disc_stream.training.estimators.base import WindowClusterer
from disc_stream.training.methods import Method
from disc_stream.training.novelty import unknown_above
from disc_stream.types import Float32Array, IntArray

Soft = npt.NDArray[np.floating]
_ROWS = 512  # whose differences to all centroids are in memory at once


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """What the ``stream`` protocol does to every method alike.

    Args:
        stay: of the smoothing; by default as in ``disc-stream serve``.
        prior_windows: weight, in windows, of the training windows' statistics in a device's running ones.

    Raises:
        ConfigError: naming what is not possible.
    """

    stay: float = 0.8
    prior_windows: float = 50.0

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0.0 < self.stay < 1.0:
            raise ConfigError(f"stay must be between 0 and 1, got {self.stay}")
        if not 0.0 < self.prior_windows < float("inf"):
            raise ConfigError(f"prior_windows must be above 0, got {self.prior_windows}")


@dataclass(frozen=True, slots=True)
class Part:
    """Windows of one part in the order of their devices' time.

    Args:
        x: (n, T, C).
        y: (n,) activities.
        devices: (n,) the people who wore the devices.
    """

    x: Float32Array = field(repr=False)
    y: IntArray = field(repr=False)
    devices: IntArray = field(repr=False)
    hop_s: float = 1.0
    """Seconds from one window to the next."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A dataset as one protocol sees it."""

    protocol: Protocol
    train: Part
    test: Part
    stream: StreamSettings


def protocol_facts(protocol: Protocol, method: Method, stream: StreamSettings) -> dict[str, Any]:
    """What the protocol does, for the record."""
    if protocol == "paper":
        return {"protocol": "paper"}
    if protocol == "adapted":
        return {"protocol": "adapted", "stay": stream.stay, "rule": asdict(AdaptationRule())}
    facts: dict[str, Any] = {"protocol": "stream", "stay": stream.stay}
    return facts if method.knows_devices else {**facts, "prior_windows": stream.prior_windows}


def prepare(split: Split, protocol: Protocol, method: Method, stream: StreamSettings) -> Prepared:
    """The windows of both parts, normalised by device where the protocol asks for it."""
    train, test = in_time_order(split.train), in_time_order(split.test)
    if protocol != "stream" or method.knows_devices:
        return Prepared(protocol, train, test, stream)
    mean = train.x.mean((0, 1), dtype=np.float64)
    variance = train.x.var((0, 1), dtype=np.float64)

    def normalised(part: Part) -> Part:
        weight = stream.prior_windows
        x = running_standardise(part.x, part.devices, mean=mean, variance=variance, weight=weight)
        return Part(x, part.y, part.devices, part.hop_s)

    return Prepared(protocol, normalised(train), normalised(test), stream)


def evaluate(model: WindowClusterer, method: Method, data: Prepared) -> dict[str, dict[str, float]]:
    """Scores of a fitted model, by part; see ``Cell``."""
    scores = {"train": score(data.train.y, model.labels_)}
    if data.protocol == "paper":
        found = model.group_again(data.test.x) if method.refits else model.predict(data.test.x)
        return {**scores, "test": score(data.test.y, found)}
    q = whole = model.predict_proba(data.test.x)
    if data.protocol == "adapted":
        q, whole = _followed(model, data)
    exponent = model.likelihood_exponent_

    def smoothed(soft: Soft, how: Callable[..., Soft]) -> dict[str, float]:
        return score(data.test.y, _smoothed(soft, data.test.devices, data.stream.stay, exponent, how))

    return {
        **scores,
        "test": score(data.test.y, q.argmax(1)),
        "test_causal": smoothed(q, filter_sequence),
        "test_noncausal": smoothed(whole, forward_backward),
    }


def _followed(model: WindowClusterer, data: Prepared) -> tuple[Soft, Soft]:
    """Soft assignments of the test windows to centroids that follow each device: by its past, by all of it.

    Only windows that the training windows' calibration takes for known count, as in ``serve``; with fewer
    than six training devices there is none, and nothing follows.
    """
    train, test, centroids = data.train, data.test, model.cluster_centers_
    z = model.transform(train.x).astype(np.float32)
    rows = np.asarray(model.labels_, dtype=np.int64)
    distance = np.concatenate([
        np.square(part[:, None] - centroids).sum(2) for part in np.array_split(z, -(-len(z) // _ROWS))
    ])  # fmt: skip
    limits = unknown_above(z, rows, distance, train.devices)
    adapter = Adapter(centroids, limits, exponent=model.likelihood_exponent_)
    new = model.transform(test.x).astype(np.float32)
    found = occurrences_of(test.devices, np.zeros(len(new), dtype=np.bool_), test.hop_s)
    past = adapt_sequences(adapter, new, test.devices, found).q
    return past, adapt_recordings(adapter, new, test.devices, found).q


def in_time_order(part: WindowSet) -> Part:
    """The windows of one part, those of a device one after the other."""
    order = np.lexsort((part.start, part.group, part.subject))
    return Part(
        np.ascontiguousarray(part.x[order]), part.y[order].astype(np.int64),
        part.subject[order].astype(np.int64), hop_s(part),
    )  # fmt: skip


def _smoothed(q: Soft, devices: IntArray, stay: float, exponent: float, how: Callable[..., Soft]) -> IntArray:
    labels = np.empty(len(q), dtype=np.int64)
    for device in np.unique(devices):
        rows = devices == device
        labels[rows] = how(q[rows], stay=stay, exponent=exponent).argmax(1)
    return labels
