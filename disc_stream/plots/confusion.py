"""Activities against clusters after Hungarian matching."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import linear_sum_assignment

from disc_stream.clustering.metrics import accuracy, nmi
from disc_stream.errors import DataError
from disc_stream.plots.style import drawing, new_figure
from disc_stream.training.evidence import Evidence


def draw_confusion(evidence: Evidence, title: str, part: str = "test") -> Figure:
    """Windows of each activity in each cluster: counts, shaded by the share of the activity.

    Args:
        evidence: of a run.
        title: of the figure.
        part: ``train`` or ``test``.

    Raises:
        DataError: if no window of the part has a label of its own.
    """
    activities, clusters = evidence.parts[part]
    if not len(activities):
        raise DataError(
            f"the {part} part has no labels to compare with", remedy="Use a dataset that has activities"
        )
    shown = np.unique(activities)
    n_clusters = int(clusters.max()) + 1
    table = np.zeros((len(shown), n_clusters), dtype=np.int64)
    np.add.at(table, (np.searchsorted(shown, activities), clusters), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    order = [*columns[np.argsort(rows)], *[c for c in range(n_clusters) if c not in set(columns)]]
    table = table[:, order]
    share = table / table.sum(1, keepdims=True)
    with drawing():
        figure = new_figure(2.6 + 0.62 * n_clusters, 1.9 + 0.42 * len(shown))
        panel = figure.subplots()
        panel.imshow(share, cmap="Greys", vmin=0.0, vmax=1.0, aspect="auto")
        for row, column in np.ndindex(*table.shape):
            if table[row, column]:
                ink = "white" if share[row, column] > 0.5 else "black"
                panel.text(
                    column, row, f"{table[row, column]:,}", ha="center", va="center", color=ink, fontsize=8
                )
        panel.set_xticks(range(n_clusters), [str(c) for c in order])
        panel.set_yticks(range(len(shown)), [evidence.label_names[a].replace("_", " ") for a in shown])
        panel.set_xlabel("cluster, in the order of the matching")
        panel.tick_params(length=0)
        for side in panel.spines.values():
            side.set_visible(True)
        scores = (
            f"ACC {100 * accuracy(activities, clusters):.1f} %, NMI {100 * nmi(activities, clusters):.1f} %"
        )
        panel.set_title(f"{title}\n{part}, {len(activities):,} windows: {scores}")
    return figure
