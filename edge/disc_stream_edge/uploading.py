"""What a device that labels by itself publishes, and what it keeps to itself.

A label says the same as the one before it for as long as somebody does the same. So a label is published
when the activity changes and then once a minute, which tells a listener the label of every window: that of
the last message. The bytes that this saves, and the labels that it costs, are counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec
import numpy as np

from disc_stream.errors import ConfigError
from disc_stream.types import UNKNOWN, Label, SampleBatch
from disc_stream.wire.codecs import CONTENT_TYPES, Encoding, encode_batch
from disc_stream.wire.embedding import CONTENT_TYPE, Embeddings, encode_embeddings
from disc_stream.wire.label import encode_label
from disc_stream.wire.topics import Kind
from disc_stream_edge.labelling import EdgeLabeller, Found
from disc_stream_edge.outbox import Entry

_TOGETHER = 16  # embeddings in one message
_KEPT_BATCHES = 4_096  # a window has less; a bound for whatever comes


class Upload(StrEnum):
    """What is published besides labels."""

    LABELS = "labels"
    EMBEDDINGS = "embeddings"
    UNCERTAIN = "uncertain"


@dataclass(frozen=True, slots=True)
class UploadRule:
    """What is published, and when.

    Args:
        what: besides labels.
        every: every label, instead of changes.
        heartbeat_s: longest time without a label, by the device's clock.
        settle: windows for which a new activity must last before it is told; 1 tells it at once.
        soft: whether labels carry their soft labels; without, they are shorter.
        confidence: with ``Upload.UNCERTAIN``: windows less certain than this are sent, besides unknown ones.

    Raises:
        ConfigError: if a number is out of range.
    """

    what: Upload = Upload.LABELS
    every: bool = False
    heartbeat_s: float = 60.0
    settle: int = 1
    soft: bool = True
    confidence: float = 0.5

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.settle < 1 or self.heartbeat_s <= 0 or not 0 <= self.confidence <= 1:
            raise ConfigError(
                "settle must be at least 1, heartbeat_s above 0 and confidence from 0 to 1, got "
                f"{self.settle}, {self.heartbeat_s} and {self.confidence}"
            )


@dataclass(slots=True)
class UploadTally:
    """What was published, and what would have been.

    Args:
        windows: windows labelled.
        labels: labels published.
        differ: windows whose activity is not the one that a listener holds for it, the last one published.
        bytes: payload bytes published.
        raw_bytes: payload bytes of all samples, in the same encoding as those that were published.
        raw_batches: batches of samples published.
    """

    windows: int = 0
    labels: int = 0
    differ: int = 0
    bytes: int = 0
    raw_bytes: int = 0
    raw_batches: int = 0


@dataclass(slots=True)
class _DeviceState:
    """What was told of a device, and what may have to be."""

    told: tuple[int, str] | None = None
    told_us: int = 0
    pending: tuple[int, str] | None = None
    lasted: int = 0
    boot: int = -1
    recent: deque[tuple[SampleBatch, int]] = field(default_factory=deque)  # not sent; each with its end
    wanted_us: int = -1  # samples up to here are to be sent
    embeddings: list[Found] = field(default_factory=list)


class Uploader:
    """Makes the messages of devices that label by themselves; ``Publisher`` calls it with each batch.

    Args:
        labeller: labels.
        rule: what is published.
        encoding: of samples.
    """

    def __init__(
        self, labeller: EdgeLabeller, rule: UploadRule = UploadRule(), encoding: Encoding = Encoding.PACKED
    ) -> None:
        self._labeller, self._rule, self._encoding = labeller, rule, encoding
        self._devices: dict[str, _DeviceState] = {}
        self.tally = UploadTally()

    def __call__(self, batch: SampleBatch) -> Sequence[Entry]:
        """The messages that a batch leads to.

        Raises:
            PayloadError: if the batch holds what cannot be sent.
            EncoderUnavailableError: if the encoder does not work.
        """
        state = self._devices.setdefault(batch.device, _DeviceState())
        entries = self._begin_boot(batch, state)
        payload = encode_batch(batch, self._encoding, describe_channels=False)
        self.tally.raw_bytes += len(payload)
        keeps = self._rule.what is Upload.UNCERTAIN
        if keeps:
            state.recent.append((batch, batch.t0_us + round(len(batch.samples) * 1e6 / batch.fs)))
        for found in self._labeller.take(batch):
            entries += self._of_window(found, state)
        if keeps:
            entries += self._samples(state)
        self.tally.bytes += sum(len(entry.payload) for entry in entries)
        return entries

    def finish(self) -> Sequence[Entry]:
        """What is still to be sent when no more batches come."""
        entries = [entry for state in self._devices.values() for entry in self._flush_embeddings(state)]
        self.tally.bytes += sum(len(entry.payload) for entry in entries)
        return entries

    def _begin_boot(self, batch: SampleBatch, state: _DeviceState) -> list[Entry]:
        if state.boot == batch.boot:
            return []
        entries = self._flush_embeddings(state)
        state.boot, state.wanted_us, state.told = batch.boot, -1, None
        state.recent.clear()
        return entries

    def _of_window(self, found: Found, state: _DeviceState) -> list[Entry]:
        label = found.label
        entries = []
        self.tally.windows += 1
        if self._is_told(label, state):
            self.tally.labels += 1
            label = label if self._rule.soft else msgspec.structs.replace(label, soft=())
            entries.append(
                Entry(label.device, label.boot, label.window, 0, "", encode_label(label), Kind.LABEL.value)
            )
        self.tally.differ += state.told != _activity(label)
        if self._rule.what is Upload.EMBEDDINGS:
            state.embeddings.append(found)
            if len(state.embeddings) >= _TOGETHER:
                entries += self._flush_embeddings(state)
        elif self._rule.what is Upload.UNCERTAIN:
            if self._is_uncertain(label):
                state.wanted_us = max(state.wanted_us, label.t1_us)
            self._drop_before(state, label.t0_us)
        return entries

    def _is_told(self, label: Label, state: _DeviceState) -> bool:
        """Whether a label is published: the activity has changed, or nothing was told for long."""
        activity = _activity(label)
        due = label.t0_us - state.told_us >= self._rule.heartbeat_s * 1e6 or label.t0_us < state.told_us
        if activity == state.told:
            state.pending = None
        elif activity == state.pending:
            state.lasted += 1
        else:
            state.pending, state.lasted = activity, 1
        changed = state.pending is not None and (state.told is None or state.lasted >= self._rule.settle)
        if not (self._rule.every or changed or (due and activity == state.told)):
            return False
        state.told, state.told_us, state.pending = activity, label.t0_us, None
        return True

    def _is_uncertain(self, label: Label) -> bool:
        return label.best.label == UNKNOWN or (
            label.best.label >= 0 and label.best.confidence < self._rule.confidence
        )

    def _drop_before(self, state: _DeviceState, t0_us: int) -> None:
        """Samples before a window that is labelled are of no use any more, but for those that are wanted."""
        while state.recent and state.recent[0][1] <= t0_us and state.recent[0][0].t0_us >= state.wanted_us:
            state.recent.popleft()

    def _samples(self, state: _DeviceState) -> list[Entry]:
        """The batches that are wanted, in order, once each."""
        entries = []
        while state.recent and state.recent[0][0].t0_us < state.wanted_us:
            batch, _ = state.recent.popleft()
            payload = encode_batch(batch, self._encoding, describe_channels=False)
            kind, n = CONTENT_TYPES[self._encoding], len(batch.samples)
            entries.append(Entry(batch.device, batch.boot, batch.seq, n, kind, payload))
            self.tally.raw_batches += 1
        while len(state.recent) > _KEPT_BATCHES:
            state.recent.popleft()
        return entries

    def _flush_embeddings(self, state: _DeviceState) -> list[Entry]:
        """One message for each model that has made some of them."""
        entries = []
        while state.embeddings:
            first = state.embeddings[0].label
            same = [one for one in state.embeddings if one.label.model == first.model]
            state.embeddings = [one for one in state.embeddings if one.label.model != first.model]
            windows = np.array([one.label.window for one in same], dtype=np.uint32)
            values = np.stack([one.embedding for one in same])
            message = Embeddings(first.device, first.boot, first.model, windows, values)
            entries.append(
                Entry(
                    first.device, first.boot, first.window, 0, CONTENT_TYPE,
                    encode_embeddings(message), Kind.EMBEDDING.value,
                )
            )  # fmt: skip
        return entries


def _activity(label: Label) -> tuple[int, str]:
    """What a listener is told of a window: the smoothed cluster, by the model that knows it."""
    return label.smoothed.label, label.model
