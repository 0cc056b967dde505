"""The discriminant of descriptors that stands beside the trained network."""

from __future__ import annotations

import math

import numpy as np
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor

from disc_stream.models.autoencoder import half
from disc_stream.models.described import DescribedAutoencoder, evidence_of_targets
from disc_stream.training.guided.config import GuidedConfig
from disc_stream.training.plus.discriminant import DiscriminantFitter
from disc_stream.training.plus.fitting import describe_windows
from disc_stream.types import Float32Array, IntArray


def describe(
    autoencoder: DescribedAutoencoder,
    windows: Float32Array,
    found: IntArray,
    n_clusters: int,
    config: GuidedConfig,
) -> Tensor:
    """Fit the discriminant of ``found`` to both halves of each window, and set the autoencoder's map to it.

    Args:
        autoencoder: whose map it is to be.
        windows: (n, T, C) that it learned from.
        found: (n,) their labelling.
        n_clusters: K.
        config: every hyper-parameter.

    Returns:
        (K, K + d') centroids for ``DescribedNet``.
    """
    size, n = config.network.embedding, half(windows.shape[1])
    evidence, apart = evidence_of_targets(n_clusters, config.doubt)
    beside = torch.zeros(n_clusters, size)
    if config.described > 0.0:
        halves = np.concatenate([windows[:, :n], windows[:, -n:]])
        with threadpool_limits(1):
            descriptors, x, (mean, factor) = describe_windows(halves, config.teacher)
            student = DiscriminantFitter(x, config.teacher.shrinkage).fit(np.tile(found, 2), n_clusters)
        # A log probability is half a squared distance, and so is a step of `apart` times two of log q.
        weight = math.sqrt(config.described * apart)
        # The first directions tell most, and the last coordinate holds the clusters' shares.
        last = student.project.shape[1] - 1
        kept = [*range(min(last, size - 1)), last]
        project, shift = np.zeros((len(student.project), size)), np.zeros(size)
        project[:, : len(kept)] = weight * factor[:, None] * student.project[:, kept]
        shift[: len(kept)] = weight * student.shift[kept]
        autoencoder.described.set_map(descriptors, project, shift - mean @ project)
        beside[:, : len(kept)] = torch.from_numpy(weight * student.centroids[:, kept])
    return torch.cat([evidence, beside], dim=1)
