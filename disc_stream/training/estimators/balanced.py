"""BDEC: DEC on a balanced subset."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from disc_stream.clustering.distinct import count_distinct
from disc_stream.training.estimators.deep import DEC, DeepClusterer
from disc_stream.training.fitting import FitOptions, Fitted, fit_clusters, network_of, pretrain
from disc_stream.training.fitting import infer as run_network
from disc_stream.training.grouping import group
from disc_stream.training.pretrained import Pretrained
from disc_stream.types import Float32Array, IntArray

_CELLS_PER_CLUSTER = 10


class BDEC(DeepClusterer):
    """Balanced Deep Embedded Clustering: a balanced subset is chosen first, then DEC is trained on it.

    No implementation of BDEC is public, and the paper of DISC says only that a scalable representative
    algorithm extracts a balanced subset. What is done here is our reading of that: the embeddings of the
    pretrained autoencoder are cut into 10 K cells by k-means, and each cell gives the same number of windows,
    those nearest to its centre. The quota is the median size of a cell. Labels of all windows come from the
    network trained on the subset. Arguments and attributes are ``DeepClusterer``'s; also

    Attributes:
        subset_: indices of the windows that the clustering was trained on.
    """

    family_name = DEC.family_name
    method_settings = DEC.method_settings

    def _train(self, windows: Float32Array, options: FitOptions, pretrained: Pretrained | None) -> Fitted:
        config, seed = self.config_, self.random_state
        if pretrained is None:
            pretrained = pretrain(self.family, windows, config, seed=seed, options=options)
        shape = (windows.shape[1], windows.shape[2])
        z = run_network(network_of(pretrained, self.family, config, shape), windows)[0]
        self.subset_ = balanced_subset(z, self.n_clusters, seed)
        # The autoencoder's checkpoint belongs to all windows, this one to the subset.
        own = options.checkpoints / "subset" if options.checkpoints else None
        return fit_clusters(
            self.family, np.ascontiguousarray(windows[self.subset_]), self.n_clusters, config, seed=seed,
            options=replace(options, checkpoints=own), start=pretrained,
        )  # fmt: skip


def balanced_subset(z: Float32Array, n_clusters: int, seed: int) -> IntArray:
    """Windows that stand for all regions of the embedding space alike.

    Args:
        z: (n, d) embeddings.
        n_clusters: K.
        seed: of k-means.

    Returns:
        Sorted indices; at least K.
    """
    different = count_distinct(z, 2 * _CELLS_PER_CLUSTER * n_clusters)
    n_cells = max(min(_CELLS_PER_CLUSTER * n_clusters, different // 2), min(n_clusters, different))
    cells = group(z, n_cells, "kmeans", seed)
    quota = max(1, int(np.median(np.bincount(cells, minlength=n_cells))))
    chosen = []
    for cell in range(n_cells):
        members = np.flatnonzero(cells == cell)
        far = np.square(z[members] - z[members].mean(0)).sum(1)
        chosen.append(members[np.argsort(far, kind="stable")[:quota]])
    return np.sort(np.concatenate(chosen))
