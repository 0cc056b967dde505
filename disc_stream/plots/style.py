"""Style of the figures, and how they are written: the same content gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from disc_stream.errors import ConfigError, TrainingError

# Okabe and Ito's colours, safe for the colour-blind, and a marker for each, for black and white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#8c6d31")
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "*", "<", ">", "p", "h")
LINES = ("-", "--", ":", "-.")
FORMATS = ("png", "svg")

STYLE: Mapping[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.0,
    "legend.frameon": False,
    "svg.hashsalt": "disc-stream",
    "svg.fonttype": "none",
}


def drawing() -> AbstractContextManager[None]:
    """Apply the style of our figures inside the context."""
    return rc_context(cast("Any", dict(STYLE)))


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, to be drawn on inside ``drawing()``."""
    figure = Figure(figsize=(width, height), layout="constrained", dpi=150)
    FigureCanvasAgg(figure)
    return figure


def check_target(path: Path) -> str:
    """The format that a file's name asks for.

    Raises:
        ConfigError: if it is not PNG or SVG.
    """
    kind = path.suffix.lower().lstrip(".")
    if kind not in FORMATS:
        raise ConfigError(f"a figure cannot be written as {path.name!r}", remedy="Use a name in .png or .svg")
    return kind


def save(figure: Figure, path: Path) -> None:
    """Write a figure by its name's ending, without dates.

    Raises:
        ConfigError: if the ending is not known.
        TrainingError: if it cannot be written.
    """
    kind = check_target(path)
    metadata = {"Date": None, "Creator": "disc-stream"} if kind == "svg" else {"Software": "disc-stream"}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with drawing():
            figure.savefig(path, format=kind, metadata=metadata)
    except OSError as error:
        raise TrainingError(
            f"the figure cannot be written to {str(path)!r}: {error.strerror or error}",
            remedy="Check space and permissions there",
        ) from error
