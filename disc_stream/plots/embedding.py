"""The embedding space at several stages of a training, as in the paper's Fig. 2."""

from __future__ import annotations

import warnings

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from disc_stream.plots.style import COLOURS, MARKERS, drawing, new_figure
from disc_stream.training.evidence import Evidence
from disc_stream.types import Float32Array

_TITLES = {
    "initial": "initial weights",
    "pretrained": "autoencoder trained",
    "refining": "after one epoch of refinement",
    "final": "in the end",
}
_PCA = 50


def draw_embedding(evidence: Evidence, title: str, seed: int = 0) -> Figure:
    """Each stage's embeddings in two dimensions: PCA to 50, then t-SNE.

    Colour and marker show the activity where it is known, else the cluster.

    Args:
        evidence: of a run.
        title: of the figure.
        seed: of t-SNE; the same seed draws the same picture.
    """
    known = evidence.activities >= 0
    by_activity = bool(known.any())
    kinds = evidence.activities if by_activity else evidence.clusters
    names = (
        list(evidence.label_names) if by_activity else [f"cluster {k}" for k in range(int(kinds.max()) + 1)]
    )
    shown = np.unique(kinds[known]) if by_activity else np.unique(kinds)
    with drawing():
        figure = new_figure(3.4 * len(evidence.stages) + 1.6, 3.9)
        panels = np.atleast_1d(figure.subplots(1, len(evidence.stages)))
        for panel, (stage, z) in zip(panels, evidence.stages.items(), strict=True):
            points = in_two_dimensions(z, seed)
            for kind in shown:
                rows = kinds == kind
                panel.scatter(
                    points[rows, 0], points[rows, 1], s=11, linewidths=0.4, alpha=0.8,
                    marker=MARKERS[kind % len(MARKERS)], facecolors="none",
                    edgecolors=COLOURS[kind % len(COLOURS)],
                )  # fmt: skip
            panel.set_title(_TITLES.get(stage, stage))
            panel.set_xticks([])
            panel.set_yticks([])
            panel.set_xlabel("t-SNE 1")
            panel.set_ylabel("t-SNE 2")
        handles = [
            Line2D([], [], linestyle="", marker=MARKERS[k % len(MARKERS)], markerfacecolor="none",
                   markeredgecolor=COLOURS[k % len(COLOURS)], label=names[k])
            for k in shown
        ]  # fmt: skip
        figure.legend(handles=handles, loc="outside right center")
        figure.suptitle(title)
    return figure


def in_two_dimensions(z: Float32Array, seed: int) -> Float32Array:
    """PCA to at most 50 dimensions, then t-SNE (van der Maaten and Hinton 2008), (n, d) -> (n, 2)."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of a space that has collapsed to a point
        reduced = PCA(min(_PCA, *z.shape), random_state=seed).fit_transform(z)
        perplexity = min(30.0, (len(z) - 1) / 3)
        points = TSNE(2, perplexity=perplexity, init="pca", random_state=seed, n_jobs=1).fit_transform(
            reduced
        )
    return np.asarray(points, dtype=np.float32)
