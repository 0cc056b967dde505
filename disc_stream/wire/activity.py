"""What a wearer does, for automations: retained JSON on ``<prefix>/<device>/activity``, by the server.

Labels come several times in a second; this comes when the activity has changed and stayed, and from time to
time so that a reader knows that it still holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from disc_stream.errors import PayloadError
from disc_stream.wire.limits import MAX_T0_US
from disc_stream.wire.schema import read, write

SCHEMA: Literal["disc-stream.activity/1"] = "disc-stream.activity/1"
MAX_ACTIVITY = 128
"""Characters of an activity's name here; Home Assistant takes no state above 255."""

_Time = Annotated[int, msgspec.Meta(ge=0, le=MAX_T0_US)]


@dataclass(frozen=True, slots=True)
class Activity:
    """What a wearer does.

    Args:
        activity: in words, one line of at most ``MAX_ACTIVITY`` characters.
        label: public id of the cluster, or a state such as ``disc_stream.types.NOT_WORN``.
        since_us: when it was first seen, by the server's clock, Unix microseconds.
    """

    activity: str
    label: int
    since_us: int


class ActivityMessage(msgspec.Struct, frozen=True):
    """The message; Activity says what the fields mean."""

    schema: Literal["disc-stream.activity/1"]
    activity: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ACTIVITY)]
    label: Annotated[int, msgspec.Meta(ge=-MAX_T0_US, le=MAX_T0_US)]
    since: _Time


_DECODER = msgspec.json.Decoder(ActivityMessage)


def encode_activity(activity: Activity) -> bytes:
    """The activity as UTF-8 JSON.

    Examples:
        >>> encode_activity(Activity("walking", 3, 1_700_000_000_000_000))
        b'{"schema":"disc-stream.activity/1","activity":"walking","label":3,"since":1700000000000000}'
    """
    return write(ActivityMessage(SCHEMA, activity.activity, activity.label, activity.since_us))


def decode_activity(payload: bytes) -> Activity:
    """Read an activity.

    Raises:
        PayloadError: with a reason of the codecs; no other exception, whatever the bytes.
    """
    message = read(_DECODER, payload, "activity")
    if not message.activity.isprintable():
        raise PayloadError("text", "the activity must be one line of printable text")
    return Activity(message.activity, message.label, message.since)
