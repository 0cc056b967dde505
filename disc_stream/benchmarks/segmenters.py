"""Methods of others on one interface: labels for every window of every recording held out.

Each is a library's own implementation, with its defaults unless said otherwise. Those that are not installed
are named, and the others go on.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from disc_stream.benchmarks.segmentation_streams import Streams
from disc_stream.data.windows import majority_labels
from disc_stream.errors import ConfigError, did_you_mean
from disc_stream.training.plus.config import PlusConfig
from disc_stream.training.plus.fitting import describe_windows
from disc_stream.types import Float32Array, IntArray

Floats = npt.NDArray[np.float64]
Label = Callable[[], list[IntArray]]
"""Labels of each recording held out, (n_windows,)."""

COMPONENTS = 10
"""Principal components of the descriptors that the simple methods read."""
CLAP_SEED = 2357
"""claspy's own, to which the seed is added."""
_MIN_VARIANCE = 1e-2  # of an HMM's state; the components have variance 1


@dataclass(frozen=True, slots=True)
class Options:
    """What is set for all methods.

    Args:
        seed: of whatever is drawn.
        clap_hz: samples a second that CLaP reads, averages of those recorded, since its time grows with the
            square of their number; 0 for those recorded.
    """

    seed: int = 0
    clap_hz: float = 12.5


@dataclass(frozen=True, slots=True)
class Baseline:
    """One method of others.

    Args:
        name: as the command line names it.
        title: in words.
        library: module that it needs; empty for what disc-stream needs anyway.
        causal: a label depends on nothing after its window.
        one_set: ids mean the same in every recording.
        told_clusters: it is told how many activities there are.
        learn: from the people to learn from, where it does; returns how to label those held out.
    """

    name: str
    title: str
    library: str
    causal: bool
    one_set: bool
    told_clusters: bool
    learn: Callable[[Streams, Options], Label]

    @property
    def installed(self) -> bool:
        """Whether its library is there."""
        return not self.library or importlib.util.find_spec(self.library) is not None


class Components:
    """Principal components of windows' descriptors (those that disc-plus reads), each of variance 1.

    Args:
        windows: (n, T, C) that they are learned from.
    """

    def __init__(self, windows: Float32Array) -> None:
        from sklearn.decomposition import PCA

        self._descriptors, described, (self._mean, self._factor) = describe_windows(windows, PlusConfig())
        n = min(COMPONENTS, *described.shape)
        self._pca = PCA(n, whiten=True, svd_solver="full").fit(described)

    def __call__(self, windows: Float32Array) -> Floats:
        """(n, T, C) -> (n, components)."""
        with torch.no_grad():
            found = self._descriptors(torch.from_numpy(np.ascontiguousarray(windows)))
        described = (found.numpy().astype(np.float64) - self._mean) * self._factor
        return np.asarray(self._pca.transform(described), dtype=np.float64)


def averaged(samples: Float32Array, every: int) -> Floats:
    """Means of so many successive samples each, (n, C) -> (n // every, C)."""
    n = len(samples) // every
    means: Floats = samples[: n * every].astype(np.float64).reshape(n, every, -1).mean(1)
    return means


def _kmeans(streams: Streams, options: Options) -> Label:
    from sklearn.cluster import KMeans

    components = Components(streams.train.x)
    model = KMeans(streams.n_clusters, n_init=10, random_state=options.seed)
    return _with_one_model(model.fit(components(streams.train.x)), components, streams)


def _hmm_shared(streams: Streams, options: Options) -> Label:
    components = Components(streams.train.x)
    starts = np.flatnonzero(np.diff(streams.train.group, prepend=-1))
    lengths = np.diff([*starts, len(streams.train)])
    model = _hmm(streams.n_clusters, options.seed).fit(components(streams.train.x), lengths)
    return _with_one_model(model, components, streams)


def _with_one_model(model: Any, components: Components, streams: Streams) -> Label:
    return lambda: [_integers(model.predict(components(streams.windows.x[rows]))) for rows in streams.rows]


def _hmm_each(streams: Streams, options: Options) -> Label:
    def states(z: Floats) -> IntArray:
        return _integers(_hmm(min(streams.n_clusters, len(z)), options.seed).fit(z).predict(z))

    return lambda: [states(z) for z in _each(streams)]


def _hmm(n_states: int, seed: int) -> Any:
    """Its labels are the most likely sequence of states (Viterbi)."""
    from hmmlearn.hmm import GaussianHMM

    return GaussianHMM(n_states, "diag", n_iter=50, random_state=seed, min_covar=_MIN_VARIANCE)


def _pelt(streams: Streams, options: Options) -> Label:
    return lambda: [_changes_then_kmeans(z, streams.n_clusters, options.seed) for z in _each(streams)]


def _changes_then_kmeans(z: Floats, n_clusters: int, seed: int) -> IntArray:
    """Changes of the mean by PELT, (d + 1) ln n the price of each (Yao 1988); k-means of segments' means."""
    import ruptures
    from sklearn.cluster import KMeans

    n, d = z.shape
    ends = ruptures.Pelt(model="l2", min_size=1, jump=1).fit(z).predict((d + 1) * np.log(n))
    sizes = np.diff([0, *ends])
    means = np.array([part.mean(0) for part in np.split(z, ends[:-1])])
    model = KMeans(min(n_clusters, len(means)), n_init=10, random_state=seed)
    return np.repeat(_integers(model.fit_predict(means, sample_weight=sizes)), sizes)


def _each(streams: Streams) -> Iterator[Floats]:
    """Components of each recording held out, learned from it alone."""
    for rows in streams.rows:
        yield Components(streams.windows.x[rows])(streams.windows.x[rows])


def _clap(streams: Streams, options: Options) -> Label:
    every = max(1, round(streams.windows.fs / options.clap_hz)) if options.clap_hz > 0 else 1

    def states(samples: Float32Array) -> IntArray:
        found = np.repeat(_clap_states(averaged(samples, every), options.seed), every)
        of_samples = np.pad(found, (0, len(samples) - len(found)), mode="edge").astype(np.int16)
        return _integers(majority_labels(of_samples, streams.plan, int(of_samples.max()) + 1))

    return lambda: [states(recording.samples) for recording in streams.held]


def _clap_states(samples: Floats, seed: int) -> IntArray:
    from claspy.segmentation import BinaryClaSPSegmentation
    from claspy.state_detection import AgglomerativeCLaPDetection

    changes = BinaryClaSPSegmentation(n_jobs=1).fit_predict(samples)
    if not len(changes):  # where CLaP itself stops with an error: one state cannot be classified
        return np.zeros(len(samples), dtype=np.int64)
    model = AgglomerativeCLaPDetection(n_jobs=1, random_state=CLAP_SEED + seed)
    return _integers(model.fit_predict(samples, change_points=changes))


def _integers(labels: Any) -> IntArray:
    return np.asarray(labels, dtype=np.int64)


BASELINES: dict[str, Baseline] = {
    one.name: one
    for one in (
        Baseline("clap", "CLaP", "claspy", False, False, False, _clap),
        Baseline("pelt-kmeans", "PELT, then k-means", "ruptures", False, False, True, _pelt),
        Baseline("hmm", "Gaussian HMM, each recording", "hmmlearn", False, False, True, _hmm_each),
        Baseline("hmm-shared", "Gaussian HMM, other people's", "hmmlearn", False, True, True, _hmm_shared),
        Baseline("kmeans", "k-means, other people's", "", True, True, True, _kmeans),
    )
}


def get_baseline(name: str, others: tuple[str, ...] = ()) -> Baseline:
    """The method of that name.

    Args:
        name: of it.
        others: names of methods that are known elsewhere, for the message.

    Raises:
        ConfigError: naming the methods there are.
    """
    if name not in BASELINES:
        known = (*others, *BASELINES)
        raise ConfigError(
            f"unknown method {name!r}{did_you_mean(name, known)}", remedy=f"Use one of: {', '.join(known)}"
        )
    return BASELINES[name]
