"""A whole recording at once: every window is labelled by what came before it and after it.

The live stream cannot do that. Here the centroids follow the device by all of its windows, and smoothing
goes both ways; what is unknown, and when the device was not worn, is as in the stream.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from disc_stream.artifacts.model import Model
from disc_stream.clock import Clock, SystemClock
from disc_stream.errors import ConfigError
from disc_stream.stream.adapting import adapt_recording, adapter_of
from disc_stream.stream.encoding import Assigned
from disc_stream.stream.labelling import LabelMaker, Occasion
from disc_stream.stream.pipeline import LabelOptions, encoder_stage, filter_spec, stream_spec
from disc_stream.stream.smoothing import Smoother
from disc_stream.stream.values import Failure, ReadyInput
from disc_stream.stream.wearing import WearStage
from disc_stream.types import Label

_NO_SAMPLES = np.empty((0, 0), dtype=np.float32)


class WholeRecording:
    """Takes the windows of one recording, and labels them when there are no more.

    What it keeps of a window are its embedding, distances and times, not its samples.

    Args:
        model: labels it. One whose centroids are not known labels with those of the fleet.
        options: how windows are labelled.
        clock: for the labels' ``published_us``.
    """

    def __init__(self, model: Model, options: LabelOptions, clock: Clock | None = None) -> None:
        self._encoder = encoder_stage(model, options.max_batch)
        self._wear = WearStage(stream_spec(model))
        self._smoother = Smoother(filter_spec(model, options.stay))
        self._label_maker = LabelMaker(model, options.top_k)
        self._adapter = None
        if options.adaptation is not None:
            try:
                self._adapter = adapter_of(model, options.adaptation)
            except ConfigError:  # it is the caller's to say so, where somebody has asked for it
                self._adapter = None
        self._clock = clock or SystemClock()
        self._parts: list[Assigned] = []
        self._not_worn: list[bool] = []
        self.failures: list[Failure] = []
        """Windows that could not be encoded."""

    def take(self, ready: Sequence[ReadyInput]) -> None:
        """Encode the next windows of the recording, in order.

        Raises:
            EncoderUnavailableError: if the encoder does not work.
        """
        assigned = self._encoder.encode(ready)
        self.failures += assigned.failures
        if not assigned.ready:
            return
        self._not_worn += self._wear.not_worn(assigned.ready, assigned.samples)
        bare = [replace(one, samples=_NO_SAMPLES) for one in assigned.ready]
        self._parts.append(assigned._replace(ready=bare, samples=_NO_SAMPLES))

    def labels(self) -> list[Label]:
        """The labels of all windows that were taken, in order."""
        if not self._parts:
            return []
        parts = self._parts
        assigned = parts[0]._replace(
            ready=[one for part in parts for one in part.ready],
            q=np.concatenate([part.q for part in parts]),
            distance=np.concatenate([part.distance for part in parts]),
            embedding=np.concatenate([part.embedding for part in parts]),
        )
        if self._adapter is not None:
            assigned = adapt_recording(self._adapter, assigned, self._not_worn)
        smoothed = self._smoother.smooth_recording(assigned.ready, assigned.q)
        occasion = Occasion(self._clock.unix_us())
        labelled = self._label_maker.label(assigned, smoothed, occasion, self._not_worn)
        return [one.label for one in labelled]
