"""The network thread of a connection: reads, writes, keeps alive and reconnects.

It drives paho through the calls that paho offers to foreign event loops. paho's own thread wakes itself
through a socket pair for every packet that is queued and looks for work one packet at a time; here
everything that has arrived is read in one go and everything queued is written in one go, which nearly
halves the cost of a received message (docs/adr/0003).
"""

from __future__ import annotations

import contextlib
import logging
import random
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho

from disc_stream.wire.client import Client
from disc_stream.wire.dial import Dial, NoAnswerError
from disc_stream.wire.inbox import Inbox, Takers

log = logging.getLogger(__name__)

_TICK_S = 1.0  # longest sleep: paho's keep-alive wants to be looked at once a second
OnBurst = Callable[[], float | None]

_READS = 512  # packets read before what is to be written gets its turn
_READ_BYTES = 2**20  # likewise
_FIRST_DELAY_S, _LONGEST_DELAY_S = 1.0, 15.0
_QUIET_S = 60.0  # without another client that takes our id, after which the next one is answered quickly
_MOST_HUNG = 3  # threads left to a resolver that does not answer, from which on no further one is begun


class NetworkLoop:
    """Runs a paho client on a thread of its own until told to stop.

    Connecting happens on further threads (``Dial``), so this one always comes around within a second: if it
    does not, it hangs. Every wait of it is ended by ``wake``.

    Args:
        client: knows where to connect and with what (``connect_async``).
        name: of the thread.
        dial: begins an attempt to reach the broker, whose end is told to the function it is given.
        on_connect_fail: called on the thread with the reason when an attempt failed.
        on_drop: called on the thread when an error of ours has ended the connection; paho tells nobody of it.
        on_burst: see ``LinkListener``.
    """

    def __init__(
        self,
        client: Client,
        name: str,
        dial: Callable[[Callable[[], None]], Dial],
        on_connect_fail: Callable[[Exception], None],
        on_drop: Callable[[], None],
        on_burst: OnBurst | None = None,
    ) -> None:
        self._client, self._new_dial, self._on_burst = client, dial, on_burst
        self._on_connect_fail, self._on_drop = on_connect_fail, on_drop
        self._stopping = threading.Event()
        self._waker, self._wake = socket.socketpair()
        self._waker.setblocking(False)
        self._wake.setblocking(False)
        self._delay_s = self._contest_s = _FIRST_DELAY_S
        self._contested = -_QUIET_S
        self._attempt_at: float | None = 0.0  # monotonic time of the next attempt; None while connected
        self._dial: Dial | None = None
        self._inbox: Inbox | None = None  # the present connection, or the last one
        self._hung: list[Dial] = []  # cancelled, and their threads still wait for the resolver
        self._answer_by: float | None = None  # until when the broker has to accept us
        self._timeout_s = 0.0
        self._misc_at = 0.0
        self._patience_s = _TICK_S
        self.ticked = time.monotonic()
        """When the thread last came around, in monotonic seconds; a watchdog looks at it."""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        client.on_socket_register_write = self._note_write
        client.on_socket_open = self._buffer

    def start(self) -> None:
        """Connect, and work from now on."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Let the thread write what is queued (a DISCONNECT), and end; False if it did not in time."""
        self.end()
        if self._thread.ident is None:
            self._drop()
        elif threading.current_thread() is self._thread:
            return True
        else:
            self._thread.join(timeout_s)
            if self._thread.is_alive():
                return False
        self._waker.close()
        self._wake.close()
        return True

    def end(self) -> None:
        """Ask the thread to end, without waiting for it; it does not connect again."""
        self._stopping.set()
        self.wake()

    def wake(self) -> None:
        """Make the thread look around at once, whatever it waits for."""
        with contextlib.suppress(OSError):  # full (awake anyway) or closed
            self._wake.send(b"\0")

    def connected(self) -> None:
        """The broker has accepted: the next break is answered quickly again."""
        self._delay_s = _FIRST_DELAY_S
        self._answer_by = None

    def contest(self) -> None:
        """Another client has taken our id: come back, but less and less quickly."""
        now = time.monotonic()
        self._contest_s = _FIRST_DELAY_S if now - self._contested > _QUIET_S else self._contest_s
        self._delay_s, self._contested = self._contest_s, now
        self._contest_s = min(2 * self._contest_s, _LONGEST_DELAY_S)

    @property
    def was_ended(self) -> bool:
        """Whether the other side ended the last connection in order, as brokers do that do not want it."""
        return self._inbox is not None and self._inbox.ended

    @property
    def doing(self) -> str:
        """What the thread does to get a connection, in words; "" while there is one."""
        attempt = self._dial
        if attempt is not None:
            return attempt.doing
        if self._answer_by is not None:
            return "waiting for the broker's answer"
        return "" if self._attempt_at is None else "waiting before the next attempt"

    def _note_write(self, _client: paho.Client, _userdata: object, _socket: object) -> None:
        if threading.current_thread() is not self._thread:
            self.wake()

    def _buffer(self, client: paho.Client, _userdata: object, connection: Any) -> None:
        """Let paho, which reads three times per packet, do so from a buffer of ours."""
        self._inbox = Inbox(connection)
        client._sock = self._inbox  # noqa: SLF001

    # -- on the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.ticked = time.monotonic()
            try:
                if self._client.socket() is None:
                    self._approach()
                else:
                    self._turn()
            except Exception:
                log.exception("error in the network thread; the connection starts anew")
                self._drop()
                self._on_drop()
        if self._dial is not None:
            self._dial.cancel()
        self._say_goodbye()

    def _approach(self) -> None:
        """One step towards a connection, or a wait of a second at most."""
        now = time.monotonic()
        if self._dial is not None:
            if self._dial.is_over:
                self._take(self._dial)
            elif now >= self._dial.deadline:
                self._fail(self._dial.timeout_error())
            else:
                self._wait(min(self._patience_s, self._dial.deadline - now))
        elif self._attempt_at is None:  # the connection has just been lost
            self._answer_by = None
            self._back_off()
        elif now < self._attempt_at:
            self._wait(min(self._patience_s, self._attempt_at - now))
        else:
            self._begin()
        self._burst()

    def _begin(self) -> None:
        self._hung = [dial for dial in self._hung if dial.is_running]
        if len(self._hung) < _MOST_HUNG:
            self._dial = self._new_dial(self.wake)
        else:
            self._back_off()

    def _take(self, dial: Dial) -> None:
        """An attempt is over."""
        if dial.connection is None:
            self._fail(dial.error or OSError("the connection failed"))
            return
        self._dial = self._attempt_at = None
        self._timeout_s = dial.timeout_s
        self._answer_by = dial.deadline
        self._client.ready = dial.connection
        try:
            self._client.reconnect()
        except (OSError, ValueError) as error:
            self._drop()
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self._dial is not None:
            self._dial.cancel()
            self._hung.append(self._dial)
        self._dial = self._answer_by = None
        self._back_off()
        self._on_connect_fail(error)

    def _back_off(self) -> None:
        """Wait between half the delay and all of it: a fleet must not come back in step."""
        self._attempt_at = time.monotonic() + self._delay_s * random.uniform(0.5, 1.0)  # noqa: S311
        self._delay_s = min(2 * self._delay_s, _LONGEST_DELAY_S)

    def _turn(self) -> None:
        """Wait for something to do, then read and write all there is."""
        patience_s = self._patience_s
        if self._answer_by is not None:
            left_s = self._answer_by - time.monotonic()
            if left_s <= 0:
                self._drop()
                self._fail(NoAnswerError(f"it did not answer within {self._timeout_s:g} s"))
                return
            patience_s = min(patience_s, left_s)
        if self._wait(patience_s):
            self._read_all()
        self._burst()
        if self._client.want_write():
            self._client.loop_write()
        if time.monotonic() >= self._misc_at:
            self._misc_at = time.monotonic() + _TICK_S
            self._client.loop_misc()

    def _burst(self) -> None:
        if self._on_burst is not None:
            self._patience_s = min(self._on_burst() or _TICK_S, _TICK_S)

    def _wait(self, timeout_s: float) -> bool:
        """Sleep until the connection is readable, writable again, or we are woken; whether it is readable."""
        connection = self._client.socket()
        if connection is not None and _has_pending(connection):
            return True
        poller = select.poll()
        poller.register(self._waker, select.POLLIN)
        number = -1
        if connection is not None:
            number = connection.fileno()
            poller.register(number, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
        readable = False
        for found, what in poller.poll(timeout_s * 1000):
            if found == number:
                readable = bool(what & ~select.POLLOUT)
            else:
                self._clear_wakes()
        return readable

    def _read_all(self) -> None:
        client = self._client
        takers = Takers(client.take_plain, client.wants, client.take_acks if client.on_acks else None)
        first = getattr(client.socket(), "received", 0)
        for _ in range(_READS):
            inbox = client.socket()
            if not (isinstance(inbox, Inbox) and client.is_between_packets) or inbox.take(takers):
                client.loop_read()
            connection = client.socket()
            if connection is None or not (_has_pending(connection) or _is_readable(connection)):
                return
            if getattr(connection, "received", 0) - first >= _READ_BYTES:
                return

    def _clear_wakes(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._waker.recv(4096):
                pass

    def _drop(self) -> None:
        """Close the connection without a DISCONNECT; the next turn makes a new one."""
        with contextlib.suppress(Exception):
            self._client._sock_close()  # noqa: SLF001 - there is no public way

    def _say_goodbye(self) -> None:
        with contextlib.suppress(Exception):
            deadline = time.monotonic() + _TICK_S
            while self._client.want_write() and self._client.socket() is not None:
                self._client.loop_write()
                if time.monotonic() >= deadline:
                    break
                if self._client.want_write():
                    self._wait(0.05)
        self._drop()


def _has_pending(connection: object) -> bool:
    """Whether there are bytes that no poll would tell of."""
    pending = getattr(connection, "pending", None)
    return pending is not None and pending() > 0


def _is_readable(connection: object) -> bool:
    poller = select.poll()
    poller.register(connection.fileno(), select.POLLIN)  # type: ignore[attr-defined]
    return bool(poller.poll(0))
