"""How a training went: losses, changing labels; or the candidates of disc-plus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from disc_stream.errors import DataError
from disc_stream.plots.style import COLOURS, LINES, MARKERS, drawing, new_figure

History = Sequence[Mapping[str, Any]]
_LONG = 40  # epochs from which single points are not marked
_TITLES = {"pretrain": "autoencoder", "refine": "refinement"}


def draw_training(histories: Mapping[str, History]) -> Figure:
    """Losses of both phases and the share of labels that change, of one or several runs.

    Args:
        histories: name of a run -> its epochs.

    Raises:
        DataError: if the runs have no epochs, or runs with and without epochs are mixed.
    """
    if not histories or not all(histories.values()):
        raise DataError("there is nothing to draw: a run has no history", remedy="Train it again")
    # Guided training begins with a search; where there are epochs, they are what is drawn.
    histories = {name: [e for e in h if "losses" in e] or h for name, h in histories.items()}
    kinds = {"losses" in history[0] for history in histories.values()}
    if kinds == {False}:
        return _candidates(histories)
    if kinds != {True}:
        raise DataError("a run of disc-plus has no epochs", remedy="Draw it in a figure of its own")
    with drawing():
        figure = new_figure(10.5, 4.2)
        pretrain, refine, change = figure.subplots(1, 3)
        for number, (name, history) in enumerate(histories.items()):
            _losses(pretrain, history, "pretrain", name, number, several=len(histories) > 1)
            for phase in ("refine", "guided"):
                _losses(refine, history, phase, name, number, several=len(histories) > 1)
            _changes(change, history, name, number)
        for panel, title in (
            (pretrain, "autoencoder"),
            (refine, "refinement, or guided"),
            (change, "changing labels"),
        ):
            panel.set_title(title)
            panel.set_xlabel("epoch")
            panel.xaxis.set_major_locator(MaxNLocator(integer=True))
            if panel.lines:
                panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
            else:
                panel.text(0.5, 0.5, "no epochs", ha="center", transform=panel.transAxes)
        pretrain.set_ylabel("loss, mean over the epoch")
        change.set_ylabel("% of the windows")
    return figure


def _losses(panel: Axes, history: History, phase: str, name: str, number: int, *, several: bool) -> None:
    epochs = [entry for entry in history if entry["phase"] == phase]
    if not epochs:
        return
    terms = ["total"] if several else list(epochs[0]["losses"])
    for place, term in enumerate(terms):
        style = number if several else place
        panel.plot(
            [e["epoch"] for e in epochs], [e["losses"][term] for e in epochs], LINES[style % len(LINES)],
            color=COLOURS[style % len(COLOURS)], label=name if several else term,
            marker=MARKERS[style % len(MARKERS)] if len(epochs) < _LONG else "", markersize=4,
        )  # fmt: skip
    panel.set_yscale("log")


def _changes(panel: Axes, history: History, name: str, number: int) -> None:
    epochs = [e for e in history if e.get("label_change") is not None]
    if epochs:
        panel.plot(
            [e["epoch"] for e in epochs], [100 * e["label_change"] for e in epochs],
            LINES[number % len(LINES)], color=COLOURS[number % len(COLOURS)], label=name,
            marker=MARKERS[number % len(MARKERS)], markersize=4,
        )  # fmt: skip


def _candidates(histories: Mapping[str, History]) -> Figure:
    """Score of every candidate, by the span it averages over."""
    with drawing():
        figure = new_figure(7.0, 3.8)
        panel = figure.subplots()
        for number, (name, history) in enumerate(histories.items()):
            for kind, filled in (("start", False), ("move", True)):
                numbered = enumerate(history, start=1)
                chosen = [
                    (i, entry["score"]) for i, entry in numbered if (entry["kind"] != "start") == filled
                ]
                panel.scatter(
                    [i for i, _ in chosen], [s for _, s in chosen], s=12,
                    marker=MARKERS[number % len(MARKERS)],
                    facecolors=COLOURS[number % len(COLOURS)] if filled else "none",
                    edgecolors=COLOURS[number % len(COLOURS)], linewidths=0.6, label=f"{name}, {kind}s",
                )  # fmt: skip
        panel.set_xlim(left=0)
        panel.set_xlabel("candidate, in the order of the search")
        panel.set_ylabel("score (nats that carry over, or log-likelihood)")
        figure.legend(loc="outside upper center", ncols=4)
    return figure
