"""A labeller without a broker: a real spool, a real state, and an outbox that keeps what it is given."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.model import Encoder, Model
from disc_stream.artifacts.runtime import OnnxEncoder
from disc_stream.clock import Clock, ManualClock
from disc_stream.clustering.adaptation import AdaptationRule
from disc_stream.stream.pipeline import LabelOptions
from disc_stream.stream.rules import Rules
from disc_stream.types import Label, Problem, SampleBatch
from disc_stream.wire.codecs import Encoding, encode_batch
from disc_stream.wire.topics import Topics
from disc_stream_server.intake import Watchers
from disc_stream_server.labeller.labeller import Labeller
from disc_stream_server.labeller.lane import LaneSettings
from disc_stream_server.labeller.overload import OverloadRules
from disc_stream_server.labeller.settings import LabellerSettings, LabelRoom, Surroundings
from disc_stream_server.observers import Observer, Observers
from disc_stream_server.rejections import Rejections
from disc_stream_server.stages import Stages
from disc_stream_server.storage.rows import TIME_TOPIC
from disc_stream_server.storage.spool import Arrival, SpoolReader, SpoolWriter
from disc_stream_server.storage.state import StateStore

RULES = Rules(reorder=8, reorder_s=5.0)
NEVER = OverloadRules(2**62, 2**62)
ROOM = LabelRoom(unconfirmed=20_000, unwritten=100_000, letter_bytes=16 * 2**20)
START_US = 1_700_000_000_000_000


@dataclass
class MemoryOutbox:
    """The outbox' twin: confirms at once, and keeps everything in order."""

    sent: list[Label] = field(default_factory=list)
    problems: dict[str, Problem | None] = field(default_factory=dict)
    barrier: int = 0
    unconfirmed: int = 0
    confirms: bool = True

    def labels(self, labels: Sequence[Label]) -> None:
        self.sent += labels

    def problem(self, device: str, problem: Problem | None) -> None:
        self.problems[device] = problem

    def confirmed(self, barrier: int) -> bool:
        return self.confirms and barrier == 0


def model_of(bundle: Path, encoder: Encoder | None = None) -> Model:
    """The model of a bundle, on one thread."""
    opened = Bundle.open(bundle)
    encoder = encoder or OnnxEncoder(opened, "cpu", threads=1)
    return Model.of(opened, encoder)


def arrival_of(batch: SampleBatch, received_us: int) -> Arrival:
    """A batch as it is received."""
    payload = encode_batch(batch, Encoding.CBOR, describe_channels=True)
    return Arrival(received_us, f"ds/v1/{batch.device}/raw", "", payload)


def time_row(received_us: int) -> Arrival:
    """A row that says that time has passed."""
    return Arrival(received_us, TIME_TOPIC, "", b"")


def write_spool(folder: Path, arrivals: Iterable[Arrival]) -> None:
    """Put rows behind those that are in the spool."""
    writer = SpoolWriter(folder / "spool")
    writer.append(list(arrivals))
    writer.close()


class Bench:
    """A labeller on a state folder, to be run and crashed.

    Args:
        folder: the state folder, with a spool.
        model: labels.
        rows: rows read at once.
        rules: what shapes windows.
        overload: when windows are deferred.
        clock: time.
        keep_days: days without a message after which a device is dropped.
        adaptation: how centroids follow each device; None if they do not.
        observers: are told of what comes.
    """

    def __init__(
        self,
        folder: Path,
        model: Model,
        *,
        rows: int = 512,
        rules: Rules = RULES,
        overload: OverloadRules = NEVER,
        clock: Clock | None = None,
        keep_days: float = math.inf,
        adaptation: AdaptationRule | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.outbox = MemoryOutbox()
        self.store, self.reader = StateStore(folder), SpoolReader(folder / "spool")
        self.clock = clock or ManualClock(START_US)
        self.rejections = Rejections(self.clock)
        settings = LabellerSettings(
            LaneSettings(Topics(), rules, keep_days=keep_days, adaptation=adaptation),
            LabelOptions(top_k=3),
            overload,
            checkpoint_s=1e9,
            room=ROOM,
            rows=rows,
        )
        watchers = Watchers(self.rejections, Observers(observers), Stages())
        around = Surroundings(self.store, self.reader, self.outbox, watchers, self.clock)  # type: ignore[arg-type]
        self.labeller = Labeller(model, settings, around)

    def run(self, turns: int | None = None) -> None:
        """Take turns until there is nothing to do, or so many."""
        done = 0
        while turns is None or done < turns:
            busy = self.labeller.turn(self.reader.head)
            self.labeller.problems.publish()
            done += 1
            if not busy and self.labeller.checkpoints.written >= self.labeller.switch_at:
                return

    def checkpoint(self) -> None:
        """Write a checkpoint now."""
        assert self.labeller.step(now=True)

    def close(self) -> None:
        """Let the files go, as a crash does: nothing is written."""
        self.reader.close()
        self.store.close()


def facts(labels: Iterable[Label]) -> list[tuple[object, ...]]:
    """What labels say that does not depend on when they were made."""
    return [
        (
            one.device, one.boot, one.window, one.t0_us, one.t0_unix_us, one.bridged, one.best.label,
            round(one.best.confidence, 4), one.smoothed.label, round(one.smoothed.confidence, 4),
        )
        for one in labels
    ]  # fmt: skip
