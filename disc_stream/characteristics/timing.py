"""How long a cluster's motion lasts at a time, and at what time of day it happens."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from disc_stream.types import IntArray

_CONTINUES = 1.5  # of the usual step from window to window; beyond it there is a gap
_HOUR_US = 3_600_000_000
_MOST = 0.8
_COVERED_HOURS = 20  # of the day, before a time of day means anything
_LONGEST_SPAN = 12


def bout_seconds(
    device: npt.NDArray[np.intp], time_us: IntArray | None, rows: IntArray, n_clusters: int
) -> list[float | None]:
    """Median length of an uninterrupted stretch of each cluster's windows on one device, in seconds.

    A stretch ends where another cluster begins, or with a gap. It lasts from the begin of its first window to
    the begin of the one behind its last.

    Args:
        device: (n,) number of the device.
        time_us: (n,) begin of each window, in any order; None if not known.
        rows: (n,) cluster, -1 for none.
        n_clusters: K.
    """
    if time_us is None or len(rows) < 2:
        return [None] * n_clusters
    order = np.lexsort((time_us, device))
    row, at, who = rows[order], time_us[order], device[order]
    step = np.diff(at)
    together = (who[1:] == who[:-1]) & (step > 0)
    if not together.any():
        return [None] * n_clusters
    usual = float(np.median(step[together]))
    breaks = ~together | (step > _CONTINUES * usual) | (row[1:] != row[:-1])
    first = np.concatenate([[0], np.flatnonzero(breaks) + 1])
    last = np.concatenate([np.flatnonzero(breaks), [len(row) - 1]])
    length = (at[last] - at[first] + usual) / 1e6
    return [
        float(np.median(length[row[first] == k])) if (row[first] == k).any() else None
        for k in range(n_clusters)
    ]


def usual_hours(
    time_us: IntArray | None, rows: IntArray, n_clusters: int, utc_offset_minutes: int
) -> list[tuple[int, int] | None]:
    """The shortest span of whole hours of the day that holds four fifths of each cluster's windows.

    None where the windows cover less than 20 hours of the day, or the span is longer than half a day: then
    there is no time of day to speak of.

    Args:
        time_us: (n,) Unix time, microseconds; None if not known.
        rows: (n,) cluster, -1 for none.
        n_clusters: K.
        utc_offset_minutes: of the wall clock from UTC.

    Returns:
        From (inclusive) and to (exclusive) hour of each cluster; (22, 6) spans midnight.
    """
    if time_us is None or len(time_us) == 0:
        return [None] * n_clusters
    hour = (time_us + utc_offset_minutes * 60_000_000) // _HOUR_US % 24
    if len(np.unique(hour)) < _COVERED_HOURS:
        return [None] * n_clusters
    return [_span(np.bincount(hour[rows == k], minlength=24)) for k in range(n_clusters)]


def _span(counts: npt.NDArray[np.intp]) -> tuple[int, int] | None:
    total = int(counts.sum())
    around = np.concatenate([[0], np.cumsum(np.tile(counts, 2))])
    for length in range(1, _LONGEST_SPAN + 1):
        inside = around[length : length + 24] - around[:24]
        start = int(np.argmax(inside))
        if total and inside[start] >= _MOST * total:
            return start, (start + length) % 24
    return None
