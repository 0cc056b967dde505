"""A place in the spool, and what the parts of the labeller know there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from disc_stream.artifacts.model import Model
from disc_stream.stream.pipeline import filter_spec, stream_spec
from disc_stream.stream.problems import ProblemBook
from disc_stream.stream.residents import Archive
from disc_stream.stream.rules import Rules
from disc_stream.stream.sessions import PROGRESS, Residence, Sessions
from disc_stream.stream.smoothing import Smoother
from disc_stream.stream.values import ReadyInput
from disc_stream.wire.topics import Topics
from disc_stream_server.intake import Intake, Watchers
from disc_stream_server.metas import MetaBook
from disc_stream_server.storage.records import LaneState
from disc_stream_server.storage.rows import Row
from disc_stream_server.storage.state import StateStore

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
    """

    topics: Topics
    rules: Rules
    stay: float = 0.8
    max_devices: int = 20_000
    max_payload_bytes: int = 262_144


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
        archive = partial(_archive, store, number)
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
        self.parts: dict[str, Part] = {
            "session": self.sessions,
            "joining": self.sessions.joinery,
            "meta": self.metas,
            "held": self.metas.held,
            "smoothing": self.smoother,
        }
        self.position = 0
        """Of the last row that was taken."""

    def take(self, rows: Sequence[Row]) -> list[ReadyInput]:
        """The windows that rows complete."""
        ready = self.intake.take(rows)
        self.position = rows[-1].position
        return ready

    def capture(self) -> LaneState:
        """What has changed since the last call."""
        changed = {name: part.capture() for name, part in self.parts.items()}
        return LaneState(
            self.number, self.position, {name: states for name, states in changed.items() if states}
        )

    def committed(self, state: LaneState) -> None:
        """What ``capture`` gave is on disk."""
        for name, states in state.parts.items():
            self.parts[name].committed(states)

    def forget(self, device: str) -> None:
        """Drop everything known of a device."""
        for part in self.parts.values():
            part.forget(device)


def quiet(watchers: Watchers) -> Watchers:
    """For rows that were taken before: nobody is told again."""
    from disc_stream.clock import SystemClock
    from disc_stream_server.observers import Observers
    from disc_stream_server.rejections import Rejections

    return replace(watchers, rejections=Rejections(SystemClock(), silent=True), observers=Observers(()))


def _archive(store: StateStore, lane: int, part: str) -> Archive:
    find: Callable[[str], bytes | None] = partial(store.state, lane, part)
    return find
