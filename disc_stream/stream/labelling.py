"""From soft assignments to labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from disc_stream.artifacts.model import Model
from disc_stream.stream.encoding import Assigned
from disc_stream.stream.values import Labelled, ReadyInput
from disc_stream.types import Label, SoftLabel


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

    def __init__(self, model: Model, top_k: int = 3) -> None:
        manifest, clusters = model.manifest, model.catalogue.clusters
        self._top_k = min(top_k, len(clusters))
        self._version = manifest.version
        self._window_us = round(manifest.window.samples * 1e6 / manifest.fs)
        self._ids = [cluster.id for cluster in clusters]
        self._names = [cluster.name for cluster in clusters]
        self._q95 = [cluster.distance_q95 for cluster in clusters]

    def label(
        self, assigned: Assigned, smoothed: npt.NDArray[np.float64], occasion: Occasion
    ) -> list[Labelled]:
        """The labels of encoded windows.

        Args:
            assigned: n windows.
            smoothed: (n, K), their smoothed soft assignments.
            occasion: when and why.
        """
        q, distance = assigned.q, assigned.distance
        if not len(q):
            return []
        order = np.argsort(-q, axis=1, kind="stable")[:, : self._top_k]
        top = np.take_along_axis(q, order, 1).tolist()
        far = distance[np.arange(len(q)), order[:, 0]].tolist()
        best = smoothed.argmax(axis=1)
        confidence = smoothed[np.arange(len(q)), best].tolist()
        rows = zip(assigned.ready, top, order.tolist(), far, best.tolist(), confidence, q, strict=True)
        return [
            Labelled(self._make(ready, self._soft(ks, ps), self._one(k, p), d, occasion), ready, row)
            for ready, ps, ks, d, k, p, row in rows
        ]

    def _soft(self, rows: Sequence[int], p: Sequence[float]) -> tuple[tuple[SoftLabel, ...], int]:
        return tuple([self._one(k, value) for k, value in zip(rows, p, strict=True)]), rows[0]

    def _one(self, row: int, p: float) -> SoftLabel:
        return SoftLabel(self._ids[row], self._names[row], p)

    def _make(
        self,
        ready: ReadyInput,
        ranked: tuple[tuple[SoftLabel, ...], int],
        smoothed: SoftLabel,
        distance: float,
        occasion: Occasion,
    ) -> Label:
        soft, row = ranked
        q95 = self._q95[row]
        return Label(
            device=ready.device,
            boot=ready.boot,
            window=ready.window,
            t0_us=ready.t0_us,
            t1_us=ready.t0_us + self._window_us,
            best=soft[0],
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
        )
