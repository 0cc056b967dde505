"""From the spool's rows to windows that are ready; poison goes to the dead letters."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from disc_stream.errors import PayloadError, StreamMismatchError, TopicError
from disc_stream.sparselog import SparseLog
from disc_stream.stream.sessions import Sessions
from disc_stream.stream.values import ReadyInput
from disc_stream.stream.watermark import Watermark
from disc_stream.types import SampleBatch
from disc_stream.wire.codecs import decode_batch
from disc_stream.wire.topics import Kind, Topics
from disc_stream_server.metas import MetaBook
from disc_stream_server.observers import Observers
from disc_stream_server.rejections import Rejections
from disc_stream_server.stages import Stages
from disc_stream_server.storage.rows import TIME_TOPIC, Row
from disc_stream_server.storage.state import DeadLetter

log = logging.getLogger(__name__)

_LETTER_BYTES = 1_024  # of a dead letter beside its payload, about
_MAX_KEPT = 65_536  # bytes of a dead letter's payload
_NO_META = "the payload describes no channels and no meta came"


@dataclass(slots=True)
class IntakeCounts:
    """What was read from the spool since the start.

    Args:
        messages: rows, repetitions and refused ones included.
        bytes: their payloads.
        metas: descriptions of devices among them.
        batches: sample batches taken.
    """

    messages: int = 0
    bytes: int = 0
    metas: int = 0
    batches: int = 0


@dataclass(frozen=True, slots=True)
class Watchers:
    """Who is told of what comes.

    Args:
        rejections: counts what is refused.
        observers: are told of batches.
        stages: decoding and sessions are timed here.
    """

    rejections: Rejections
    observers: Observers
    stages: Stages


class Intake:
    """Takes rows in order; the same rows give the same windows, in whatever chunks they are taken.

    Args:
        topics: grammar of the topics.
        sessions: keep the devices' state.
        metas: the devices' descriptions.
        watchers: are told of what comes.
        max_payload_bytes: larger payloads are refused undecoded.
    """

    def __init__(
        self,
        topics: Topics,
        sessions: Sessions,
        metas: MetaBook,
        watchers: Watchers,
        max_payload_bytes: int,
    ) -> None:
        self._topics, self._sessions, self._metas = topics, sessions, metas
        self._rejections, self._observers = watchers.rejections, watchers.observers
        self._stages = watchers.stages
        self._max_payload_bytes = max_payload_bytes
        self._log = SparseLog(log)
        self._watermark = Watermark()
        self._watermark.restore(sessions.watermark.state())
        self._devices: dict[str, tuple[str, Kind]] = {}  # by topic
        self.counts = IntakeCounts()
        self.dead_letters: list[DeadLetter] = []
        """What was refused and is not on disk yet."""
        self.dead_bytes = 0
        """Memory that it takes, about."""

    def take(self, rows: Sequence[Row]) -> list[ReadyInput]:
        """Windows that these rows complete; those of a device in order."""
        self._stages.begin()
        decoded = [(row.received_us, self._decode_row(row)) for row in rows]
        self._stages.end("decode")
        ready: list[ReadyInput] = []
        for received_us, arrivals in decoded:
            ready += self._sessions.advance(received_us)
            for row, batch in arrivals:
                self._push(row, batch, ready)
        self._stages.end("sessions")
        return ready

    def finish(self) -> list[ReadyInput]:
        """No further row comes: windows that are complete once nothing is waited for any more."""
        for device, row in self._metas.held.expired(2**63):
            self._refuse(row, device, "no-meta", _NO_META)
        return self._sessions.finish()

    def take_dead_letters(self) -> list[DeadLetter]:
        """What was refused since the last call."""
        taken, self.dead_letters, self.dead_bytes = self.dead_letters, [], 0
        return taken

    def _decode_row(self, row: Row) -> list[tuple[Row, SampleBatch]]:
        """Let time pass up to a row, then decode it."""
        now_us = self._watermark.advance(row.received_us)
        for device, held in self._metas.held.expired(now_us):
            self._refuse(held, device, "no-meta", _NO_META)
        if row.topic == TIME_TOPIC and not row.payload:
            return []
        self.counts.messages += 1
        self.counts.bytes += len(row.payload)
        return self._decode(row)

    def _decode(self, row: Row) -> list[tuple[Row, SampleBatch]]:
        """The batches to take now: that of the row, or those that waited for this description."""
        device = ""
        try:
            device, kind = self._parse(row.topic)
            if kind is Kind.RAW:
                return self._decode_samples(device, row)
            self.counts.metas += 1
            if row.payload:
                held = self._metas.learn(device, row.payload)
                if (meta := self._metas.of(device)) is not None:
                    self._observers.on_meta(device, meta)
                return [one for waited in held for one in self._decode(waited)]
            self._metas.withdraw(device)
        except TopicError as error:
            self._refuse(row, device, "topic", error.message)
        except PayloadError as error:
            self._refuse(row, device, error.reason, str(error))
        except Exception as error:  # noqa: BLE001 - it is logged, and a flood of them is not
            text = "unexpected error with a message of %s; it is skipped"
            self._log.error(device, "internal", text, device, exc_info=True)
            self._refuse(row, device, "internal", repr(error))
        return []

    def _decode_samples(self, device: str, row: Row) -> list[tuple[Row, SampleBatch]]:
        try:
            batch = decode_batch(
                row.payload,
                device=device,
                content_type=row.content_type,
                meta=self._metas.of(device),
                max_bytes=self._max_payload_bytes,
            )
        except PayloadError as error:
            if error.reason == "no-meta" and self._metas.held.hold(device, row, self._watermark.now_us):
                return []
            raise
        return [(row, batch)]

    def _parse(self, topic: str) -> tuple[str, Kind]:
        found = self._devices.get(topic)
        if found is None:
            found = self._topics.parse(topic)
            if found[1] not in (Kind.RAW, Kind.META):
                raise TopicError(f"topic {topic!r} is not for the server to read")
            if len(self._devices) > 100_000:
                self._devices.clear()
            self._devices[topic] = found
        return found

    def _push(self, row: Row, batch: SampleBatch, ready: list[ReadyInput]) -> None:
        try:
            inputs = self._sessions.push(batch, row.received_us, row.position)
        except StreamMismatchError as error:
            self._refuse(row, batch.device, error.reason, str(error))
        except Exception as error:  # noqa: BLE001 - it is logged, and a flood of them is not
            text = "unexpected error with a batch of %s; it is skipped"
            self._log.error(batch.device, "internal", text, batch.device, exc_info=True)
            self._refuse(row, batch.device, "internal", repr(error))
        else:
            if inputs is not None:
                ready += inputs
                self.counts.batches += 1
                self._observers.on_batch(batch)

    def _refuse(self, row: Row, device: str, reason: str, message: str) -> None:
        self._rejections.add(device or repr(row.topic[:80]), reason, message)
        if device:
            self._sessions.problems.report(device, reason, message, row.received_us)
        self.dead_letters.append(
            DeadLetter(
                position=row.position, received_us=row.received_us, topic=row.topic[:1024], device=device,
                reason=reason, message=message, content_type=row.content_type[:200],
                payload=row.payload[:_MAX_KEPT], size=len(row.payload),
            )
        )  # fmt: skip
        self.dead_bytes += size_of(self.dead_letters[-1])


def size_of(letter: DeadLetter) -> int:
    """Memory that a dead letter takes, about."""
    return len(letter.payload) + _LETTER_BYTES
