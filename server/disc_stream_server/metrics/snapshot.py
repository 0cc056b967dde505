"""What is known of a running server at one time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from disc_stream.wire.status import ServerStatus
from disc_stream_server.stages import Distribution


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What is known of one device.

    Args:
        batches: taken since it was first heard.
        labels: published since then.
        heard_us: when its last batch was taken, Unix microseconds; 0 for never.
        labelled_us: when its last label was made, Unix microseconds; 0 for never.
    """

    batches: int
    labels: int
    heard_us: int
    labelled_us: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A server as its metrics show it.

    Args:
        status: the message on ``$server/status`` that was made at the same time.
        connected: whether both connections to the broker are there.
        backlog: messages that wait to be labelled.
        stages: by stage, seconds that each call of it took.
        delays: by whether labels were deferred, seconds from message to label.
        ready: whether messages become labels; asked when the snapshot is read.
        devices: facts of single devices, where these are asked for.
    """

    status: ServerStatus
    connected: bool
    backlog: int
    stages: Mapping[str, Distribution] = field(default_factory=dict)
    delays: Mapping[bool, Distribution] = field(default_factory=dict)
    ready: bool = False
    devices: Mapping[str, DeviceFacts] = field(default_factory=dict)


class Exposition(NamedTuple):
    """A scrape's answer.

    Args:
        content_type: of the body.
        body: the metrics.
    """

    content_type: str
    body: bytes


Metrics = Callable[[str], Exposition]
"""The answer to a scrape with this ``Accept`` header; called on the thread that serves it."""
