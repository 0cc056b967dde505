"""Broker, spool, acknowledgement.

::

    network thread:     read all that has arrived ──┐
    committing thread:                              └──▶ commit it (fsync) ──▶ PUBACK in receive order

What arrives during a commit is the next group, so groups grow with the load by themselves. When the disk
is full nothing is acknowledged: the broker holds the rest back (Receive Maximum), and the same group is
tried again until there is space. What a device sends beyond its limits goes into the overflow queue instead,
and from there into the spool as fast as the limits allow.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from disc_stream.clock import Clock, SystemClock
from disc_stream.errors import BrokerError
from disc_stream.wire.broker import Broker
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink, Session
from disc_stream.wire.topics import Kind, Topics
from disc_stream_server.memory import give_back_memory
from disc_stream_server.metas import fetch_metas
from disc_stream_server.receiving.committer import Committer
from disc_stream_server.receiving.settings import ReceiverSettings

log = logging.getLogger(__name__)

Report = Callable[[dict[str, Any]], None]

_BEAT_S = 0.5
_TRIM_S = 60.0
_DEAD_S = 30.0  # a thread that has not come around for so long is dead


class Receiver:
    """Receives until told to stop.

    Args:
        settings: where from and where to.
        report: told of ``ready``, ``head`` and ``state``, as plain values.
        clock: time.

    Raises:
        StorageError: if the spool cannot be opened.
    """

    def __init__(self, settings: ReceiverSettings, report: Report, clock: Clock | None = None) -> None:
        self._settings, self._report = settings, report
        self._topics = Topics(settings.prefix)
        self._probe_topic = self._topics.reading_probe
        self.committer = Committer(
            settings, lambda messages: self._link.ack(*messages), self._tell, clock or SystemClock()
        )
        self._counts = self.committer.counts
        self.ready = threading.Event()
        """Whether it has had a connection."""
        # Has an earlier run received? Then the broker should know us.
        self._is_back = self.committer.spool.head > 0 and settings.session_expiry_s > 0
        self._lost_before = 0
        self._link = MqttLink(
            Broker.parse(settings.broker),
            settings.client_id,
            LinkListener(
                on_message=self._arrive,
                on_burst=self._on_burst,
                on_up=self._on_up,
                on_down=self._on_down,
                wants=self.committer.wants,
            ),
            Session(
                expiry_s=settings.session_expiry_s,
                receive_maximum=settings.receive_maximum,
                manual_ack=True,
                max_packet_bytes=settings.max_packet_bytes,
            ),
        )

    def run(self) -> None:
        """Connect and work until ``stop``.

        Raises:
            BrokerError: if the broker cannot be reached or refuses at the start.
            StorageError: if the spool fails for another reason than want of space.
        """
        try:
            with self._beating():
                self.committer.accept(fetch_metas(self._link.broker, self._topics, self._settings.client_id))
                self.committer.start()
                self._link.subscribe(self._topics.all_of(Kind.META))
                self._link.subscribe(self._topics.all_of(Kind.RAW))
                self._link.connect()
            self.ready.set()
            self._report({"event": "ready", "head": self.committer.spool.head})
            self._watch()
        finally:
            self._link.close()
            self._beat()
            self.committer.close()
        if self.committer.failure is not None:
            raise self.committer.failure

    def _watch(self) -> None:
        """Until the committer has ended: report, tell time, see that the threads come around."""
        trimmed = time.monotonic()
        while not self.committer.ended.wait(_BEAT_S):
            self._beat()
            self.committer.tell_time()
            now = time.monotonic()
            if now - trimmed > _TRIM_S:
                give_back_memory()
                trimmed = now
            for name, silent_s in (
                ("network", self._link.silent_s),
                ("committing", now - self.committer.ticked),
            ):
                if silent_s > _DEAD_S:
                    raise BrokerError(f"the {name} thread has not come around for {silent_s:.0f} s")

    @contextmanager
    def _beating(self) -> Iterator[None]:
        """Report while this thread waits for the broker: connecting may take long, and is not hanging."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(_BEAT_S):
                self._beat()

        thread = threading.Thread(target=beat, name="beat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def stop(self) -> None:
        """Let ``run`` commit and acknowledge what is here, and return; from any thread."""
        self.committer.stop()

    def hold(self, devices: Iterable[str]) -> None:
        """Let nothing of these devices into the spool until further notice; from any thread."""
        self.committer.limiter.held = frozenset(devices)

    def forget(self, device: str) -> None:
        """Drop what is known of a device that was erased; from any thread."""
        self.committer.forget(device)

    # -- on the network thread ------------------------------------------------------------------------

    def _arrive(self, message: Message) -> None:
        if message.topic == self._probe_topic:
            self._counts.probes += 1
        self.committer.take(message)

    def _on_burst(self) -> None:
        self.committer.wake()

    def _on_up(self) -> None:
        """Count sessions that the broker has lost, also while this process was away."""
        history = self._link.history
        if self._is_back and not history.session_present:
            self._lost_before = 1
            log.warning(
                "broker %s has no session of %r any more: what was sent since the last run is lost; let it "
                "keep its data over a restart, and raise session_expiry_s (%d s) if we are away for longer",
                self._link.broker, self._settings.client_id, self._settings.session_expiry_s,
            )  # fmt: skip
        self._is_back = False
        self._counts.sessions_lost = self._lost_before + history.sessions_lost

    def _on_down(self, _reason: str) -> None:
        self.committer.drop()
        ends = self._link.history.ends
        while ends:
            self._report({"event": "ended", "at": ends.popleft()})
        self._beat()

    # -- what the main process hears -------------------------------------------------------------------

    def _tell(self, event: dict[str, Any] | None) -> None:
        """What the committer says."""
        if event is None:
            self._beat()
        else:
            self._report(event)

    def _beat(self) -> None:
        self._counts.takeovers = self._link.history.takeovers
        everything = round(time.process_time() * 1e6)
        self._counts.cpu_us_receive = everything - self._counts.cpu_us_spool
        self._report(
            {
                "event": "state",
                "connected": self._link.connected,
                "since": self._link.history.since,
                "waits": self._link.connecting,
                "blocked": self.committer.blocked,
                "head": self.committer.spool.head,
                "counts": asdict(self._counts),
                "limited": self.committer.limited,
            }
        )
