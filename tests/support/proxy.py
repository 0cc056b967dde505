"""A cable between two programs that can be cut, also in the middle of a packet."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading


class Proxy:
    """Forwards TCP connections on loopback to a port, until they are cut.

    Args:
        target: port to forward to.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._waker, self._wake = socket.socketpair()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._waker, selectors.EVENT_READ)
        self._cut = self._closing = False
        self._cut_done = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """End every connection with a reset, wherever it is."""
        self._cut_done.clear()
        self._cut = True
        self._wake.send(b"x")
        assert self._cut_done.wait(60)

    def close(self) -> None:
        """End it."""
        self._closing = True
        self._wake.send(b"x")
        self._thread.join(5)

    def _run(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._waker:
                    self._waker.recv(64)
                elif key.fileobj in self._pairs:
                    self._forward(key.fileobj)  # type: ignore[arg-type]
            if self._cut:
                for one in list(self._pairs):
                    self._drop(one)
                self._cut = False
                self._cut_done.set()
        for one in list(self._pairs):
            self._drop(one)
        for one in (self._listener, self._waker, self._wake):
            one.close()
        self._selector.close()

    def _accept(self) -> None:
        inner, _ = self._listener.accept()
        try:
            outer = socket.create_connection(("127.0.0.1", self._target), 5)
        except OSError:
            inner.close()
            return
        for one, other in ((inner, outer), (outer, inner)):
            self._pairs[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _forward(self, one: socket.socket) -> None:
        try:
            data = one.recv(4096)
            if data:
                self._pairs[one].sendall(data)
                return
        except OSError:
            pass
        self._drop(one)

    def _drop(self, one: socket.socket) -> None:
        other = self._pairs.get(one)
        for end in (one, other):
            if end is not None and self._pairs.pop(end, None) is not None:
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(end)
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset
                end.close()
