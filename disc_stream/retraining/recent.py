"""The last windows in the spool, one after the other, with what they were labelled: for the shadow run."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from disc_stream.stream.values import ReadyInput
from disc_stream.types import Float32Array, IntArray
from disc_stream_server.dataset.replay import LabelledWindow

MAX_RECENT = 4_096


@dataclass(frozen=True, slots=True)
class Recent:
    """Windows in the order in which they were labelled.

    Args:
        x: (n, T, C) float32, SI units.
        devices: (n,) names.
        boots: (n,) int64.
        window: (n,) number of each within its boot.
        segment: (n,) see ``ReadyInput``.
        t0_us: (n,) device time.
        label: (n,) public id that was published for it after smoothing.
        own_row: (n,) 1 where the model in production labelled it, 0 elsewhere.
    """

    ARRAYS: ClassVar[tuple[str, ...]] = ("x", "boots", "window", "segment", "t0_us", "label", "own_row")

    x: Float32Array = field(repr=False)
    devices: npt.NDArray[np.str_] = field(repr=False)
    boots: IntArray = field(repr=False)
    window: IntArray = field(repr=False)
    segment: IntArray = field(repr=False)
    t0_us: IntArray = field(repr=False)
    label: IntArray = field(repr=False)
    own_row: IntArray = field(repr=False)

    def inputs(self, n_input: int) -> list[ReadyInput]:
        """Those that the model in production has labelled, as the encoder takes them."""
        rows = np.flatnonzero(self.own_row)
        return [
            ReadyInput(
                str(self.devices[i]), int(self.boots[i]), int(self.window[i]), int(self.t0_us[i]), 0,
                int(self.segment[i]), self.x[i, :n_input],
            )
            for i in rows
        ]  # fmt: skip

    @property
    def published(self) -> IntArray:
        """(m,) what was published for them."""
        return self.label[self.own_row > 0]


class RecentWindows:
    """Keeps the last ones that pass by.

    Args:
        model: version in production, "" for none.
        most: how many are kept.
    """

    def __init__(self, model: str, most: int = MAX_RECENT) -> None:
        self._model = model
        self._kept: deque[tuple[ReadyInput, int, int]] = deque(maxlen=most)

    def watch(self, windows: Iterator[LabelledWindow]) -> Iterator[LabelledWindow]:
        """The same windows, of which the last are kept."""
        for one in windows:
            label = one.label
            if label is not None:
                ready = one.window._replace(samples=one.window.samples.astype(np.float32, copy=True))
                self._kept.append((ready, label.smoothed, int(label.model == self._model)))
            yield one

    def result(self) -> Recent:
        """What was kept."""
        ready = [one[0] for one in self._kept]
        nothing = np.empty((0, 0, 0), dtype=np.float32)
        return Recent(
            x=np.stack([one.samples for one in ready]) if ready else nothing,
            devices=np.array([one.device for one in ready], dtype=np.str_),
            boots=np.array([one.boot for one in ready], dtype=np.int64),
            window=np.array([one.window for one in ready], dtype=np.int64),
            segment=np.array([one.segment for one in ready], dtype=np.int64),
            t0_us=np.array([one.t0_us for one in ready], dtype=np.int64),
            label=np.array([one[1] for one in self._kept], dtype=np.int64),
            own_row=np.array([one[2] for one in self._kept], dtype=np.int64),
        )
