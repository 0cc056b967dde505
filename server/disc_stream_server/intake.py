"""From the spool's rows to windows that are ready; poison goes to the dead letters."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from disc_stream.errors import PayloadError, StreamMismatchError, TopicError
from disc_stream.types import SampleBatch
from disc_stream.wire.codecs import decode_batch
from disc_stream.wire.topics import Kind, Topics
from disc_stream_server.metas import MetaBook
from disc_stream_server.observers import Observers
from disc_stream_server.rejections import Rejections
from disc_stream_server.sessions import Sessions
from disc_stream_server.sessions.device import Waiting
from disc_stream_server.shards import ReadyInput
from disc_stream_server.stages import Stages
from disc_stream_server.storage.spool import Row
from disc_stream_server.storage.state import DeadLetter

log = logging.getLogger(__name__)

_MOST_KEPT = 65_536  # bytes of a dead letter's payload


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


class Intake:
    """Takes rows in order; the same rows give the same windows, whenever and however often they are taken.

    Args:
        topics: grammar of the topics.
        sessions: keep the devices' state.
        metas: the devices' descriptions.
        rejections: counts what is refused.
        observers: are told of batches.
        stages: decoding and sessions are timed here.
        max_payload_bytes: larger payloads are refused undecoded.
    """

    def __init__(
        self,
        topics: Topics,
        sessions: Sessions,
        metas: MetaBook,
        *,
        rejections: Rejections,
        observers: Observers,
        stages: Stages,
        max_payload_bytes: int,
    ) -> None:
        self._topics, self._sessions, self._metas = topics, sessions, metas
        self._rejections, self._observers, self._stages = rejections, observers, stages
        self._max_payload_bytes = max_payload_bytes
        self._devices: dict[str, tuple[str, Kind]] = {}  # by topic
        self.counts = IntakeCounts()
        self.dead_letters: list[DeadLetter] = []
        """What was refused and is not on disk yet."""

    def take(self, rows: Sequence[Row]) -> list[ReadyInput]:
        """Windows that these rows complete; those of a device in order."""
        self._stages.begin()
        arrivals = [arrival for row in rows for arrival in self._decode(row)]
        self.counts.messages += len(rows)
        self.counts.bytes += sum(len(row.payload) for row in rows)
        self._stages.end("decode")
        ready: list[ReadyInput] = []
        for row, batch in arrivals:
            self._push(row, batch, ready)
        if rows:
            self.tick(rows[-1].received_us, ready)
        self._stages.end("sessions")
        return ready

    def tick(self, now_us: int, ready: list[ReadyInput]) -> None:
        """Let time pass: give up on what has been waited for long enough."""
        ready += self._sessions.expire(now_us)
        for device, row in self._metas.expired(now_us):
            self._refuse(row, device, "no-meta", "the payload describes no channels and no meta came")

    def again(self, rows: Iterable[Row]) -> Iterator[Waiting]:
        """Decode rows that were taken before, for a device that is restored."""
        for row in rows:
            for again, batch in self._decode(row):
                yield Waiting(batch, again.position, again.received_us)

    def _decode(self, row: Row) -> list[tuple[Row, SampleBatch]]:
        """The batches to take now: that of the row, or those that waited for this description."""
        device = ""
        try:
            device, kind = self._parse(row.topic)
            if kind is Kind.RAW:
                return self._decode_samples(device, row)
            self.counts.metas += 1
            if row.payload:
                return [one for held in self._metas.learn(device, row.payload) for one in self._decode(held)]
            self._metas.forget(device)
        except TopicError as error:
            self._refuse(row, device, "topic", error.message)
        except PayloadError as error:
            self._refuse(row, device, error.reason, str(error))
        except Exception as error:
            log.exception("unexpected error with a message of %s; it is passed over", device)
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
            if error.reason == "no-meta" and self._metas.hold(device, row):
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
        except Exception as error:
            log.exception("unexpected error with a batch of %s; it is passed over", batch.device)
            self._refuse(row, batch.device, "internal", repr(error))
        else:
            if inputs is not None:
                ready += inputs
                self.counts.batches += 1
                self._observers.on_batch(batch)

    def _refuse(self, row: Row, device: str, reason: str, message: str) -> None:
        self._rejections.add(device or repr(row.topic[:80]), reason, message)
        self.dead_letters.append(
            DeadLetter(
                position=row.position, received_us=row.received_us, topic=row.topic[:1024], device=device,
                reason=reason, message=message, content_type=row.content_type[:200],
                payload=row.payload[:_MOST_KEPT], size=len(row.payload),
            )
        )  # fmt: skip
