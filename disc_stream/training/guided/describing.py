"""The discriminant of descriptors that stands beside the trained network."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor

from disc_stream.artifacts.manifest import ScalerInfo
from disc_stream.models.autoencoder import half
from disc_stream.models.described import DescribedAutoencoder
from disc_stream.models.inference import InferenceNet
from disc_stream.training.fitting import infer
from disc_stream.training.guided.config import GuidedConfig
from disc_stream.training.plus.discriminant import DiscriminantFitter
from disc_stream.training.plus.fitting import describe_windows
from disc_stream.training.task import Task
from disc_stream.types import Float32Array, IntArray

Array = npt.NDArray[np.float64]


def describe(
    autoencoder: DescribedAutoencoder,
    centroids: Tensor,
    scaler: ScalerInfo,
    task: Task,
    found: IntArray,
    config: GuidedConfig,
) -> Tensor:
    """Fit the discriminant of ``found`` to both halves of each window, and set the autoencoder's map to it.

    Its distances are put to a scale: the mean over windows of the median over clusters of the squared
    distances is ``described`` times that of the network's. That of the network says how far apart it holds
    clusters, so that the two have their say wherever neither is sure.

    Args:
        autoencoder: trained.
        centroids: (K, d) its own.
        scaler: of the network's input.
        task: its windows.
        found: (n,) the labelling.
        config: every hyper-parameter.

    Returns:
        (K, d') the centroids' coordinates beside the network's; 0 with a weight of 0.
    """
    size, n = config.network.embedding, half(task.shape[0])
    beside = torch.zeros(len(centroids), size)
    if config.described == 0.0:
        return beside
    halves = np.concatenate([task.windows[:, :n], task.windows[:, -n:]])
    with threadpool_limits(1):
        descriptors, x, (mean, factor) = describe_windows(halves, config.teacher)
        student = DiscriminantFitter(x, config.teacher.shrinkage).fit(np.tile(found, 2), len(centroids))
        z = x @ student.project + student.shift
        distance = np.square(z).sum(1)[:, None] - 2.0 * z @ student.centroids.T
        distance += np.square(student.centroids).sum(1)
    alone = infer(InferenceNet(autoencoder.encoder, centroids, scaler), halves[: len(found)])[2]
    weight = math.sqrt(config.described * _apart(alone) / max(_apart(distance), 1e-6))
    # The first directions tell most, and the last coordinate holds the clusters' shares.
    directions = student.project.shape[1] - 1
    kept = [*range(min(directions, size - 1)), directions][:size]
    project = np.zeros((len(student.project), size))
    project[:, : len(kept)] = weight * factor[:, None] * student.project[:, kept]
    shift = np.zeros(size)
    shift[: len(kept)] = weight * student.shift[kept]
    autoencoder.described.set_map(descriptors, project, shift - mean @ project)
    beside[:, : len(kept)] = torch.from_numpy(weight * student.centroids[:, kept])
    return beside


def _apart(distance: Float32Array | Array) -> float:
    return float(np.median(distance, axis=1).mean())
