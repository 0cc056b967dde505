"""BDEC: DEC on a balanced subset."""

from __future__ import annotations

from typing import Any, Self, cast

from disc_stream.training.estimators.deep import DeepClusterer
from disc_stream.training.pretrained import Pretrained
from disc_stream.training.recipes import stacked
from disc_stream.training.task import DEFAULT_OPTIONS, FitOptions


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

    recipe = stacked.BDEC

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        devices: Any = None,
        options: FitOptions = DEFAULT_OPTIONS,
        pretrained: Pretrained | None = None,
    ) -> Self:
        """See ``WindowClusterer.fit``."""
        super().fit(x, y, devices=devices, options=options, pretrained=pretrained)
        self.subset_ = cast("stacked.LearnedFromSubset", self.fitted_).subset
        return self
