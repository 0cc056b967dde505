"""The last windows that were labelled, with what was published for them: for the shadow run.

Ids go on from version to version, so labels of all that were in production count: right after a promotion
there are hardly any of the newest. Labels with an id that is gone say nothing of a candidate; they are left
out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from disc_stream.stream.values import ReadyInput
from disc_stream.types import Float32Array, IntArray
from disc_stream_server.dataset.replay import LabelledWindow
from disc_stream_server.storage.notes import KnownRejections

MAX_RECENT = 4_096
MAX_BYTES = 128 * 2**20


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
    """

    ARRAYS: ClassVar[tuple[str, ...]] = ("x", "boots", "window", "segment", "t0_us", "label")

    x: Float32Array = field(repr=False)
    devices: npt.NDArray[np.str_] = field(repr=False)
    boots: IntArray = field(repr=False)
    window: IntArray = field(repr=False)
    segment: IntArray = field(repr=False)
    t0_us: IntArray = field(repr=False)
    label: IntArray = field(repr=False)

    def inputs(self, n_input: int) -> list[ReadyInput]:
        """As an encoder takes them that reads so many samples."""
        return [
            ReadyInput(
                str(self.devices[i]), int(self.boots[i]), int(self.window[i]), int(self.t0_us[i]), 0,
                int(self.segment[i]), self.x[i, :n_input],
            )
            for i in range(len(self.x))
        ]  # fmt: skip


class RecentWindows:
    """Keeps the last ones that pass by; long windows fewer of them.

    Args:
        models: versions that are or were in production.
        ids: public ids that are in use.
        most: how many are kept.
        most_bytes: of samples.
        rejections: labels that people have rejected; they say nothing of a candidate.
    """

    def __init__(
        self,
        models: Collection[str],
        ids: Collection[int],
        most: int = MAX_RECENT,
        most_bytes: int = MAX_BYTES,
        rejections: KnownRejections | None = None,
    ) -> None:
        self._rejections = rejections or KnownRejections({})
        self._models, self._ids = frozenset(models), frozenset(ids)
        self._most, self._most_bytes = most, most_bytes
        self._kept: deque[tuple[ReadyInput, int]] = deque()

    def watch(self, windows: Iterator[LabelledWindow]) -> Iterator[LabelledWindow]:
        """The same windows, of which the last are kept."""
        for one in windows:
            label = one.label
            counts = label is not None and self._rejections.of_label(label) is None
            if label is not None and counts and label.model in self._models and label.smoothed in self._ids:
                ready = replace(one.window, samples=one.window.samples.astype(np.float32, copy=True))
                self._kept.append((ready, label.smoothed))
                if len(self._kept) > min(self._most, max(1, self._most_bytes // ready.samples.nbytes)):
                    self._kept.popleft()
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
        )
