"""Going on from a trained model: its weights, its normalisation, its clusters."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from disc_stream.artifacts.manifest import ScalerInfo
from disc_stream.clustering.newmotion import NewMotion
from disc_stream.errors import ConfigError
from disc_stream.training.births import MOST, offset_of, untouched
from disc_stream.training.centroids import nearest
from disc_stream.training.known import Known
from disc_stream.types import Float32Array, IntArray

if TYPE_CHECKING:
    from disc_stream.training.checkpoint import State

_CANDIDATES = 512  # places that a new centroid is tried at
_SAMPLE = 8192  # windows that they are tried on
_MOMENTUM = 0.01  # of running batch statistics
_ENOUGH_UNKNOWN = 0.01  # of the windows; fewer are the tail of what is known

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class WarmStart:
    """A trained autoencoder and its clusters, to train on.

    Args:
        state: weights of the autoencoder.
        centroids: (K, d) of the model.
        scaler: normalisation that the weights have learned with; it is kept.
        radius: (K,) squared distance to its centroid beyond which a window is unknown to the model; None if
            that is not known. New clusters are then looked for among all windows.
        known: the motion that it has clusters for; None if that was not kept.
    """

    state: State = field(repr=False)
    centroids: Tensor = field(repr=False)
    scaler: ScalerInfo
    radius: Float32Array | None = field(default=None, repr=False)
    known: Known | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        module: nn.Module,
        centroids: Tensor,
        scaler: ScalerInfo,
        radius: Float32Array | None = None,
        known: Known | None = None,
    ) -> WarmStart:
        """From a trained autoencoder and its centroids, (K, d)."""
        state = {name: value.detach().cpu().clone() for name, value in module.state_dict().items()}
        return cls(state, centroids.detach().cpu().clone(), scaler, radius, known)

    @classmethod
    def of_run(cls, path: Path) -> WarmStart:
        """From a finished run folder.

        Raises:
            InputNotFoundError: if there is no such folder.
            TrainingError: if it holds no finished run, or a damaged one.
        """
        from disc_stream.training.runs import load_run

        run = load_run(path)
        radius = None
        if run.info.unknown_above:
            limits = [np.inf if one is None else one for one in run.info.unknown_above]
            radius = np.array(limits, dtype=np.float32)
        known = Known.load(path, run.info.window.samples, run.info.n_clusters)
        return cls.of(run.autoencoder, run.net.centroids, run.info.scaler, radius, known)

    @property
    def digest(self) -> str:
        """sha256 of everything in it: what a training that began here is told from others by."""
        digest = hashlib.sha256(self.scaler.model_dump_json().encode())
        for name, value in sorted({**self.state, "centroids": self.centroids}.items()):
            digest.update(f"{name} {tuple(value.shape)};".encode())
            digest.update(np.ascontiguousarray(value.numpy()).data)
        if self.radius is not None:
            digest.update(np.ascontiguousarray(self.radius, dtype="<f4").data)
        if self.known is not None:
            digest.update(self.known.digest.encode())
        return digest.hexdigest()

    def load_into(self, autoencoder: nn.Module) -> None:
        """Give an autoencoder these weights, and let its batch statistics follow slowly.

        Running means and variances follow the batches whatever the learning rate is. At torch's momentum of
        0.1 they would soon be those of the last ten batches alone, and all embeddings would move with them.

        Raises:
            ConfigError: if it has another shape.
        """
        try:
            autoencoder.load_state_dict(self.state)
        except RuntimeError as error:
            raise ConfigError(
                "a training cannot go on from a model of another shape: "
                + str(error).splitlines()[-1].strip(),
                remedy="Use the settings, window and channels of that model, or start from scratch",
            ) from error
        for module in autoencoder.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.momentum is not None:
                module.momentum = min(module.momentum, _MOMENTUM)


@dataclass(frozen=True, slots=True)
class Carried:
    """The old clusters of the training windows, to be found again once the embeddings have changed.

    Args:
        before: (n,) the cluster that each window had.
        old: (K, d) centroids of the old model.
        means: (K, d) of each cluster's embeddings by the old weights; its centroid where it has no window.
        unknown: (n,) which windows were beyond its radius; None if that is not known.
    """

    before: IntArray = field(repr=False)
    old: Float32Array = field(repr=False)
    means: Points = field(repr=False)
    unknown: npt.NDArray[np.bool_] | None = field(repr=False)

    @classmethod
    def of(cls, warm: WarmStart, z: Float32Array) -> Carried:
        """From the embeddings (n, d) by the old weights."""
        old = np.asarray(warm.centroids.numpy(), dtype=np.float32)
        before = nearest(z, old)
        unknown = None
        if warm.radius is not None:
            unknown = np.square(z - old[before]).sum(1) > warm.radius[before]
        return cls(before, old, _means(z.astype(np.float64), before, old), unknown)

    def centroids(
        self, z: Float32Array, n_clusters: int, *, seed: int, new: NewMotion | None = None, grow: bool = False
    ) -> Float32Array:
        """Centroids of the old clusters in the new space, and as many more or fewer as it takes.

        An old centroid moves as its windows do: by the difference of their means in both spaces. (Refinement
        leaves centroids beside the means; putting them there would move the borders.) Clusters too many are
        merged pair by pair, those first whose merging adds least to the squared distances (Ward 1963,
        doi:10.1080/01621459.1963.10500845). Missing ones are added one by one where a new centroid takes most
        off the squared distances, with the others where they are (as in the fast global k-means of Likas,
        Vlassis and Verbeek 2003, doi:10.1016/S0031-3203(02)00060-2), tried at a sample of the windows. Where
        enough windows were unknown to the old model, theirs alone are counted: what is new is born from
        them, and not from a large cluster that could be cut in two.

        Args:
            z: (n, d) embeddings by the new weights.
            n_clusters: K.
            seed: of the sample.
            new: groups of new motion; missing centroids are at the means of those first, as far as the
                embedding tells them from what is known (``births``).
            grow: whether these are in addition to K, instead of a part of it.

        Returns:
            (n_clusters, d), or more of them with ``grow``; the old clusters first, in their order, but for
            merged ones.
        """
        points = z.astype(np.float64)
        sizes = np.bincount(self.before, minlength=len(self.old)).astype(np.float64)
        drift = np.where(sizes[:, None] > 0, _means(points, self.before, self.old) - self.means, 0.0)
        centroids = self.old.astype(np.float64) + drift
        while len(centroids) > n_clusters:
            centroids, sizes = _with_nearest_merged(centroids, sizes)
        if new is not None:
            born = self._born(points, centroids, new, MOST if grow else n_clusters - len(centroids))
            n_clusters += len(born) if grow else 0
            centroids = np.vstack([centroids, *born])
        random = np.random.default_rng(seed)
        while len(centroids) < n_clusters:
            centroids = np.vstack([centroids, _most_useful(self._where_new(points), centroids, random)])
        return centroids.astype(np.float32)

    def _born(self, points: Points, old: Points, new: NewMotion, most: int) -> list[Points]:
        """Means of the groups that the embedding tells from what is known, as far as there is room."""
        known, born = untouched(new), list[Points]()
        for group in new.groups:
            if len(born) >= min(most, MOST):
                break
            centroid = points[group].mean(0)
            if offset_of(points, np.vstack([old, *born]), centroid, group, known) == 0.0:
                born.append(centroid)
        return born

    def _where_new(self, points: Points) -> Points:
        if self.unknown is None or self.unknown.mean() < _ENOUGH_UNKNOWN:
            return points
        return points[self.unknown]


def _means(points: Points, labels: IntArray, otherwise: Float32Array) -> Points:
    """Of each cluster's points, (K, d); those of ``otherwise`` (K, d) where a cluster has none."""
    sizes = np.bincount(labels, minlength=len(otherwise)).astype(np.float64)
    sums = np.zeros(otherwise.shape)
    np.add.at(sums, labels, points)
    means = sums / np.maximum(sizes, 1.0)[:, None]
    return np.where(sizes[:, None] > 0, means, otherwise.astype(np.float64))


def _with_nearest_merged(centroids: Points, sizes: Points) -> tuple[Points, Points]:
    apart = np.square(centroids[:, None] - centroids[None]).sum(2)
    weight = sizes[:, None] * sizes[None] / np.maximum(sizes[:, None] + sizes[None], 1.0)
    cost = np.where(np.tri(len(centroids), dtype=bool), np.inf, apart * weight)
    one, other = np.unravel_index(int(cost.argmin()), cost.shape)
    total = max(float(sizes[one] + sizes[other]), 1.0)
    centroids, sizes = centroids.copy(), sizes.copy()
    centroids[one] = (sizes[one] * centroids[one] + sizes[other] * centroids[other]) / total
    sizes[one] += sizes[other]
    return np.delete(centroids, other, axis=0), np.delete(sizes, other)


def _most_useful(points: Points, centroids: Points, random: np.random.Generator) -> Points:
    """The mean of the windows that would go to the best of the places tried, (d,)."""
    sample = points[np.sort(random.permutation(len(points))[:_SAMPLE])]
    own = _squared(sample, centroids).min(1)
    tried = sample[np.sort(random.permutation(len(sample))[:_CANDIDATES])]
    gain = np.maximum(own[:, None] - _squared(sample, tried), 0.0).sum(0)
    best = tried[int(gain.argmax())]
    going = np.square(sample - best).sum(1) < own
    return np.asarray(sample[going].mean(0) if going.any() else best)


def _squared(x: Points, y: Points) -> Points:
    """Squared distances, (n, d) and (m, d) -> (n, m)."""
    return np.asarray(np.square(x).sum(1)[:, None] - 2.0 * x @ y.T + np.square(y).sum(1)[None])
