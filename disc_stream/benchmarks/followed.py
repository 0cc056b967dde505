"""Windows of many devices under centroids that follow each of them, as a stream and as whole recordings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from disc_stream.clustering.adaptation import Adapted, Adapter, Occurrence
from disc_stream.data.types import WindowSet
from disc_stream.types import Float32Array


def adapt_sequences(
    adapter: Adapter,
    z: Float32Array,
    device: npt.NDArray[np.integer],
    occurrences: Sequence[Occurrence],
) -> Adapted:
    """Stream the windows of many devices, each from its first window on.

    Args:
        adapter: of the model.
        z: (n, d) embeddings; those of a device in order.
        device: (n,) whose each is.
        occurrences: n, of the windows.

    Returns:
        In the order given; every window under what was known before it.
    """
    if not len(z):
        return _nothing(adapter)
    numbers, of = np.unique(device, return_inverse=True)
    states = [adapter.new() for _ in numbers]
    rows = [np.flatnonzero(of == one) for one in range(len(numbers))]
    parts, order = [], []
    for turn in range(max(map(len, rows))):
        there = [one for one, mine in enumerate(rows) if turn < len(mine)]
        now = np.array([rows[one][turn] for one in there])
        parts.append(
            adapter.step([states[one] for one in there], z[now], [occurrences[row] for row in now.tolist()])
        )
        order.append(now)
    return _in_order(parts, order)


def adapt_recordings(
    adapter: Adapter,
    z: Float32Array,
    device: npt.NDArray[np.integer],
    occurrences: Sequence[Occurrence],
) -> Adapted:
    """The same with all of a device's windows known at once; see ``Adapter.over_recording``."""
    if not len(z):
        return _nothing(adapter)
    order = [np.flatnonzero(device == one) for one in np.unique(device)]
    parts = [adapter.over_recording(z[rows], [occurrences[row] for row in rows.tolist()]) for rows in order]
    return _in_order(parts, order)


def _in_order(parts: Sequence[Adapted], order: Sequence[npt.NDArray[np.intp]]) -> Adapted:
    back = np.argsort(np.concatenate(order))
    q, shift, learned = (np.concatenate(part)[back] for part in zip(*parts, strict=True))
    return Adapted(q, shift, learned)


def _nothing(adapter: Adapter) -> Adapted:
    none = np.zeros(0, dtype=np.float32)
    return Adapted(np.zeros((0, len(adapter.radius)), dtype=np.float32), none, np.zeros(0, dtype=np.bool_))


def occurrences_of(
    device: npt.NDArray[np.integer], begins: npt.NDArray[np.bool_], hop_s: float
) -> list[Occurrence]:
    """The occurrences of windows that came one after the other.

    Args:
        device: (n,) whose each is; those of a device stand together.
        begins: (n,) whether each begins a recording.
        hop_s: from one to the next.
    """
    first = begins | np.concatenate([[True], np.diff(device) != 0])[: len(begins)]
    times = 1 + np.arange(len(begins), dtype=np.int64) * round(hop_s * 1e6)
    return [Occurrence(when, begin) for when, begin in zip(times.tolist(), first.tolist(), strict=True)]


def hop_s(windows: WindowSet) -> float:
    """Seconds from one window to the next."""
    same = np.diff(windows.group) == 0
    steps = np.diff(windows.start)[same]
    return float(np.median(steps) / windows.fs) if len(steps) else windows.x.shape[1] / windows.fs
