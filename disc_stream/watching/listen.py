"""Receiving labels from a broker until stopped."""

from __future__ import annotations

import logging
import queue
import threading
import uuid

from disc_stream.clock import SystemClock
from disc_stream.errors import BrokerError
from disc_stream.watching.events import DeviceFilter, Event, LinkChanged, read_message
from disc_stream.watching.state import LiveState
from disc_stream.watching.views import View, open_view
from disc_stream.wire.broker import Broker
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink
from disc_stream.wire.topics import Kind, Topics

log = logging.getLogger(__name__)

_BACKLOG = 10_000  # events not yet shown; beyond it paho waits, and the broker with it
_SLICE_S = 0.25


class Listener:
    """Receives labels, problems and the server's status.

    Args:
        broker: where.
        topics: under which prefix.
        wanted: which devices.
    """

    def __init__(self, broker: Broker, topics: Topics, wanted: DeviceFilter) -> None:
        self.broker, self._topics, self._wanted = broker, topics, wanted
        self._events: queue.Queue[Event] = queue.Queue(_BACKLOG)
        self._was_down = False
        self._failure: BrokerError | None = None
        self._link = MqttLink(
            broker,
            f"disc-stream-watch-{uuid.uuid4().hex[:12]}",
            LinkListener(
                on_message=self._receive, on_up=self._on_up, on_down=self._on_down, on_fatal=self._give_up
            ),
        )
        self._link.subscribe(topics.all_of(Kind.LABEL))
        self._link.subscribe(topics.all_of(Kind.PROBLEM))
        self._link.subscribe(topics.server_status)

    def open(self) -> None:
        """Connect.

        Raises:
            BrokerError: if the broker cannot be reached or refuses.
        """
        self._link.connect()

    def close(self) -> None:
        """Disconnect."""
        self._link.close()

    def next(self, timeout_s: float) -> Event | None:
        """The next event, None if none came in time.

        Raises:
            BrokerError: if another program has connected with the same account.
        """
        if self._failure is not None:
            raise self._failure
        try:
            return self._events.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def _receive(self, message: Message) -> None:
        event = read_message(message, self._topics, self._wanted)
        if event is not None:
            self._put(event)

    def _on_up(self) -> None:
        if self._was_down:
            self._put(LinkChanged(up=True))

    def _on_down(self, reason: str) -> None:
        self._was_down = True
        self._put(LinkChanged(up=False, reason=reason))

    def _give_up(self, error: BrokerError) -> None:
        self._failure = error

    def _put(self, event: Event) -> None:
        """Queue an event; a reader that has stopped must not hold up the network thread for ever."""
        try:
            self._events.put(event, timeout=5)
        except queue.Full:
            log.warning("output is too slow; an event is left out")


def watch_labels(
    listener: Listener,
    *,
    as_json: bool,
    stop: threading.Event,
    duration_s: float | None = None,
) -> LiveState:
    """Show labels until ``stop`` is set or the time is over.

    Args:
        listener: not opened yet; closed at the end.
        as_json: one JSON object per line instead of a table or text.
        stop: ends it.
        duration_s: ends it, too; None for no limit.
        clock: for ages and rates.

    Returns:
        What was seen last.

    Raises:
        BrokerError: if the broker cannot be reached or refuses at the start, or if another program connects
            with the same account; other losses are shown.
    """
    clock = SystemClock()
    state = LiveState(clock)
    listener.open()
    broker = listener.broker
    hint = f"Waiting for a server to label what devices send to {broker}: disc-stream serve --broker {broker}"
    try:
        with open_view(state, hint, as_json=as_json) as view:
            end = None if duration_s is None else clock.monotonic() + duration_s
            while not stop.is_set() and (end is None or clock.monotonic() < end):
                left = _SLICE_S if end is None else min(_SLICE_S, end - clock.monotonic())
                _take_one(listener, state, view, max(0.0, left))
                if (silence := state.notice_silence()) is not None:
                    view.show(silence)
    finally:
        listener.close()
    return state


def _take_one(listener: Listener, state: LiveState, view: View, timeout_s: float) -> None:
    event = listener.next(timeout_s)
    if event is not None and state.take(event):
        view.show(event)
