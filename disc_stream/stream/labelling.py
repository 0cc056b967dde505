"""From soft assignments to labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from disc_stream.artifacts.model import Model
from disc_stream.stream.encoding import Assigned
from disc_stream.stream.values import Labelled, ReadyInput
from disc_stream.types import NOT_WORN, STATE_NAMES, UNKNOWN, Label, SoftLabel

_NOT_WORN = SoftLabel(NOT_WORN, STATE_NAMES[NOT_WORN], 1.0)


@dataclass(frozen=True, slots=True)
class Occasion:
    """What the labels of one call have in common.

    Args:
        now_us: server time, Unix microseconds.
        deferred: whether the labels were deferred, and say so.
    """

    now_us: int
    deferred: bool = False


class LabelMaker:
    """Names the clusters of a model.

    Args:
        model: the model.
        top_k: soft labels in each label; at most K are given.
    """

    def __init__(self, model: Model, top_k: int) -> None:
        manifest, self._clusters = model.manifest, model.clusters
        self._top_k = min(top_k, len(self._clusters.ids))
        self._version = manifest.version
        self._muted = {
            one for one, muted in zip(self._clusters.ids, self._clusters.muted, strict=True) if muted
        }
        self._window_us = round(manifest.window.samples * 1e6 / manifest.fs)
        self._limits = [cluster.unknown_above for cluster in model.catalogue.clusters]
        self._q95 = [cluster.distance_q95 for cluster in model.catalogue.clusters]

    def label(
        self,
        assigned: Assigned,
        smoothed: npt.NDArray[np.float64],
        occasion: Occasion,
        not_worn: Sequence[bool],
    ) -> list[Labelled]:
        """The labels of encoded windows.

        Args:
            assigned: n windows.
            smoothed: (n, M), their smoothed soft assignments to the public clusters.
            occasion: when and why.
            not_worn: n, whether the device is not worn.
        """
        q = assigned.q
        if not len(q):
            return []
        public, everyone = self._clusters.add_up(q), np.arange(len(q))
        order = np.argsort(-public, axis=1, kind="stable")[:, : self._top_k]
        top = np.take_along_axis(public, order, 1).tolist()
        far = self._how_far(assigned, order[:, 0])
        shifts: list[float | None] = [None] * len(q) if assigned.shift is None else assigned.shift.tolist()
        best = smoothed.argmax(axis=1)
        confidence = smoothed[everyone, best].tolist()
        found = zip(
            assigned.ready, top, order.tolist(), far, best.tolist(), confidence, q, not_worn, shifts,
            strict=True,
        )  # fmt: skip
        return [
            Labelled(
                self._make(ready, self._soft(ks, ps), self._one(k, p), (*nearest, off, shift), occasion),
                ready,
                row,
            )
            for ready, ps, ks, nearest, k, p, row, off, shift in found
        ]

    def _how_far(self, assigned: Assigned, best: npt.NDArray[np.intp]) -> list[tuple[int, float]]:
        """The model's own row of each window and the distance to it, also where centroids follow devices.

        So adaptation changes no state, no distance and no novelty, and cannot hide that a device drifts.
        """
        q = assigned.q
        if assigned.model_q is not None:
            q = assigned.model_q
            best = self._clusters.add_up(q).argmax(1)
        rows = self._clusters.rows_of(q, best)
        return list(zip(rows.tolist(), assigned.distance[np.arange(len(q)), rows].tolist(), strict=True))

    def _soft(self, columns: Sequence[int], p: Sequence[float]) -> tuple[SoftLabel, ...]:
        ids, names = self._clusters.ids, self._clusters.names
        return tuple([SoftLabel(ids[k], names[k], value) for k, value in zip(columns, p, strict=True)])

    def _one(self, column: int, p: float) -> SoftLabel:
        return SoftLabel(self._clusters.ids[column], self._clusters.names[column], p)

    def _make(
        self,
        ready: ReadyInput,
        soft: tuple[SoftLabel, ...],
        smoothed: SoftLabel,
        seen: tuple[int, float, bool, float | None],
        occasion: Occasion,
    ) -> Label:
        row, distance, off, shift = seen
        q95, limit = self._q95[row], self._limits[row]
        best = soft[0]
        if off:
            best = smoothed = _NOT_WORN
        elif limit is not None and distance > limit:
            best = smoothed = SoftLabel(UNKNOWN, STATE_NAMES[UNKNOWN], 1.0 - limit / distance)
        return Label(
            device=ready.device,
            boot=ready.boot,
            window=ready.window,
            t0_us=ready.t0_us,
            t1_us=ready.t0_us + self._window_us,
            best=best,
            soft=soft,
            smoothed=smoothed,
            distance=distance,
            novelty=distance / q95 if q95 else None,
            model=self._version,
            seq=ready.seq,
            published_us=occasion.now_us,
            t0_unix_us=ready.t0_unix_us,
            bridged=ready.bridged,
            deferred=occasion.deferred,
            muted=best.label in self._muted,
            adapted=shift,
        )
