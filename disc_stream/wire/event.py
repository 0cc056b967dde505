"""Events for automations: JSON on ``<prefix>/<device>/event``, by the server; not retained.

An event may come twice; its ``id`` tells. Numbers grow within a feed, which is the part of the id before the
hyphen and changes when a server begins with an empty state folder.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from disc_stream.errors import PayloadError
from disc_stream.types import NOT_WORN, UNKNOWN
from disc_stream.wire.limits import MAX_T0_US
from disc_stream.wire.schema import read, write

SCHEMA: Literal["disc-stream.event/1"] = "disc-stream.event/1"

_ID = r"^[0-9a-f]{8}-[0-9]{1,19}$"
_Time = Annotated[int, Meta(ge=-MAX_T0_US, le=MAX_T0_US)]


class EventType(StrEnum):
    """What has happened."""

    EPISODE_BEGAN = "episode.began"
    EPISODE_ENDED = "episode.ended"
    EPISODE_CORRECTED = "episode.corrected"
    NOT_WORN_BEGAN = "not-worn.began"
    NOT_WORN_ENDED = "not-worn.ended"
    UNKNOWN_BEGAN = "unknown.began"
    UNKNOWN_ENDED = "unknown.ended"
    ONLINE = "device.online"
    OFFLINE = "device.offline"


_OF_STATES = {
    NOT_WORN: (EventType.NOT_WORN_BEGAN, EventType.NOT_WORN_ENDED),
    UNKNOWN: (EventType.UNKNOWN_BEGAN, EventType.UNKNOWN_ENDED),
}


def type_of(label: int | None, *, ended: bool) -> EventType:
    """The type of an episode's begin or end; an episode of no label is a time that was corrected.

    Examples:
        >>> type_of(3, ended=False), type_of(-2, ended=True), type_of(None, ended=True)
        (<EventType.EPISODE_BEGAN: 'episode.began'>, <EventType.NOT_WORN_ENDED: 'not-worn.ended'>, \
<EventType.EPISODE_CORRECTED: 'episode.corrected'>)
    """
    if label is None:
        return EventType.EPISODE_CORRECTED
    began_ended = _OF_STATES.get(label, (EventType.EPISODE_BEGAN, EventType.EPISODE_ENDED))
    return began_ended[ended]


class Event(msgspec.Struct, frozen=True):
    """An event, and its message.

    Args:
        schema: of the message.
        id: unique; the same if the event comes again.
        number: strictly growing within a feed; some may be missing.
        type: what has happened.
        device: to whom.
        at: when the server knew it, Unix microseconds.
        begin: of the episode, or of the time that was corrected; null for a connection.
        end: likewise; null for an episode that has begun.
        label: public id of the episode's cluster, or state; null if it is about none.
        name: of that, "" likewise.
    """

    schema: Literal["disc-stream.event/1"]
    id: Annotated[str, Meta(pattern=_ID)]
    number: Annotated[int, Meta(ge=1, le=MAX_T0_US)]
    type: EventType
    device: str
    at: _Time
    begin: _Time | None = None
    end: _Time | None = None
    label: _Time | None = None
    name: str = ""


_DECODER = msgspec.json.Decoder(Event)


def encode_event(event: Event) -> bytes:
    """The event as UTF-8 JSON."""
    return write(event)


def decode_event(payload: bytes) -> Event:
    """Read an event.

    Raises:
        PayloadError: with a reason of the codecs; no other exception, whatever the bytes.
    """
    event = read(_DECODER, payload, "event")
    if not event.name.isprintable():
        raise PayloadError("text", "the name of the event must be one line of printable text")
    return event


def event_to_dict(event: Event) -> dict[str, Any]:
    """The event as plain JSON values."""
    plain: dict[str, Any] = msgspec.to_builtins(event)
    return plain
