"""Table I as dots: every method's NMI and ACC beside the paper's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from disc_stream.benchmarks.cells import Cell
from disc_stream.benchmarks.summary import Row, rows
from disc_stream.errors import DataError
from disc_stream.plots.style import COLOURS, drawing, new_figure
from disc_stream.training.methods import METHODS

_METRICS = {"nmi": "NMI, %", "acc": "ACC, %"}


def draw_table(cells: Sequence[Cell], protocol: str = "paper", part: str = "test") -> Figure:
    """One row of panels for each dataset, one panel for each metric, one line for each method.

    Where a method was run with several configurations, the first preset in the order small, released, paper
    is shown.

    Args:
        cells: finished cells.
        protocol: ``paper`` or ``stream``.
        part: ``test``, ``train``, or ``test_causal`` and ``test_noncausal`` of the stream protocol.

    Raises:
        DataError: if there are no such cells.
    """
    found = [r for r in rows(cells) if r.first.protocol == protocol and part in r.parts]
    if not found:
        raise DataError(
            f"there are no cells of the protocol {protocol!r} with the part {part!r}",
            remedy="Run disc-stream benchmark table1 first",
        )
    datasets = list(dict.fromkeys(row.first.dataset for row in found))
    by_dataset = [_one_each([r for r in found if r.first.dataset == name]) for name in datasets]
    heights = [len(table) + 2.0 for table in by_dataset]
    with drawing():
        figure = new_figure(9.0, 0.9 + 0.21 * sum(heights))
        grid = figure.subplots(len(datasets), 2, squeeze=False, sharey="row", height_ratios=heights)
        for panels, table, name in zip(grid, by_dataset, datasets, strict=True):
            for panel, (metric, label) in zip(panels, _METRICS.items(), strict=True):
                _dots(panel, table, part, metric)
                panel.set_xlabel(label)
            panels[0].set_title(name, loc="left", fontweight="bold")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure


def _one_each(table: Sequence[Row]) -> list[Row]:
    order = ("none", "small", "released", "paper")
    best: dict[str, Row] = {}
    for row in sorted(table, key=lambda r: (r.variant, order.index(r.first.preset), -len(r.cells))):
        best.setdefault(row.first.method, row)
    return [best[name] for name in METHODS if name in best]


def _dots(panel: Axes, table: Sequence[Row], part: str, metric: str) -> None:
    places = np.arange(len(table))[::-1]
    means = [row.mean(part, metric) for row in table]
    spread = [row.deviation(part, metric) or 0.0 for row in table]
    panel.errorbar(
        means, places, xerr=spread, fmt="o", color=COLOURS[0], markersize=5, capsize=2, linewidth=1,
        label="ours, mean ± sd over seeds",
    )  # fmt: skip
    base = part.split("_", maxsplit=1)[0]
    paper = [(row.paper_value(base, metric), place) for row, place in zip(table, places, strict=True)]
    known = [(value, place) for value, place in paper if value is not None]
    panel.plot(
        [v for v, _ in known], [p for _, p in known], "x", color=COLOURS[1], markersize=6, label="the paper"
    )
    panel.set_yticks(places, [METHODS[row.first.method].title for row in table])
    panel.set_xlim(0, 100)
    panel.set_ylim(-0.8, len(table) - 0.2)
    panel.grid(axis="y", color="0.9", linewidth=0.6)
    panel.set_axisbelow(True)
