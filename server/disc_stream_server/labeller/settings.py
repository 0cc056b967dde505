"""What the labeller is given, and what it counts."""

from __future__ import annotations

from dataclasses import dataclass

from disc_stream.clock import Clock
from disc_stream.stream.pipeline import LabelOptions
from disc_stream_server.intake import Watchers
from disc_stream_server.labeller.lane import LaneSettings
from disc_stream_server.labeller.overload import OverloadRules
from disc_stream_server.outbox import Outbox
from disc_stream_server.storage.reader import SpoolReader
from disc_stream_server.storage.state import StateStore

ROWS = 512
"""Rows read at once."""


@dataclass(frozen=True, slots=True)
class LabelRoom:
    """What may wait to leave the labeller; beyond it no rows are read.

    Args:
        unconfirmed: labels on their way to the broker.
        unwritten: labels that wait for a checkpoint.
        letter_bytes: of dead letters that wait for a checkpoint.
    """

    unconfirmed: int
    unwritten: int
    letter_bytes: int


@dataclass(frozen=True, slots=True)
class LabellerSettings:
    """How the labeller works.

    Args:
        lanes: what all lanes have in common.
        options: how windows are labelled.
        overload: when windows are deferred.
        checkpoint_s: between two checkpoints.
        room: what may wait to leave it.
        rows: rows read at once; the labels do not depend on it.
    """

    lanes: LaneSettings
    options: LabelOptions
    overload: OverloadRules
    checkpoint_s: float
    room: LabelRoom
    rows: int = ROWS


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the labeller works with.

    Args:
        store: its state.
        reader: the spool.
        outbox: publishes.
        watchers: are told of what comes.
        clock: time.
    """

    store: StateStore
    reader: SpoolReader
    outbox: Outbox
    watchers: Watchers
    clock: Clock


@dataclass(slots=True)
class LabellerCounts:
    """Totals since the start.

    Args:
        labels: labels published.
        windows: windows labelled or deferred.
        failed: windows that the encoder could not use.
    """

    labels: int = 0
    windows: int = 0
    failed: int = 0
