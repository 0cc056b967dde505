"""The live page as a part of the server: an observer with its own thread and port."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from dataclasses import replace

import uvicorn

from disc_stream.errors import ConfigError, PortInUseError
from disc_stream_server.dashboard.access import PageAccess
from disc_stream_server.dashboard.board import Board, Readiness
from disc_stream_server.dashboard.connections import MAX_MESSAGE, Connections
from disc_stream_server.dashboard.hub import Hub
from disc_stream_server.dashboard.view import Annotate
from disc_stream_server.dashboard.web import Mounted, PageInfo, make_web_app

_GRACE_S = 1  # for open streams, after they were asked to end


class Dashboard:
    """Serves the live page; its methods as an observer are O(1) and never block.

    Args:
        access: where to listen, and who may see the page; default: this machine, on port 8765. With port 0
            the system chooses one, which the attribute ``port`` then holds.
        broker: address shown on the page, without credentials.
        prefix: topic prefix shown on the page.
        annotate: text to show beside a device's label; called on the page's thread.
        ready: for ``/readyz`` and the page: None if messages become labels now, else what the server waits
            for; called on the page's thread. Default: goes by the last status.
        connections: bounds of its connections.
    """

    def __init__(
        self,
        access: PageAccess | None = None,
        *,
        broker: str = "",
        prefix: str = "",
        annotate: Annotate | None = None,
        ready: Readiness | None = None,
        connections: Connections | None = None,
    ) -> None:
        self._access = access = access or PageAccess()
        self.host, self.port = access.host, access.port
        self._connections = connections or Connections()
        self._info = PageInfo(broker=broker, prefix=prefix)
        self._board = Board(annotate=annotate, ready=ready)
        self._hub = Hub(self._board)
        self._mounted: Mounted | None = None
        # As an observer, on the labelling thread. Bound, not wrapped: they are called for every message.
        self.on_batch, self.on_label = self._board.on_batch, self._board.on_label
        self.on_status, self.on_problem = self._board.on_status, self._board.on_problem
        self.on_forget = self._board.on_forget
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._up = threading.Event()
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def mount(self, mounted: Mounted) -> None:
        """Serve something else on the same port, such as the API; before ``start``."""
        self._mounted = mounted

    # -- life ---------------------------------------------------------------------------------------

    def bind(self) -> None:
        """Take the port, so that an occupied one is known before anything else has started.

        Raises:
            PortInUseError: if it is taken.
            ConfigError: if the address is not one of this machine's, or the port needs rights we lack.
        """
        if self._socket is not None:
            return
        try:
            self._socket = _listen(self.host, self.port)
        except OSError as error:
            where = f"{self.host}:{self.port}"
            if error.errno == errno.EADDRINUSE:
                raise PortInUseError(
                    f"port {self.port} on {self.host} is already in use",
                    remedy="Choose another one, or stop what listens there",
                ) from error
            raise ConfigError(
                f"cannot listen on {where}: {error.strerror or error}",
                remedy="Use an address of this machine and a port that you may open, such as 127.0.0.1:8765",
            ) from error
        self.port = self._socket.getsockname()[1]

    def start(self) -> None:
        """Bind (if not done yet) and serve in a thread.

        Raises:
            PortInUseError: if the port is taken.
            ConfigError: if the address cannot be used.
        """
        self.bind()
        web = make_web_app(
            self._hub, access=self._access, info=self._info, on_loop=self._note_loop, mounted=self._mounted
        )
        config = uvicorn.Config(
            web,
            http=self._connections.protocol_class(),
            backlog=self._connections.backlog,
            log_config=None,
            access_log=False,
            lifespan="on",
            ws="none" if self._mounted is None else self._connections.socket_class(),
            ws_max_size=MAX_MESSAGE,
            ws_per_message_deflate=False,  # a few bytes of it can stand for very many
            server_header=False,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=_GRACE_S,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="dashboard", daemon=True
        )
        self._thread.start()
        self._up.wait(10)

    def stop(self) -> None:
        """End open streams, free the port, end the thread. May be called twice, or without a start."""
        server, thread, loop = self._server, self._thread, self._loop
        if server is not None and thread is not None:
            server.should_exit = True
            if loop is not None and thread.is_alive():
                loop.call_soon_threadsafe(self._close_streams)
            thread.join(_GRACE_S + 4)
        if self._socket is not None:
            self._socket.close()
        self._server = self._thread = self._loop = self._socket = None

    def describe(self, *, broker: str, notice: str) -> None:
        """Set the broker's address and the notice that the page shows, before ``start``."""
        self._info = replace(self._info, broker=broker, notice=notice)

    @property
    def url(self) -> str:
        """Where the page is."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def _close_streams(self) -> None:
        self._hub.close()
        if self._mounted is not None:
            self._mounted.close()

    def _note_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._up.set()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named TCP, or asyncio leaves Nagle's algorithm on, and short answers wait 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    listener.set_inheritable(False)
    return listener
