"""The encoder as a stage: batches of windows in, soft assignments out, and what to do when it fails."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from disc_stream.artifacts.model import Encoder
from disc_stream.artifacts.runtime import Encoded
from disc_stream.errors import EncoderUnavailableError
from disc_stream.sparselog import SparseLog
from disc_stream.stream.values import Failure, ReadyInput
from disc_stream.types import Float32Array

log = logging.getLogger(__name__)


class Assigned(NamedTuple):
    """Encoded windows.

    Args:
        ready: n windows.
        q: (n, K) float32.
        distance: (n, K) float32.
        embedding: (n, d) float32.
        samples: (n, T, C) float32, what the encoder read.
        failures: windows that could not be encoded.
        model_q: (n, K) float32, what the model itself says where ``q`` is of centroids that follow the
            device; None where ``q`` is the model's. What is unknown, and how far a window is, always goes
            by the model.
        shift: (n,) float32, how far the device's centroids lay from the model's, in standard deviations of
            their clusters; None where they do not follow.
    """

    ready: list[ReadyInput]
    q: Float32Array
    distance: Float32Array
    embedding: Float32Array
    samples: Float32Array
    failures: list[Failure]
    model_q: Float32Array | None = None
    shift: Float32Array | None = None


class EncoderStage:
    """Encodes windows in groups; nothing of a stream depends on which windows share a group.

    When a group fails, a window that is known to work is tried. If that fails too, it is the encoder: the
    windows are kept, and the call can be repeated once the encoder works again. Otherwise the group is
    halved until the windows at fault are found, and only they have no label.

    Args:
        encoder: runs the model.
        shape: (input_samples, n_channels) of a window.
        max_batch: windows encoded at once.
    """

    def __init__(self, encoder: Encoder, shape: tuple[int, int], max_batch: int = 256) -> None:
        self._encoder, self._max_batch = encoder, max_batch
        self._log = SparseLog(log)
        self._probe = np.zeros((1, *shape), dtype=np.float32)

    def encode(self, ready: Sequence[ReadyInput]) -> Assigned:
        """Encode windows, in their order.

        Raises:
            EncoderUnavailableError: if the encoder itself does not work.
        """
        parts = [
            part
            for start in range(0, len(ready), self._max_batch)
            for part in self._encode_or_halve(ready[start : start + self._max_batch])
        ]
        good = [part for part in parts if part.ready]
        failures = [failure for part in parts for failure in part.failures]
        if len(good) == 1:
            return good[0]._replace(failures=failures)
        if not good:
            return _none(failures)
        return Assigned(
            [one for part in good for one in part.ready],
            np.concatenate([part.q for part in good]),
            np.concatenate([part.distance for part in good]),
            np.concatenate([part.embedding for part in good]),
            np.concatenate([part.samples for part in good]),
            failures,
        )

    def probe(self) -> None:
        """Check that the encoder works.

        Raises:
            EncoderUnavailableError: if it does not.
        """
        try:
            encoded = self._encoder.encode(self._probe)
            works = bool(np.isfinite(encoded.q).all() and np.isfinite(encoded.distance).all())
        except Exception as error:
            why = next(iter(str(error).splitlines()), repr(error))
            raise EncoderUnavailableError(f"the encoder does not work: {why}") from error
        if not works:
            raise EncoderUnavailableError(
                "the encoder does not work: its output for a window of zeros is not finite"
            )

    def _encode_or_halve(self, group: Sequence[ReadyInput]) -> list[Assigned]:
        try:
            samples = stacked(group)
            encoded = self._encoder.encode(samples)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, or the window is at fault
            self.probe()
            if len(group) == 1:
                message = f"the encoder failed on this window: {error}"
                return [_none([Failure(group[0], "encoder-failed", message)])]
            text = "encoding %d windows failed (%s); trying halves"
            self._log.warning("", "encoding", text, len(group), error)
        else:
            return [self._check(group, encoded, samples)]
        half = len(group) // 2
        return [*self._encode_or_halve(group[:half]), *self._encode_or_halve(group[half:])]

    def _check(self, group: Sequence[ReadyInput], encoded: Encoded, samples: Float32Array) -> Assigned:
        """Windows whose output is not finite have no label."""
        q, distance = encoded.q, encoded.distance
        finite = np.isfinite(q).all(axis=1) & np.isfinite(distance).all(axis=1)
        if finite.all():
            return Assigned(list(group), q, distance, encoded.embedding, samples, [])
        if not finite.any():
            self.probe()
        message = "the encoder's output is not finite"
        bad = [Failure(group[row], "not-finite", message) for row in np.flatnonzero(~finite).tolist()]
        good = [group[row] for row in np.flatnonzero(finite).tolist()]
        return Assigned(good, q[finite], distance[finite], encoded.embedding[finite], samples[finite], bad)


def _none(failures: list[Failure]) -> Assigned:
    """Nothing could be encoded."""
    empty = np.empty((0, 0), dtype=np.float32)
    return Assigned([], empty, empty, empty, empty, failures)


def stacked(group: Sequence[ReadyInput]) -> Float32Array:
    """The samples of n windows, at least one, as one array (n, T, C), in a fourth of ``np.stack``'s time."""
    first = group[0].samples
    out = np.empty((len(group), *first.shape), dtype=np.float32)
    np.concatenate([ready.samples for ready in group], out=out.reshape(-1, first.shape[1]))
    return out
