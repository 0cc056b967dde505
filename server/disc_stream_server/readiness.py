"""Whether messages become labels now, judged from outside the labelling thread.

A thread that hangs cannot report it, and a broker whose access list forbids reading grants the subscription
all the same and delivers nothing. So the first is judged by the age of the thread's last turn and of its last
status, and the second by a message to ourselves that must come back.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Protocol

from disc_stream.clock import Clock

log = logging.getLogger(__name__)

MAX_TURN_S = 15.0
"""A turn of the labelling thread that takes longer is taken for a hang; an idle turn takes 0.25 s."""

_MIN_STATUS_AGE_S = 15.0
_STATUS_INTERVALS = 5.0  # statuses that may be missing
_ANSWER_S = 5.0  # until a probe must have come back
_QUIET_S = 30.0  # without any message, after which reading is tried again


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the parts of a running server; plain values, read from any thread.

    Args:
        turned_at: monotonic time of the labelling thread's last turn; None before its first.
        status_at: monotonic time of its last status; None before the first.
        status_interval_s: between two statuses.
        missing: what its parts lack, such as the broker or space on the disk; None if nothing.
        unreadable: topic filter that the broker grants and does not deliver; None if reading works, or is
            not known to fail.
    """

    turned_at: float | None
    status_at: float | None
    status_interval_s: float
    missing: str | None = None
    unreadable: str | None = None


def waits_for(facts: Facts, now: float) -> str | None:
    """What keeps messages from becoming labels at monotonic time ``now``, in words; None if nothing does."""
    if facts.turned_at is None:
        return facts.missing or "the labelling thread (it has not begun)"
    turn_s = now - facts.turned_at
    if turn_s > MAX_TURN_S:
        return f"the labelling thread (no turn for {turn_s:.0f} s)"
    if facts.missing is not None:
        return facts.missing
    if facts.unreadable is not None:
        return (
            f"permission to read {facts.unreadable}: the broker grants the subscription and delivers "
            "nothing, its access list forbids it"
        )
    status_s = now - (facts.turned_at if facts.status_at is None else facts.status_at)
    if status_s > max(_MIN_STATUS_AGE_S, _STATUS_INTERVALS * facts.status_interval_s):
        return f"a status of the labelling thread (the last one is {status_s:.0f} s old)"
    return None


class Heartbeat:
    """When the labelling thread last began a turn and last published; it writes, any thread reads.

    Args:
        clock: time.
        status_interval_s: between two statuses.
    """

    def __init__(self, clock: Clock, status_interval_s: float) -> None:
        self._clock, self._status_interval_s = clock, status_interval_s
        self._turned_at: float | None = None
        self._status_at: float | None = None

    def turned(self) -> None:
        """The thread begins a turn."""
        self._turned_at = self._clock.monotonic()

    def published(self) -> None:
        """It has published its status."""
        self._status_at = self._clock.monotonic()

    def waits_for(self, missing: str | None, unreadable: str | None) -> str | None:
        """See the function of this name."""
        facts = Facts(self._turned_at, self._status_at, self._status_interval_s, missing, unreadable)
        return waits_for(facts, self._clock.monotonic())


class Delivery(Protocol):
    """The broker's answer to a message of ours; ``wire.delivery.Delivery`` is one."""

    @property
    def refused(self) -> bool:
        """Whether the broker has refused it."""
        ...

    @property
    def is_answered(self) -> bool:
        """Whether there is an answer."""
        ...


class Publish(Protocol):
    """Sends a probe to ourselves."""

    def __call__(self) -> Delivery:
        """Hand it to the broker."""
        ...


class ReadingProbe:
    """Finds out whether the broker delivers to us what our subscription should bring.

    While messages arrive, reading works and nothing is sent. When none has come for a while, a probe is
    published on a topic that the subscription covers. A broker that refuses the probe, or closes the
    connection over it, is not asked again: then nothing is known, and nothing is claimed.

    Args:
        clock: time.
        publish: sends a probe.
        topic_filter: the subscription, for the words.
    """

    def __init__(self, clock: Clock, publish: Publish, topic_filter: str) -> None:
        self._clock, self._publish, self._filter = clock, publish, topic_filter
        self._probe: Delivery | None = None
        self._due_at = clock.monotonic()
        self._received: int | None = None
        self._enabled = True
        self.unreadable: str | None = None
        """The subscription that brings nothing; None while it works or is not known to fail."""

    def step(self, received: int, *, connected: bool) -> None:
        """Look at what has come; to be called about once a second.

        Args:
            received: messages received since the start, probes included.
            connected: whether both connections, the receiving and the publishing one, are up.
        """
        now = self._clock.monotonic()
        if not connected:
            if self._probe is not None and not self._probe.is_answered:
                self._enabled = False  # closed over it, perhaps
            self._probe, self._due_at = None, now
            return
        before, self._received = self._received, received
        if before is not None and received != before:
            self._settle(now)
        elif self._enabled and now >= self._due_at and self._is_over():
            self._probe, self._due_at = self._publish(), now + _ANSWER_S

    def _settle(self, now: float) -> None:
        if self.unreadable is not None:
            log.info("messages arrive again on %s", self._filter)
        self.unreadable, self._probe, self._due_at = None, None, now + _QUIET_S

    def _is_over(self) -> bool:
        """Judge the last probe, which has not come back; whether another one is to be sent."""
        probe = self._probe
        if probe is None or not probe.is_answered:
            return probe is None
        if probe.refused:
            log.info("the broker does not let us try whether it delivers %s", self._filter)
            self._enabled = False
            return False
        if self.unreadable is None:
            log.error("the broker grants the subscription to %s and delivers nothing", self._filter)
            self.unreadable = self._filter
        return True
