"""What one connection to the live page may cost: time without a request, and one of a bounded number.

uvicorn bounds neither: a connection on which no request ever comes is kept for ever. Labels must not depend
on who opens connections to the page: there are never more than so many, and those without a request go first.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from disc_stream_server.openfiles import file_limit

MAX_CONNECTIONS = 512
REQUEST_S = 10.0
"""Seconds within which a request has to be complete, from the opening or from the end of the one before."""

READ_S = 30.0
"""Seconds within which a browser has to read what was sent, before it is cut off."""

MAX_MESSAGE = 16 * 1024
"""Bytes of one message that a WebSocket takes."""

_SHARE = 4  # of the files that the process may have open, the page takes one in so many


class Connections:
    """The open connections of one page.

    Args:
        limit: most of them at a time.
        request_s: time without a request in progress after which one is closed, in seconds.
        read_s: time after which one is closed that does not read what it asked for, in seconds.
    """

    def __init__(
        self, limit: int | None = None, request_s: float = REQUEST_S, read_s: float = READ_S
    ) -> None:
        if limit is None:
            limit = max(8, min(MAX_CONNECTIONS, file_limit() // _SHARE))
        self.limit, self.request_s, self.read_s = limit, request_s, read_s
        self.refused = 0
        self._open: dict[GuardedProtocol | GuardedSocket, None] = {}  # in the order in which they came

    @property
    def backlog(self) -> int:
        """Connections that may wait to be accepted; asyncio accepts so many before any is admitted."""
        return max(4, self.limit // 8)

    @property
    def open(self) -> int:
        """How many there are."""
        return len(self._open)

    def protocol_class(self) -> type[GuardedProtocol]:
        """What uvicorn makes for each connection."""
        return type("GuardedProtocol", (GuardedProtocol,), {"others": self})

    def socket_class(self) -> type[GuardedSocket]:
        """What uvicorn makes of a connection that becomes a WebSocket."""
        return type("GuardedSocket", (GuardedSocket,), {"others": self})

    def admit(self, new: GuardedProtocol) -> bool:
        """Take a connection; with too many, the oldest one without a request makes room for it."""
        if len(self._open) >= self.limit:
            idle = next((one for one in self._open if not one.is_busy), None)
            if idle is None:
                self.refused += 1
                return False
            self.leave(idle)
            idle.transport.abort()
        self._open[new] = None
        return True

    def leave(self, old: GuardedProtocol | GuardedSocket) -> None:
        """It is closed."""
        self._open.pop(old, None)

    def become(self, old: GuardedProtocol, new: GuardedSocket) -> None:
        """A connection goes on as a WebSocket, in its place."""
        self._open.pop(old, None)
        self._open[new] = None


class GuardedProtocol(H11Protocol):
    """An HTTP connection that has to make its requests and read its answers in time."""

    others: Connections
    _deadline: asyncio.TimerHandle | None = None  # for the next request
    _unread: asyncio.TimerHandle | None = None  # for reading what was sent

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered."""
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn has None in it before the first request
        return cycle is not None and not cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Admit the connection, or close it at once."""
        super().connection_made(transport)
        if self.others.admit(self):
            self._wait_for_request()
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Free its place."""
        self.others.leave(self)
        for timer in (self._deadline, self._unread):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """The next request has its own time."""
        self._wait_for_request()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The other side does not read: it is waited for, but not for ever."""
        super().pause_writing()
        self._unread = self.loop.call_later(self.others.read_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """From here on the connection is a WebSocket's."""
        for timer in (self._deadline, self._unread):
            if timer is not None:
                timer.cancel()
        super().handle_websocket_upgrade(event)
        socket = self.transport.get_protocol()
        if isinstance(socket, GuardedSocket):
            self.others.become(self, socket)

    def _wait_for_request(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(self.others.request_s, self._is_late)

    def _is_late(self) -> None:
        if not self.is_busy:
            self.transport.abort()


class GuardedSocket(WebSocketsSansIOProtocol):
    """A WebSocket that has to read what it is sent in time."""

    others: Connections
    is_busy = True
    _unread: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Free its place."""
        self.others.leave(self)
        if self._unread is not None:
            self._unread.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The other side does not read: it is waited for, but not for ever."""
        super().pause_writing()
        self._unread = self.loop.call_later(self.others.read_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
