"""A place in the spool, and what the parts of the labeller know there."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from disc_stream.artifacts.model import Model
from disc_stream.clock import SystemClock
from disc_stream.clustering.adaptation import AdaptationRule
from disc_stream.stream.adapting import AdaptationStage
from disc_stream.stream.encoding import Assigned
from disc_stream.stream.pipeline import filter_spec, stream_spec
from disc_stream.stream.problems import ProblemBook
from disc_stream.stream.residents import Archive
from disc_stream.stream.rules import Rules
from disc_stream.stream.sessions import PROGRESS, Residence, Sessions
from disc_stream.stream.smoothing import Smoother
from disc_stream.stream.values import Failure, ReadyInput
from disc_stream.stream.wearing import WearStage
from disc_stream.wire.topics import Topics
from disc_stream_server.intake import Intake, Watchers
from disc_stream_server.labeller.heard import Heard
from disc_stream_server.labeller.waiting import WaitingWindows
from disc_stream_server.metas import MetaBook
from disc_stream_server.observers import Observers
from disc_stream_server.rejections import Rejections
from disc_stream_server.storage.records import LaneState
from disc_stream_server.storage.rows import Row
from disc_stream_server.storage.state import StateStore

log = logging.getLogger(__name__)

LIVE = 0
"""Number of the live lane."""


class Part(Protocol):
    """Owns one kind of state, by device."""

    def capture(self) -> dict[str, bytes]:
        """What has changed since the last call; an empty state stands for none."""
        ...

    def committed(self, taken: Mapping[str, bytes], /) -> None:
        """What ``capture`` gave is on disk."""
        ...

    def forget(self, device: str, /) -> None:
        """Drop a device."""
        ...


@dataclass(frozen=True, slots=True)
class LaneSettings:
    """What all lanes have in common.

    Args:
        topics: grammar of the topics.
        rules: what shapes windows.
        stay: probability of staying in an activity, for smoothing.
        max_devices: devices in memory.
        max_payload_bytes: larger payloads are refused undecoded.
        keep_days: days without a message after which what is known of a device is dropped.
        max_waiting_bytes: windows that may wait for the encoder.
        adaptation: how far and how fast centroids follow each device; None if they do not.
        adapt_everywhere: also those of models that do not follow devices by default.
    """

    topics: Topics
    rules: Rules
    stay: float = 0.8
    max_devices: int = 20_000
    max_payload_bytes: int = 262_144
    keep_days: float = math.inf
    max_waiting_bytes: int = 16 * 2**20
    adaptation: AdaptationRule | None = None
    adapt_everywhere: bool = True


class Followed(NamedTuple):
    """Encoded windows as they are after what came before them.

    Args:
        assigned: n windows, under the centroids of their devices if these are followed.
        smoothed: (n, M), their smoothed soft assignments to the public clusters.
        not_worn: n, whether the device is not worn.
    """

    assigned: Assigned
    smoothed: npt.NDArray[np.float64]
    not_worn: list[bool]


class LaneStream:
    """From rows to windows that are ready, and their smoothing, from a saved place on.

    Args:
        number: of the lane.
        model: what streams are brought to.
        settings: of all lanes.
        store: where the lane's state is.
        watchers: are told of what comes.
        problems: what a person must know is told here.
    """

    def __init__(
        self,
        number: int,
        model: Model,
        settings: LaneSettings,
        store: StateStore,
        watchers: Watchers,
        problems: ProblemBook,
    ) -> None:
        self.number = number
        self.problems = problems
        self._gone: set[str] = set()  # dropped, and the disk does not know yet
        self._newly_gone: set[str] = set()
        self._newly_reset: set[str] = set()  # while centroids do not follow: what is on disk goes
        archive = partial(_archive, store, number, self._gone)
        self._heard = Heard(settings.topics, settings.keep_days)
        self._heard.restore(store.states(number, "heard"), store.devices())
        residence = Residence(settings.max_devices, archive("session"), archive("joining"))
        self.sessions = Sessions(
            stream_spec(model), rules=settings.rules, residence=residence, problems=problems
        )
        self.sessions.resume(store.state(number, "session", PROGRESS))
        self.metas = MetaBook(settings.max_devices, archive("meta"))
        self.metas.held.restore(store.states(number, "held"))
        self.intake = Intake(settings.topics, self.sessions, self.metas, watchers, settings.max_payload_bytes)
        self.smoother = Smoother(
            filter_spec(model, settings.stay), max_devices=settings.max_devices, archive=archive("smoothing")
        )
        self.wear = WearStage(stream_spec(model))
        self.wear.restore(store.states(number, "wear"))
        manifest = model.manifest
        shape = (manifest.window.input_samples, len(manifest.channels))
        self.waiting = WaitingWindows(stream_spec(model).key, shape, settings.max_waiting_bytes)
        """Windows that wait for the encoder."""
        self._misfits = self.waiting.restore(store.states(number, "waiting"))
        self.parts: dict[str, Part] = {
            "session": self.sessions,
            "joining": self.sessions.joinery,
            "meta": self.metas,
            "held": self.metas.held,
            "smoothing": self.smoother,
            "wear": self.wear,
            "heard": self._heard,
            "waiting": self.waiting,
        }
        self._adaptation: AdaptationStage | None = None
        if settings.adaptation is not None:
            self._adaptation = AdaptationStage(
                model,
                settings.adaptation,
                everywhere=settings.adapt_everywhere,
                max_devices=settings.max_devices,
                archive=archive("adaptation"),
            )
            self.parts["adaptation"] = self._adaptation
        self._stay = settings.stay
        self.position = 0
        """Of the last row that was taken."""

    def use(self, model: Model) -> None:
        """Go on under another model that reads the same windows."""
        self.smoother.use(filter_spec(model, self._stay))
        if self._adaptation is not None:
            self._adaptation.use(model)

    def follow(self, assigned: Assigned) -> Followed:
        """What is said of encoded windows by what came before them; once for each window."""
        not_worn = self.wear.not_worn(assigned.ready, assigned.samples)
        if self._adaptation is not None:
            assigned = self._adaptation.adapt(assigned, not_worn)
        return Followed(assigned, self.smoother.smooth(assigned.ready, assigned.q), not_worn)

    def reset_adaptation(self, device: str) -> None:
        """Let the centroids of a device be the model's again, from the next window on."""
        if self._adaptation is not None:
            self._adaptation.reset(device)
        else:
            self._newly_reset.add(device)

    def continue_counts(self, before: LaneStream) -> None:
        """Go on counting where another lane has ended."""
        for mine, theirs in (
            (self.intake.counts, before.intake.counts),
            (self.sessions.counts, before.sessions.counts),
        ):
            for field in fields(mine):  # in place: the parts of a session share them
                setattr(mine, field.name, getattr(theirs, field.name))

    def portion(self, rows: Sequence[Row]) -> Sequence[Row]:
        """How many of these rows may be taken at once: devices are dropped where a day begins.

        All windows of the rows before are labelled by then (``begins_day``): smoothing is a stage of its own.
        """
        return self._heard.of_one_day(rows)

    def begins_day(self, row: Row) -> bool:
        """Whether devices may be dropped when this row is taken; windows from before are labelled first."""
        return self._heard.begins_day(row)

    def take_misfits(self) -> list[Failure]:
        """Windows that waited when another model, which they were cut for, was replaced by this one."""
        misfits, self._misfits = self._misfits, []
        words = "the model was replaced by one with other windows while this one waited for the encoder"
        return [Failure(one, "model-changed", words) for one in misfits]

    def take(self, rows: Sequence[Row]) -> list[ReadyInput]:
        """The windows that rows complete; see ``portion``."""
        for device in self._heard.gone_by(rows[0]):
            self._drop(device)
        ready = self.intake.take(rows)
        self._heard.note(rows)
        self.position = rows[-1].position
        return ready

    def _drop(self, device: str) -> None:
        """Drop what is known of a device that is gone, in memory now and on disk with the next checkpoint."""
        self.forget(device)
        self._gone.add(device)
        self._newly_gone.add(device)
        log.info("nothing was heard of device %s for long: its state is dropped", device)

    def capture(self) -> LaneState:
        """What has changed since the last call."""
        changed = {name: part.capture() for name, part in self.parts.items()}
        for device in self._newly_gone:
            for states in changed.values():
                states.setdefault(device, b"")
        self._newly_gone.clear()
        if self._newly_reset:
            changed["adaptation"] = dict.fromkeys(self._newly_reset, b"")
            self._newly_reset.clear()
        return LaneState(
            self.number, self.position, {name: states for name, states in changed.items() if states}
        )

    def committed(self, state: LaneState) -> None:
        """What ``capture`` gave is on disk."""
        for name, states in state.parts.items():
            if name in self.parts:
                self.parts[name].committed(states)
        if self._gone:
            self._gone.intersection_update(self._newly_gone)

    def forget(self, device: str) -> None:
        """Drop everything known of a device."""
        for part in self.parts.values():
            part.forget(device)


def quiet(watchers: Watchers) -> Watchers:
    """For rows that were taken before: nobody is told again."""
    return replace(watchers, rejections=Rejections(SystemClock(), silent=True), observers=Observers(()))


def _archive(store: StateStore, lane: int, gone: Collection[str], part: str) -> Archive:
    def find(device: str) -> bytes | None:
        return None if device in gone else store.state(lane, part, device)

    return find
