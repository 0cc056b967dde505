"""What each number of clusters would be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from disc_stream.plots.style import COLOURS, drawing, new_figure


def draw_cluster_count(number: Mapping[str, Any]) -> Figure:
    """Clusters that two halves of the people agree on, and what carries over, for each K that was tried.

    Args:
        number: ``number_of_clusters`` of a run's metrics, with ``rows`` and ``chosen``.
    """
    rows, chosen = number["rows"], number["chosen"]
    tried = [row["n_clusters"] for row in rows]
    who = "people" if number["halves"] == "people" else "recording"
    with drawing():
        figure = new_figure(8.0, 3.4)
        agreed, score = figure.subplots(1, 2)
        agreed.plot(tried, tried, ":", color="0.7", label="all of them")
        agreed.plot(
            tried, [row["reproduced"] for row in rows], "s--", color=COLOURS[4], ms=4, label="found again"
        )
        agreed.plot(tried, [row["net"] for row in rows], "o-", color=COLOURS[0], ms=4, label="net")
        agreed.set_ylabel("clusters")
        agreed.set_title(f"found by both halves of the {who}")
        score.plot(tried, [row["carry_over"] for row in rows], "o-", color=COLOURS[1], ms=4)
        score.set_ylabel("nats per window")
        score.set_title("carries over")
        for panel in (agreed, score):
            panel.axvline(chosen, color=COLOURS[2], lw=1, label=f"taken: {chosen}")
            panel.set_xlabel("number of clusters")
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        agreed.legend(loc="best")
    return figure
