"""Labels on the device itself: the streaming core and a bundle, without a server.

The stages are the server's own (``disc_stream.stream``), so the labels are those that a server would give for
the same bundle and stream. What is kept of a device is one session of a few KiB, however long it is offline.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import NamedTuple

from disc_stream.artifacts.model import Model
from disc_stream.clock import Clock, SystemClock
from disc_stream.errors import StreamMismatchError
from disc_stream.sparselog import SparseLog
from disc_stream.stream.adapting import with_known_centroids
from disc_stream.stream.pipeline import LabelOptions, Pipeline, stream_spec
from disc_stream.stream.values import Failure
from disc_stream.types import Float32Array, Label, SampleBatch

log = logging.getLogger(__name__)


class Found(NamedTuple):
    """A window that was labelled.

    Args:
        label: as a server would publish it.
        embedding: (d,) float32.
    """

    label: Label
    embedding: Float32Array


class EdgeLabeller:
    """Labels the batches of devices as they come; another model takes over between two batches.

    Args:
        model: labels.
        options: how.
        clock: time of arrival.
    """

    def __init__(self, model: Model, options: LabelOptions | None = None, clock: Clock | None = None) -> None:
        self._options, self._clock = options or LabelOptions(), clock or SystemClock()
        self._log = SparseLog(log)
        self._lock = threading.Lock()
        self._offered: Model | None = None
        self.failed = 0
        """Windows that have no label because the encoder could not use them."""
        self.unfit = 0
        """Batches whose channels, units or rate do not fit the model."""
        self._begin(model)

    @property
    def model(self) -> Model:
        """Labels now."""
        return self._model

    def offer(self, model: Model) -> None:
        """Let another model label from the next batch on; from any thread."""
        with self._lock:
            self._offered = model

    def take(self, batch: SampleBatch) -> list[Found]:
        """The windows that a batch completes.

        Args:
            batch: the next one of its device, in order.

        Raises:
            EncoderUnavailableError: if the encoder does not work.
        """
        self._take_over()
        now_us = self._clock.unix_us()
        sessions = self._pipeline.sessions
        ready = sessions.advance(now_us)
        try:
            ready += sessions.push(batch, now_us) or []
        except StreamMismatchError as error:
            self.unfit += 1
            self._log.error(batch.device, "unfit", "%s does not fit the model: %s", batch.device, error)
        labelled, embeddings = self._pipeline.label_and_embed(ready)
        self._note(self._pipeline.failures)
        return [Found(one.label, row) for one, row in zip(labelled, embeddings, strict=True)]

    def _begin(self, model: Model) -> None:
        self._model = model if self._options.adaptation is None else with_known_centroids(model)
        self._pipeline = Pipeline(self._model, self._options, clock=self._clock)

    def _take_over(self) -> None:
        with self._lock:
            model, self._offered = self._offered, None
        if model is None:
            return
        same_windows = stream_spec(model) == stream_spec(self._model)
        log.info("model %s takes over from %s", model.version, self._model.version)
        if same_windows:
            self._model = model if self._options.adaptation is None else with_known_centroids(model)
            self._pipeline.use(self._model)
        else:  # windows of another shape begin anew
            self._begin(model)

    def _note(self, failures: Sequence[Failure]) -> None:
        for failure in failures:
            self.failed += 1
            device = failure.ready.device
            self._log.warning(
                device, failure.reason, "no label for a window of %s: %s", device, failure.message
            )
        self._pipeline.failures = []
