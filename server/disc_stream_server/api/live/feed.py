"""What a viewer of the live feed asked for, and the events that are sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from disc_stream.types import Label, Problem
from disc_stream_server.dashboard.trace import Trace

MAX_NAMED = 500
"""Devices, tags or clusters in one filter."""
MAX_TRACED = 50
"""Devices whose signal one viewer gets."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which labels are wanted; nothing given stands for all.

    Args:
        devices: their ids.
        tags: devices that have one of these.
        clusters: public ids, after smoothing.
        traces: devices whose signal is wanted, too.
    """

    devices: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    clusters: frozenset[int] = frozenset()
    traces: frozenset[str] = frozenset()

    def wants_device(self, device: str, tagged: frozenset[str]) -> bool:
        """Whether anything of a device is wanted; ``tagged`` are those that have one of the tags."""
        if self.devices and device not in self.devices:
            return False
        return not self.tags or device in tagged

    def wants(self, label: Label, tagged: frozenset[str]) -> bool:
        """Whether a label is."""
        if self.clusters and label.smoothed.label not in self.clusters:
            return False
        return self.wants_device(label.device, tagged)


@dataclass(frozen=True, slots=True)
class Event:
    """One event, encoded once for all who get it.

    Args:
        name: its kind.
        data: JSON on one line.
        mark: where to resume from behind it; "" if it moves nothing.
        labels: how many labels are in it.
    """

    name: str
    data: bytes
    mark: str = ""
    labels: int = 0

    def as_sse(self) -> bytes:
        """As a server-sent event (WHATWG HTML, section 9.2)."""
        mark = b"id: %s\n" % self.mark.encode() if self.mark else b""
        return b"%sevent: %s\ndata: %s\n\n" % (mark, self.name.encode(), self.data)

    def as_message(self) -> str:
        """As a WebSocket message."""
        return b'{"event":"%s","id":"%s","data":%s}'.decode() % (self.name, self.mark, self.data.decode())


class LiveSoft(msgspec.Struct):
    """A cluster, and the probability of it."""

    cluster: int
    name: str
    confidence: float


class LiveLabel(msgspec.Struct):
    """A label in the feed.

    ``t0_us`` and ``t1_us`` are by the device's clock, the other times Unix microseconds, null where the
    device's clock is not known; ``cluster`` is after smoothing, ``best`` before.
    """

    device: str
    boot: int
    window: int
    t0_us: int
    t1_us: int
    begin_us: int | None
    end_us: int | None
    cluster: int
    name: str
    confidence: float
    best: LiveSoft
    soft: list[LiveSoft]
    distance: float | None
    novelty: float | None
    model: str
    published_us: int
    deferred: bool
    muted: bool


_ENCODER = msgspec.json.Encoder()


def encode_label(label: Label) -> bytes:
    """One label as JSON."""
    smoothed, best, begin_us = label.smoothed, label.best, label.t0_unix_us
    return _ENCODER.encode(
        LiveLabel(
            label.device, label.boot, label.window, label.t0_us, label.t1_us,
            begin_us, None if begin_us is None else begin_us + label.t1_us - label.t0_us,
            smoothed.label, smoothed.name, round(smoothed.confidence, 4),
            LiveSoft(best.label, best.name, round(best.confidence, 4)),
            [LiveSoft(one.label, one.name, round(one.confidence, 4)) for one in label.soft],
            round(label.distance, 6), None if label.novelty is None else round(label.novelty, 4),
            label.model, label.published_us, label.deferred, label.muted,
        )
    )  # fmt: skip


def labels_event(parts: list[bytes], mark: str) -> Event:
    """Labels that are encoded already."""
    return Event("labels", b'{"labels":[%s]}' % b",".join(parts), mark, len(parts))


def problem_event(device: str, problem: Problem | None) -> Event:
    """Why a device has no labels; null once it is over."""
    return Event("problem", _ENCODER.encode({"device": device, "problem": problem}))


def plain_event(name: str, value: dict[str, Any]) -> Event:
    """Any other event; what JSON does not know becomes text."""
    return Event(name, msgspec.json.encode(value, enc_hook=str))


def trace_facts(device: str, trace: Trace, since: int) -> dict[str, Any]:
    """The points of a trace from a number on."""
    return {
        "device": device,
        "names": list(trace.names),
        "unit": trace.unit,
        "rate": trace.rate,
        "number": trace.count,
        "points": trace.points(since),
    }
