"""From the outbox to the broker: in the order of recording, and out of the outbox when confirmed.

Messages of a device are sent oldest first, also after an outage: a server takes a batch that comes after
its successors as late, and cuts no window from it. Those that the broker refuses for now (no rights, a quota)
stay and are tried again; those that it will never take leave the outbox and are counted.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from disc_stream.clock import Clock, SystemClock
from disc_stream.errors import DiscStreamError, StorageError
from disc_stream.sparselog import SparseLog
from disc_stream.wire.delivery import FAILURE, Delivery
from disc_stream_edge.outbox import Entry, Outbox, Stored

log = logging.getLogger(__name__)

# MQTT 5, 3.4.2.1: the name of the topic, or the payload, is not what the broker takes; no later try helps.
_FOR_GOOD = frozenset({0x90, 0x99})
_FIRST_RETRY_S, _LONGEST_RETRY_S = 5.0, 300.0
_SETTLE_S = 1.0  # confirmations are written together: a card bears only so many writes
_SETTLE_MANY = 64
_BUSY_S, _IDLE_S = 0.02, 0.5


class Way(Protocol):
    """What brings messages to the broker; ``Connection`` is one."""

    @property
    def devices(self) -> list[str]:
        """Whose messages it sends."""
        ...

    @property
    def connected(self) -> bool:
        """Whether the broker is there."""
        ...

    def describe(self, device: str, meta: bytes) -> None:
        """From here on the samples of a device are of this kind."""
        ...

    def pass_on(self, entry: Entry) -> Delivery:
        """Send a message; it is sent again after a break of the connection, until it is answered."""
        ...

    def check(self) -> None:
        """Check that the connection is still ours; raises a ``BrokerError`` if not."""
        ...


class _Lane:
    """Where one device stands: what is on its way, and what comes behind it."""

    __slots__ = ("boot", "device", "flying", "last", "retry_at", "retry_s")

    def __init__(self, device: str) -> None:
        self.device = device
        self.flying: deque[tuple[Stored, Delivery]] = deque()
        self.last = 0  # id of the message that was sent last
        self.boot: int | None = None
        self.retry_at, self.retry_s = 0.0, _FIRST_RETRY_S


class Forwarder:
    """Sends what is in the outbox over one connection, step by step; no thread, no waiting.

    Args:
        outbox: the messages.
        way: the connection.
        most_flying: messages of a device that may wait for the broker's answer.
        clock: for retries.
    """

    def __init__(self, outbox: Outbox, way: Way, most_flying: int = 64, clock: Clock | None = None) -> None:
        self._outbox, self._way, self._most = outbox, way, most_flying
        self._clock = clock or SystemClock()
        self._lanes = [_Lane(device) for device in way.devices]
        self._confirmed: list[Stored] = []
        self._refused: list[Stored] = []
        self._settle_at = 0.0
        self._log = SparseLog(log)

    @property
    def flying(self) -> int:
        """Messages on their way."""
        return sum(len(lane.flying) for lane in self._lanes)

    def step(self) -> bool:
        """Take in answers, write them down, send more; whether anything is on its way.

        Raises:
            BrokerError: if another client has taken over the connection.
            StorageError: if the outbox cannot be read or written.
        """
        self._way.check()
        now = self._clock.monotonic()
        for lane in self._lanes:
            self._take_answers(lane, now)
        answered = len(self._confirmed) + len(self._refused)
        if answered and (answered >= _SETTLE_MANY or now >= self._settle_at):
            self.settle()
        if self._way.connected:
            for lane in self._lanes:
                if now >= lane.retry_at:
                    self._send_more(lane)
        return self.flying > 0

    def settle(self) -> None:
        """Write the answers down now.

        Raises:
            StorageError: if that fails; it is tried again with the next step.
        """
        if self._confirmed or self._refused:
            self._outbox.settle(self._confirmed, self._refused)
            self._confirmed, self._refused = [], []

    def _take_answers(self, lane: _Lane, now: float) -> None:
        while lane.flying and lane.flying[0][1].is_answered:
            stored, delivery = lane.flying[0]
            if delivery.code >= FAILURE and delivery.code not in _FOR_GOOD:
                self._hold_back(lane, delivery.code, now)
                return
            lane.flying.popleft()
            if not self._confirmed and not self._refused:
                self._settle_at = now + _SETTLE_S
            if delivery.code < FAILURE:
                self._confirmed.append(stored)
                lane.retry_s = _FIRST_RETRY_S
            else:
                self._refused.append(stored)
                text = "the broker refuses a message of %s for good (0x%02X); it is counted"
                self._log.error(lane.device, "refused", text, lane.device, delivery.code)

    def _hold_back(self, lane: _Lane, code: int, now: float) -> None:
        """Everything of the device from the refused message on waits, and is sent again later, in order."""
        if not all(delivery.is_answered for _, delivery in lane.flying):
            return
        again = [stored for stored, _ in lane.flying]
        lane.flying.clear()
        lane.last = again[0].id - 1
        self._outbox.put_back(again)
        lane.retry_at = now + lane.retry_s * random.uniform(0.5, 1.0)  # noqa: S311
        lane.retry_s = min(2 * lane.retry_s, _LONGEST_RETRY_S)
        text = "the broker refuses messages of %s (0x%02X); they stay in the outbox and are sent again"
        self._log.error(lane.device, "held back", text, lane.device, code)

    def _send_more(self, lane: _Lane) -> None:
        room = self._most - len(lane.flying)
        if room < self._most // 2:  # one look into the file for many messages
            return
        for stored in self._outbox.after(lane.device, lane.last, room):
            entry = stored.entry
            if entry.boot != lane.boot:
                lane.boot = entry.boot
                meta = self._outbox.meta(lane.device, entry.boot)
                if meta is not None:
                    self._way.describe(lane.device, meta)
            lane.flying.append((stored, self._way.pass_on(entry)))
            lane.last = stored.id


class Forwarding:
    """Runs forwarders on a thread until told to stop.

    Args:
        outbox: the messages.
        ways: the connections.
        most_flying: messages of a device that may wait for the broker's answer.
    """

    def __init__(self, outbox: Outbox, ways: Sequence[Way], most_flying: int) -> None:
        self._outbox = outbox
        self._forwarders = [Forwarder(outbox, way, most_flying) for way in ways]
        self._devices = {device for way in ways for device in way.devices}
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._changed = threading.Condition()
        self._log = SparseLog(log)
        self.failure: DiscStreamError | None = None
        """Why it ended by itself."""
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def start(self) -> None:
        """Send from now on."""
        self._thread.start()

    def wake(self) -> None:
        """There is something new in the outbox."""
        self._wake.set()

    def check(self) -> None:
        """Check that it works.

        Raises:
            DiscStreamError: if it does not.
        """
        if self.failure is not None:
            raise self.failure

    def wait_for_step(self, timeout_s: float) -> None:
        """Wait until something may have changed in the outbox."""
        with self._changed:
            self._changed.wait(timeout_s)

    def drain(self, patience_s: float, stop: threading.Event) -> None:
        """Wait until everything is confirmed, or nothing was for a while, or until ``stop`` is set.

        Args:
            patience_s: longest wait for the next confirmation.
            stop: ends the wait; if it is set already, the wait is for ``patience_s`` in all.
        """
        stopped = stop.is_set()
        left = self._outbox.tally.waiting
        deadline = time.monotonic() + patience_s
        with self._changed:
            while left and self.failure is None and time.monotonic() < deadline:
                self._changed.wait(_IDLE_S)  # the thread tells after each step
                if stop.is_set() and not stopped:
                    return
                waiting = self._outbox.tally.waiting
                if waiting < left and not stopped:
                    deadline = time.monotonic() + patience_s
                left = waiting

    def stop(self, timeout_s: float = 5.0) -> None:
        """End it; what is confirmed until then is written down."""
        self._stopping.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._wake.clear()
                busy = self._step()
                with self._changed:
                    self._changed.notify_all()
                self._wake.wait(_BUSY_S if busy else _IDLE_S)
            for forwarder in self._forwarders:
                forwarder.step()
                forwarder.settle()
        except DiscStreamError as error:
            self.failure = error
            with self._changed:
                self._changed.notify_all()

    def _step(self) -> bool:
        try:
            busy = [forwarder.step() for forwarder in self._forwarders]
        except StorageError as error:  # a full disk may have room again, and what is in RAM is sent again
            self._log.error("", "outbox", "%s; trying again", error)
            return False
        return any(busy)
