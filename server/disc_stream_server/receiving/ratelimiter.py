"""What a device may send: what exceeds its rate waits, and what exceeds the overflow queue is refused.

A token bucket for each device, by the time of arrival, in messages and in bytes. A device that has been quiet
may send for a while as fast as it likes; a message that is larger than what is left is let through and paid
for afterwards. The rate limiter only decides; it stores nothing and knows nothing of what is in a message.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from disc_stream_server.storage.overflow import ROW_BYTES, Tally

_MOST_DEVICES = 50_000  # buckets; the one used longest ago is taken to be full again
_MOST_LIMITED = 1_000  # devices whose refusals are counted
_TOLD = 20  # devices that are named
_AGAIN = 0.9  # of the room: once it was full, less must wait before more may; or each message costs a sync
_TOLD_S = 10.0  # for so long after the last message that had to wait


class Fate(Enum):
    """What becomes of a message."""

    ADMITTED = "admitted"
    """It goes into the spool."""
    WAITS = "waits"
    """It goes into the overflow queue."""
    REFUSED = "refused"
    """It is acknowledged, counted and dropped."""


@dataclass(frozen=True, slots=True)
class DeviceLimits:
    """What each device may send.

    Args:
        messages_s: messages per second.
        bytes_s: bytes of payload per second.
        burst_s: after silence, as much as is allowed in so many seconds may come at once.
        waiting_bytes: what may wait of a device.
        burst_bytes: of payload may come at once at most, whatever ``burst_s`` says.
    """

    messages_s: float = 200.0
    bytes_s: float = 262_144.0
    burst_s: float = 10.0
    waiting_bytes: int = 64 * 2**20
    burst_bytes: float = math.inf

    @property
    def at_once(self) -> tuple[float, float]:
        """Messages and bytes that may come at once after silence."""
        messages, size = self.messages_s * self.burst_s, self.bytes_s * self.burst_s
        return max(1.0, messages), min(size, self.burst_bytes)


@dataclass(slots=True)
class Limited:
    """A device that sends, or has just sent, more than it may.

    Args:
        waited: messages that had to wait since the start.
        refused: messages that were refused since the start.
        at: monotonic time of the last of either.
        full: whether nothing more of it may wait until there is some room again.
    """

    waited: int = 0
    refused: int = 0
    at: float = 0.0
    full: bool = False


class _Bucket:
    __slots__ = ("at", "bytes", "messages")

    def __init__(self, messages: float, size: float, at: float) -> None:
        self.messages, self.bytes, self.at = messages, size, at

    @property
    def has_room(self) -> bool:
        """For a message of any size: one that is larger than what is left is paid for afterwards."""
        return self.messages >= 1 and self.bytes > 0


class RateLimiter:
    """Decides about messages, in the order in which they come.

    Args:
        limits: of each device.
        waiting: what waits, by device; kept by the overflow queue.
        now: monotonic seconds.
    """

    def __init__(
        self,
        limits: DeviceLimits,
        waiting: Mapping[str, Tally],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits, self._waiting, self._now = limits, waiting, now
        self._most = limits.at_once
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._limited: OrderedDict[str, Limited] = OrderedDict()
        self._coming: dict[str, int] = {}  # bytes that will wait once the present group is stored
        self.held: frozenset[str] = frozenset()
        """Devices of which nothing is let in, for the labeller is busy with what it has of them."""

    def begin(self) -> None:
        """A new group of messages: those before it are in the overflow queue."""
        self._coming.clear()

    def judge(self, device: str, size: int) -> Fate:
        """Decide about the next message of a device, with so many bytes of payload."""
        now = self._now()
        bucket = self._bucket(device, now)
        waits = device in self._waiting or device in self._coming or device in self.held
        if not waits and bucket.has_room:
            bucket.messages -= 1
            bucket.bytes -= size
            return Fate.ADMITTED
        limited = self._limit(device, now)
        limited.full = self._is_full(device, size, limited)
        if limited.full:
            limited.refused += 1
            return Fate.REFUSED
        self._coming[device] = self._coming.get(device, 0) + size + ROW_BYTES
        limited.waited += 1
        return Fate.WAITS

    def refuses(self, device: str, size: int) -> bool:
        """Whether a message that is on its way will be refused; if so, ``refuse`` counts it.

        It tells before the payload is read, and decides nothing: False may turn out to be a refusal.
        """
        return device in self._waiting and self._is_full(device, size, self._limited.get(device))

    def refuse(self, device: str) -> None:
        """A message was not read, for ``refuses`` said so."""
        limited = self._limit(device, self._now())
        limited.full = True
        limited.refused += 1

    def _limit(self, device: str, now: float) -> Limited:
        """What is counted of a device that exceeds what it may."""
        limited = self._limited.get(device)
        if limited is None:
            limited = self._limited[device] = Limited()
            if len(self._limited) > _MOST_LIMITED:
                self._limited.popitem(last=False)
        self._limited.move_to_end(device)
        limited.at = now
        return limited

    def _is_full(self, device: str, size: int, limited: Limited | None) -> bool:
        tally = self._waiting.get(device)
        used = self._coming.get(device, 0) + (0 if tally is None else tally.bytes)
        most = self._limits.waiting_bytes * (_AGAIN if limited is not None and limited.full else 1.0)
        return used + size + ROW_BYTES > most

    def may_enter(self, device: str) -> tuple[int, float]:
        """How many of a device's messages that wait may go into the spool now, and how many bytes.

        The message that goes beyond the bytes may, too: it is paid for afterwards.
        """
        if device in self.held:
            return 0, 0.0
        bucket = self._bucket(device, self._now())
        return (int(bucket.messages), bucket.bytes) if bucket.has_room else (0, 0.0)

    def taken(self, device: str, messages: int, size: int) -> None:
        """So many of them did, with so many bytes of payload."""
        bucket = self._bucket(device, self._now())
        bucket.messages -= messages
        bucket.bytes -= size

    def limited(self) -> dict[str, dict[str, int]]:
        """The devices that exceed what they may, those that did last first; for the status."""
        now = self._now()
        found: dict[str, dict[str, int]] = {}
        for device in reversed(list(self._waiting)) if len(self._waiting) <= _TOLD else ():
            found[device] = self._facts(device)
        for device, limited in reversed(self._limited.items()):
            if len(found) >= _TOLD or now - limited.at > _TOLD_S:
                break
            found[device] = self._facts(device)
        return found

    def forget(self, device: str) -> None:
        """Drop a device."""
        self._buckets.pop(device, None)
        self._limited.pop(device, None)

    def _facts(self, device: str) -> dict[str, int]:
        tally, limited = self._waiting.get(device), self._limited.get(device)
        return {
            "waiting": 0 if tally is None else tally.messages,
            "waiting_bytes": 0 if tally is None else tally.bytes,
            "waited": 0 if limited is None else limited.waited,
            "refused": 0 if limited is None else limited.refused,
            "held": int(device in self.held),
        }

    def _bucket(self, device: str, now: float) -> _Bucket:
        bucket = self._buckets.get(device)
        messages, size = self._most
        if bucket is None:
            bucket = self._buckets[device] = _Bucket(messages, size, now)
            if len(self._buckets) > _MOST_DEVICES:
                self._buckets.popitem(last=False)
            return bucket
        if (passed := now - bucket.at) > 0:
            bucket.messages = min(messages, bucket.messages + passed * self._limits.messages_s)
            bucket.bytes = min(size, bucket.bytes + passed * self._limits.bytes_s)
            bucket.at = now
            self._buckets.move_to_end(device)
        return bucket
