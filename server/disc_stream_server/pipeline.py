"""From sample batches to labels, without any transport: what ``serve`` and ``label`` both run.

Synchronous and without threads. Windows of all devices that wait are encoded together; which windows
share a batch does not change their labels, since the graph treats every row alike and smoothing goes by
device and in order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from disc_stream.artifacts.manifest import Manifest
from disc_stream.clock import Clock, SystemClock
from disc_stream.clustering.smoothing import likelihood_exponent
from disc_stream.types import Float32Array, Label, SampleBatch, SoftLabel
from disc_stream_server.sessions import Sessions
from disc_stream_server.shards import InProcessRouter, ReadyInput, Shard, ShardRouter
from disc_stream_server.stages import Stages

log = logging.getLogger(__name__)


class Encoded(Protocol):
    """What the encoder makes of B windows."""

    @property
    def q(self) -> Float32Array:
        """Soft assignment, (B, K)."""
        ...

    @property
    def distance(self) -> Float32Array:
        """Squared Euclidean distance to each centroid, (B, K)."""
        ...


class Encoder(Protocol):
    """Anything that encodes windows; ``disc_stream.artifacts.runtime.OnnxEncoder`` is one."""

    def encode(self, x: Float32Array) -> Encoded:
        """Encode windows (B, input_samples, n_channels) float32."""
        ...


def open_sessions(manifest: Manifest, *, stay: float = 0.8, **settings: Any) -> Sessions:
    """Empty sessions that fit a model; further settings are those of ``Sessions``."""
    return Sessions(
        [channel.channel() for channel in manifest.channels],
        manifest.fs,
        manifest.window.spec(),
        n_clusters=len(manifest.clusters),
        stay=stay,
        exponent=likelihood_exponent(manifest.embedding_dim),
        **settings,
    )


class Labelled(NamedTuple):
    """A window and what it was found to be.

    Args:
        label: as it is published.
        ready: the window.
        q: (K,) float32, its soft assignment.
    """

    label: Label
    ready: ReadyInput
    q: npt.NDArray[np.float32]


Smooth = Callable[[Sequence[ReadyInput], npt.NDArray[np.floating]], npt.NDArray[np.float64]]


class Pipeline:
    """Batches in, labels out.

    Args:
        manifest: of the model.
        encoder: runs the model.
        router: finds the sessions of a device; default: this process keeps them all.
        clock: for the labels' ``published_us``.
        top_k: soft labels in each label; at most K are given.
        max_batch: windows encoded at once.
        stages: encoding and labelling are timed here.
    """

    def __init__(
        self,
        manifest: Manifest,
        encoder: Encoder,
        *,
        router: ShardRouter | None = None,
        clock: Clock | None = None,
        top_k: int = 3,
        max_batch: int = 256,
        stages: Stages | None = None,
    ) -> None:
        self._encoder = encoder
        self._router = router or InProcessRouter(open_sessions(manifest))
        self._clock = clock or SystemClock()
        self._top_k = min(top_k, len(manifest.clusters))
        self._max_batch = max_batch
        self._version = manifest.version
        self._window_us = round(manifest.window.samples * 1e6 / manifest.fs)
        clusters = sorted(manifest.clusters, key=lambda cluster: cluster.id)
        self._names = [cluster.name for cluster in clusters]
        self._q95 = [cluster.distance_q95 for cluster in clusters]
        self._waiting: list[ReadyInput] = []
        self.stages = stages or Stages()
        self.windows = 0
        self.failed = 0

    @property
    def waiting(self) -> int:
        """Number of windows that wait to be encoded."""
        return len(self._waiting)

    def accept(self, batch: SampleBatch) -> bool:
        """Take the next batch of a device; False if it is a repetition or came too late.

        Raises:
            StreamMismatchError: if the batch does not fit the model.
        """
        ready = self._router.shard_of(batch.device).push(batch)
        if ready is None:
            return False
        self._waiting += ready
        return True

    def run(self) -> list[Label]:
        """Label every window that was accepted and waits; those of one device come in order."""
        ready, self._waiting = self._waiting, []
        return [labelled.label for labelled in self.label(ready)]

    def label(
        self, ready: Sequence[ReadyInput], smooth: Smooth | None = None, *, deferred: bool = False
    ) -> list[Labelled]:
        """Label windows; those of one device in order.

        A window that cannot be encoded even alone has no label; it is logged and counted in ``failed``.

        Args:
            ready: the windows.
            smooth: smooths their soft assignments; default: the sessions of their devices.
            deferred: whether these labels were put off, and say so.
        """
        smooth = smooth or self._smooth
        labelled: list[Labelled] = []
        for start in range(0, len(ready), self._max_batch):
            labelled += self._label(ready[start : start + self._max_batch], smooth, deferred)
        return labelled

    def _smooth(self, group: Sequence[ReadyInput], q: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        rows: dict[Shard, list[int]] = {}
        for row, ready in enumerate(group):
            rows.setdefault(self._router.shard_of(ready.device), []).append(row)
        out = np.empty(q.shape)
        for shard, mine in rows.items():
            out[mine] = shard.smooth([group[row] for row in mine], q[mine])
        return out

    def _label(self, group: Sequence[ReadyInput], smooth: Smooth, deferred: bool) -> list[Labelled]:
        self.windows += len(group)
        return self._encode_or_split(group, smooth, deferred)

    def _encode_or_split(self, group: Sequence[ReadyInput], smooth: Smooth, deferred: bool) -> list[Labelled]:
        """Halve a group that fails, and again, so that one bad window costs a few runs and not hundreds."""
        try:
            return self._encode(group, smooth, deferred)
        except Exception as error:
            if len(group) == 1:
                self._fail(group[0], error)
                return []
            log.exception("encoding %d windows failed; trying halves", len(group))
        half = len(group) // 2
        first = self._encode_or_split(group[:half], smooth, deferred)
        return first + self._encode_or_split(group[half:], smooth, deferred)

    def _fail(self, ready: ReadyInput, why: object) -> None:
        self.failed += 1
        log.error("no label for window %d of %s: %s", ready.window, ready.device, why)

    def _encode(self, group: Sequence[ReadyInput], smooth: Smooth, deferred: bool) -> list[Labelled]:
        self.stages.begin()
        encoded = self._encoder.encode(np.stack([ready.samples for ready in group]))
        self.stages.end("encode")
        q, distance = encoded.q, encoded.distance
        finite = np.isfinite(q).all(axis=1) & np.isfinite(distance).all(axis=1)
        if not finite.all():  # monstrous samples: theirs alone have no label
            good, bad = np.flatnonzero(finite).tolist(), np.flatnonzero(~finite).tolist()
            for row in bad:
                self._fail(group[row], "the encoder's output is not finite")
            group = [group[row] for row in good]
            q, distance = q[finite], distance[finite]
        order = np.argsort(-q, axis=1, kind="stable")[:, : self._top_k]
        rows = zip(
            group, smooth(group, q), q, np.take_along_axis(q, order, 1).tolist(), order.tolist(),
            distance[np.arange(len(group)), order[:, 0]].tolist(), strict=True,
        )  # fmt: skip
        now = self._clock.unix_us()
        labelled = [
            Labelled(self._make(ready, smoothed, top, best, far, now, deferred), ready, one)
            for ready, smoothed, one, top, best, far in rows
        ]
        self.stages.end("label")
        return labelled

    def _make(
        self,
        ready: ReadyInput,
        smoothed: npt.NDArray[np.float64],
        top: list[float],
        order: list[int],
        distance: float,
        now_us: int,
        deferred: bool,
    ) -> Label:
        names = self._names
        soft = tuple([SoftLabel(k, names[k], p) for k, p in zip(order, top, strict=True)])
        best = int(smoothed.argmax())
        q95 = self._q95[order[0]]
        return Label(
            device=ready.device,
            boot=ready.boot,
            window=ready.window,
            t0_us=ready.t0_us,
            t1_us=ready.t0_us + self._window_us,
            best=soft[0],
            soft=soft,
            smoothed=SoftLabel(best, names[best], float(smoothed[best])),
            distance=distance,
            novelty=distance / q95 if q95 else None,
            model=self._version,
            seq=ready.seq,
            published_us=now_us,
            t0_unix_us=ready.t0_unix_us,
            bridged=ready.bridged,
            deferred=deferred,
        )
