"""One attempt to reach the broker: look up its name, connect, shake hands for TLS.

Looking up a name cannot be interrupted and knows no time limit, so an attempt has a thread of its own.
Whoever waits for it can go on with something else, or cancel it: a thread that still waits for the resolver
then ends whenever that answers, and leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable

from disc_stream.wire.broker import Broker

LOOKUP_S = 30.0
"""Longest wait for the address of the broker; resolvers mostly give up earlier."""

_GRACE_S = 1.0  # for a socket's own time limit to be felt first: it says more than ours


class NoAnswerError(OSError):
    """The broker did not answer in time."""


class LookupTimeoutError(OSError):
    """The resolver did not answer in time."""


class Dial:
    """An attempt on a thread of its own.

    Args:
        broker: where to.
        context: for TLS; None for a plain connection.
        timeout_s: for connecting and the handshake together, once the address is known.
        on_named: called on the thread when the look-up is over, whatever came of it.
        on_end: called on the thread when the attempt is over, unless it was cancelled.
    """

    def __init__(
        self,
        broker: Broker,
        context: ssl.SSLContext | None,
        timeout_s: float,
        *,
        on_named: Callable[[], None] = lambda: None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._broker, self._context, self.timeout_s = broker, context, timeout_s
        self._on_named, self._on_end = on_named, on_end
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None  # that the thread is busy with
        self._cancelled = False
        self._named = False
        self.began = time.monotonic()
        """Monotonic seconds."""
        self.deadline = self.began + LOOKUP_S
        """When to give it up, monotonic seconds; known better once the address is."""
        self.doing = f"looking up the address of {broker.host!r}"
        """What the attempt is busy with, in words."""
        self.connection: socket.socket | None = None
        """The result."""
        self.error: Exception | None = None
        """Why there is none."""
        self._thread = threading.Thread(target=self._run, name="mqtt-dial", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether there is a result or an error."""
        return self.connection is not None or self.error is not None

    @property
    def is_running(self) -> bool:
        """Whether its thread is still there, which it may be after ``cancel``."""
        return self._thread.is_alive()

    def cancel(self) -> None:
        """Leave it; a connection that comes about all the same is closed."""
        with self._lock:
            self._cancelled = True
            for one in (self._socket, self.connection):
                if one is not None:
                    with contextlib.suppress(OSError):  # wakes a thread that waits for it
                        socket.socket.shutdown(one, socket.SHUT_RDWR)
            if self.connection is not None:
                self.connection.close()

    def timeout_error(self) -> OSError:
        """What to say of it when its time is over."""
        if self._named:
            return NoAnswerError(f"{self.doing} took longer than {self.timeout_s:g} s")
        return LookupTimeoutError(f"{self.doing} took longer than {LOOKUP_S:g} s")

    # -- on the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._finish(self._connect(self._look_up()), None)
        except (OSError, ValueError) as error:  # ValueError: a name that cannot be one
            self._finish(None, error)

    def _finish(self, connection: socket.socket | None, error: Exception | None) -> None:
        with self._lock:
            self._socket = None
            if self._cancelled:
                if connection is not None:
                    connection.close()
                return
            self.connection, self.error = connection, error
        self._on_end()

    def _look_up(self) -> list[tuple[socket.AddressFamily, tuple[object, ...]]]:
        try:
            found = socket.getaddrinfo(self._broker.host, self._broker.port, type=socket.SOCK_STREAM)
        finally:
            self.deadline = time.monotonic() + self.timeout_s + _GRACE_S
            self._named = True
            self._on_named()
        return [(family, address) for family, _, _, _, address in found]

    def _connect(self, addresses: list[tuple[socket.AddressFamily, tuple[object, ...]]]) -> socket.socket:
        """To the first address that takes us; each has its share of the time."""
        end = self.deadline - _GRACE_S
        error: OSError = OSError("the name has no address")
        for place, (family, address) in enumerate(addresses):
            self.doing = f"connecting to {address[0]}"
            share_s = (end - time.monotonic()) / (len(addresses) - place)
            try:
                connection = self._reach(family, address, max(0.001, share_s))
            except OSError as failed:
                error = failed
                if self._cancelled:
                    break
            else:
                return connection if self._context is None else self._secure(connection, self._context, end)
        raise error

    def _reach(
        self, family: socket.AddressFamily, address: tuple[object, ...], share_s: float
    ) -> socket.socket:
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._use(connection)
            connection.settimeout(share_s)
            connection.connect(address)
        except BaseException:
            connection.close()
            raise
        return connection

    def _secure(self, plain: socket.socket, context: ssl.SSLContext, end: float) -> ssl.SSLSocket:
        self.doing = "the TLS handshake"
        # Small packets are not held back until earlier ones are confirmed: with TLS a message and its answer
        # took 44 ms on a loopback interface, instead of 0.4.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.settimeout(max(0.001, end - time.monotonic()))
        try:
            connection = context.wrap_socket(
                plain, server_hostname=self._broker.host, do_handshake_on_connect=False
            )
        except BaseException:
            plain.close()
            raise
        try:
            self._use(connection)
            connection.do_handshake()
        except BaseException:
            connection.close()
            raise
        return connection

    def _use(self, connection: socket.socket) -> None:
        """Let ``cancel`` find it."""
        with self._lock:
            if self._cancelled:
                raise OSError("cancelled")
            self._socket = connection


def dial(broker: Broker, context: ssl.SSLContext | None, timeout_s: float) -> socket.socket:
    """Connect, and wait for it.

    Args:
        broker: where to.
        context: for TLS; None for a plain connection.
        timeout_s: for connecting; the look-up of the address may take ``LOOKUP_S`` in addition.

    Raises:
        OSError: if it fails or takes longer.
        ValueError: if the broker's name cannot be one.
    """
    changed = threading.Event()
    attempt = Dial(broker, context, timeout_s, on_named=changed.set, on_end=changed.set)
    try:
        while not attempt.is_over and (left_s := attempt.deadline - time.monotonic()) > 0:
            changed.wait(left_s)
            changed.clear()
    finally:
        if not attempt.is_over:
            attempt.cancel()
    if attempt.connection is None:
        raise attempt.error or attempt.timeout_error()
    return attempt.connection
