"""On which day each device was last heard, so that what is known of devices that are gone does not pile up.

Days are those of the rows' arrival, so the same rows drop the same devices, also after a crash.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from disc_stream.errors import TopicError
from disc_stream.wire.topics import Kind, Topics
from disc_stream_server.storage.rows import Row

_DAY_US = 86_400_000_000
_MAX_TOPICS = 100_000


class Heard:
    """Knows the day of each device's last message (a part of the labeller's state).

    A device is heard by its samples. Its description counts the first time only: brokers send retained
    descriptions again for ever.

    Args:
        topics: grammar of the topics.
        keep_days: a device that was not heard for more days is gone; infinity keeps all.
    """

    def __init__(self, topics: Topics, keep_days: float) -> None:
        self._topics = topics
        self._keep_days = math.inf if math.isinf(keep_days) else math.ceil(keep_days)
        self._today = 0
        self._days: dict[str, int] = {}
        self._undated: set[str] = set()  # known from before days were noted: they count from the first row on
        self._changed: set[str] = set()
        self._noted: set[str] = set()  # topics of which a further message changes nothing today

    def restore(self, states: Mapping[str, bytes], known: Iterable[str]) -> None:
        """Take up what ``capture`` gave.

        Args:
            states: days, by device.
            known: devices of which anything is known.
        """
        self._days = {device: int.from_bytes(state, "little") for device, state in states.items()}
        self._undated = {device for device in known if device and device not in self._days}

    def of_one_day(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The first of these rows, up to the next that begins a day."""
        day = max(self._today, rows[0].received_us // _DAY_US)
        end = 1
        if rows[-1].received_us // _DAY_US <= day:
            end = len(rows)
        while end < len(rows) and rows[end].received_us // _DAY_US <= day:
            end += 1
        return rows[:end]

    def begins_day(self, row: Row) -> bool:
        """Whether a row that is not taken yet is the first of a day."""
        return row.received_us // _DAY_US > self._today

    def gone_by(self, row: Row) -> list[str]:
        """The devices that are gone when a row comes, if it begins a day; to be asked before it is taken."""
        if not self.begins_day(row):
            return []
        day = self._today = row.received_us // _DAY_US
        self._noted.clear()
        for device in sorted(self._undated):
            self._set(device)
        self._undated.clear()
        return sorted(device for device, last in self._days.items() if last < day - self._keep_days)

    def note(self, rows: Sequence[Row]) -> None:
        """Rows of the present day were taken."""
        topics = {row.topic for row in rows if row.payload}  # a withdrawal is no word of a device
        topics -= self._noted
        if not topics:
            return
        for topic in topics:
            self._note(topic)
        if len(self._noted) > _MAX_TOPICS:
            self._noted.clear()
        self._noted |= topics

    def _note(self, topic: str) -> None:
        """The first message of today on a topic."""
        try:
            device, kind = self._topics.parse(topic)
        except TopicError:
            return
        last = self._days.get(device)
        if last is None or (kind is Kind.RAW and last < self._today):
            self._set(device)

    def _set(self, device: str) -> None:
        self._days[device] = self._today
        self._changed.add(device)

    # -- a part of the labeller's state -----------------------------------------------------------------

    def capture(self) -> dict[str, bytes]:
        """The days that have changed since the last call."""
        changed, self._changed = self._changed, set()
        return {device: self._days[device].to_bytes(4, "little") for device in sorted(changed)}

    def committed(self, taken: Mapping[str, bytes], /) -> None:
        """What ``capture`` gave is on disk; nothing depends on it."""

    def forget(self, device: str) -> None:
        """Drop a device."""
        self._days.pop(device, None)
        self._undated.discard(device)
        self._changed.discard(device)
        self._noted.clear()
