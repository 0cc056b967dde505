"""What recordings look like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from disc_stream.data.importing.look import Look
from disc_stream.plots.style import COLOURS, drawing, new_figure

MOST = 12
"""Recordings in one figure."""


def draw_recordings(looks: Sequence[Look]) -> Figure:
    """Traces of each sensor, with gaps (grey) and times when it was not worn (striped), and gravity at rest.

    Args:
        looks: at most ``MOST`` recordings, with as many columns as the figure is to show.
    """
    rows = [(look, sensor) for look in looks[:MOST] for sensor in _sensors(look)]
    with drawing():
        figure = new_figure(9.0, 1.2 + 1.7 * len(rows))
        panels = np.atleast_1d(figure.subplots(len(rows), 1))
        for panel, (look, sensor) in zip(panels, rows, strict=True):
            _draw(panel, look, sensor)
        panels[-1].set_xlabel("seconds")
    return figure


def _sensors(look: Look) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for n, name in enumerate(look.channels):
        bare, _, unit = name.partition(" [")
        sensor = bare[:-2] if bare[-2:] in ("_x", "_y", "_z") else bare
        found.setdefault(f"{sensor} [{unit}", []).append(n)
    return found


def _draw(panel: Any, look: Look, sensor: str) -> None:
    width = look.seconds / look.low.shape[1]
    times = (np.arange(look.low.shape[1]) + 0.5) * width
    for colour, n in enumerate(_sensors(look)[sensor]):
        shade = COLOURS[colour % len(COLOURS)]
        panel.fill_between(times, look.low[n], look.high[n], color=shade, alpha=0.5, lw=0.4)
        panel.plot(
            times,
            (look.low[n] + look.high[n]) / 2,
            color=shade,
            lw=0.6,
            label=look.channels[n].partition(" [")[0],
        )
    for begin, end in look.gaps:
        panel.axvspan(begin, end, color="0.8", lw=0)
    for begin, end in look.not_worn:
        panel.axvspan(begin, end, facecolor="none", edgecolor="0.6", hatch="//", lw=0)
    panel.set_ylabel(sensor)
    panel.set_xlim(0, look.seconds)
    title = f"{look.name}: {look.rate:.5g} samples/s, {len(look.gaps)} gap{'s' * (len(look.gaps) != 1)}"
    panel.set_title(f"{title}; {look.rest_words()}" if sensor.startswith("acc") else title, fontsize="small")
    panel.legend(loc="upper right", fontsize="x-small", ncols=3)
