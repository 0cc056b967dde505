"""The stages in a row: batches in, labels out, without any transport."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from disc_stream.artifacts.model import Model
from disc_stream.clock import Clock, SystemClock
from disc_stream.clustering.adaptation import AdaptationRule
from disc_stream.stream.adapting import AdaptationStage
from disc_stream.stream.encoding import EncoderStage
from disc_stream.stream.evidence import exponent_of
from disc_stream.stream.labelling import LabelMaker, Occasion
from disc_stream.stream.sessions import Sessions, StreamSpec
from disc_stream.stream.smoothing import FilterSpec, Smoother
from disc_stream.stream.values import Failure, Labelled, ReadyInput
from disc_stream.stream.wearing import WearStage
from disc_stream.types import Float32Array, Label, SampleBatch

_NO_EMBEDDINGS = np.empty((0, 0), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class LabelOptions:
    """How windows are labelled.

    Args:
        top_k: soft labels in each label; at most K are given.
        stay: probability of staying in an activity, for smoothing.
        max_batch: windows encoded at once.
        adaptation: how far and how fast centroids follow each device; None if they do not.
        whole: whether a recording is labelled by what came before and after each window
            (``WholeRecording``); a stream knows only what came before.
    """

    top_k: int = 3
    stay: float = 0.8
    max_batch: int = 256
    adaptation: AdaptationRule | None = None
    whole: bool = False


def stream_spec(model: Model) -> StreamSpec:
    """What streams are brought to for a model."""
    manifest = model.manifest
    channels = tuple(channel.channel() for channel in manifest.channels)
    return StreamSpec(channels, manifest.fs, manifest.window.spec())


def filter_spec(model: Model, stay: float) -> FilterSpec:
    """The smoothing that fits a model."""
    return FilterSpec(model.clusters, stay, exponent_of(model.manifest), model.manifest.version)


def encoder_stage(model: Model, max_batch: int) -> EncoderStage:
    """The encoder of a model."""
    manifest = model.manifest
    return EncoderStage(model.encoder, (manifest.window.input_samples, len(manifest.channels)), max_batch)


class Pipeline:
    """Batches of any devices in, labels out; synchronous and without threads.

    Args:
        model: the model.
        options: how windows are labelled.
        sessions: of the devices; default: new ones that fit the model.
        clock: for the labels' ``published_us``.
    """

    def __init__(
        self,
        model: Model,
        options: LabelOptions = LabelOptions(),
        *,
        sessions: Sessions | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.sessions = Sessions(stream_spec(model)) if sessions is None else sessions
        self._options = options
        self._encoder = encoder_stage(model, options.max_batch)
        rule = options.adaptation
        self._adaptation = None if rule is None else AdaptationStage(model, rule)
        self._smoother = Smoother(filter_spec(model, options.stay))
        self._wear = WearStage(stream_spec(model))
        self._label_maker = LabelMaker(model, options.top_k)
        self._clock = clock or SystemClock()
        self._waiting: list[ReadyInput] = []
        self.failures: list[Failure] = []
        """Windows that could not be encoded."""

    @property
    def waiting(self) -> int:
        """Number of windows that wait to be encoded."""
        return len(self._waiting)

    def accept(self, batch: SampleBatch) -> bool:
        """Take the next batch of a device; False if it is a repetition or came too late.

        Raises:
            StreamMismatchError: if the batch does not fit the model.
        """
        ready = self.sessions.push(batch)
        if ready is None:
            return False
        self._waiting += ready
        return True

    def run(self) -> list[Label]:
        """Label every window that waits; those of one device come in order.

        Raises:
            EncoderUnavailableError: if the encoder does not work; the windows go on waiting.
        """
        labelled = self.label(self._waiting)
        self._waiting = []
        return [one.label for one in labelled]

    def label(self, ready: Sequence[ReadyInput]) -> list[Labelled]:
        """Label windows, those of one device in order.

        Raises:
            EncoderUnavailableError: if the encoder does not work.
        """
        return self.label_and_embed(ready)[0]

    def label_and_embed(self, ready: Sequence[ReadyInput]) -> tuple[list[Labelled], Float32Array]:
        """Label windows, those of one device in order, and give their embeddings (n, d) with the labels.

        Raises:
            EncoderUnavailableError: if the encoder does not work.
        """
        if not ready:
            return [], _NO_EMBEDDINGS
        assigned = self._encoder.encode(ready)
        self.failures += assigned.failures
        if not assigned.ready:
            return [], _NO_EMBEDDINGS
        not_worn = self._wear.not_worn(assigned.ready, assigned.samples)
        if self._adaptation is not None:
            assigned = self._adaptation.adapt(assigned, not_worn)
        smoothed = self._smoother.smooth(assigned.ready, assigned.q)
        labelled = self._label_maker.label(assigned, smoothed, Occasion(self._clock.unix_us()), not_worn)
        return labelled, assigned.embedding

    def use(self, model: Model) -> None:
        """Go on with another model that reads the same windows (``stream_spec``), or with other names.

        What is known of a device under a public id that is still there goes on under it, as in a server.
        """
        options = self._options
        self._encoder = encoder_stage(model, options.max_batch)
        self._smoother.use(filter_spec(model, options.stay))
        if self._adaptation is not None:
            self._adaptation.use(model)
        self._label_maker = LabelMaker(model, options.top_k)
