"""Messages on their way into the spool and out of it."""

from __future__ import annotations

from typing import NamedTuple

TIME_TOPIC = ""
"""Topic of a row that holds no message: it says that nothing had come until then."""


class Arrival(NamedTuple):
    """A message as it came.

    Args:
        received_us: server time, Unix microseconds.
        topic: in full.
        content_type: MQTT 5 content type, "" for none.
        payload: bytes as sent.
    """

    received_us: int
    topic: str
    content_type: str
    payload: bytes


class Row(NamedTuple):
    """A message in the spool.

    Args:
        position: ascending in the order of receipt, unique for ever.
        received_us: server time of its arrival, Unix microseconds.
        topic: in full.
        content_type: MQTT 5 content type, "" for none.
        payload: bytes as sent.
    """

    position: int
    received_us: int
    topic: str
    content_type: str
    payload: bytes

    @property
    def is_sound(self) -> bool:
        """Whether every value is of its kind; SQLite reads anything out of a damaged page."""
        return tuple(map(type, self)) == (int, int, str, str, bytes)
