"""The live page as a part of the server: an observer with its own thread and port."""

from __future__ import annotations

import asyncio
import socket
import threading

import uvicorn

from disc_stream_server.dashboard.access import PageAccess
from disc_stream_server.dashboard.board import Board, Readiness
from disc_stream_server.dashboard.connections import Connections
from disc_stream_server.dashboard.hub import Hub
from disc_stream_server.dashboard.listening import GRACE_S, listen, serve_in_thread, web_server
from disc_stream_server.dashboard.view import Annotate
from disc_stream_server.dashboard.web import Mounted, PageInfo, make_web_app
from disc_stream_server.metrics.snapshot import Metrics


class Dashboard:
    """Serves the live page; its methods as an observer are O(1) and never block.

    Args:
        access: where to listen, and who may see the page; default: this machine, on port 8765. With port 0
            the system chooses one, which the attribute ``port`` then holds.
        info: what stands on the page at all times.
        annotate: text to show beside a device's label; called on the page's thread.
        ready: for ``/readyz`` and the page: None if messages become labels now, else what the server waits
            for; called on the page's thread. Default: goes by the last status.
        connections: bounds of its connections.
        listener: a socket that listens already, in place of the address of ``access``.
    """

    def __init__(
        self,
        access: PageAccess | None = None,
        *,
        info: PageInfo | None = None,
        annotate: Annotate | None = None,
        ready: Readiness | None = None,
        connections: Connections | None = None,
        listener: socket.socket | None = None,
    ) -> None:
        self._access = access = access or PageAccess()
        self.host, self.port = access.host, access.port
        self._connections = connections or Connections()
        self._info = info or PageInfo()
        self._board = Board(annotate=annotate, ready=ready)
        self._hub = Hub(self._board)
        self._mounted: Mounted | None = None
        # As an observer, on the labelling thread. Bound, not wrapped: they are called for every message.
        self.on_batch, self.on_label = self._board.on_batch, self._board.on_label
        self.on_status, self.on_problem = self._board.on_status, self._board.on_problem
        self.on_forget = self._board.on_forget
        self._metrics: Metrics | None = None
        self._socket = listener
        if listener is not None:
            self.host, self.port = listener.getsockname()[:2]
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
        self._socket = listen(self.host, self.port)
        self.port = self._socket.getsockname()[1]

    def start(self) -> None:
        """Bind (if not done yet) and serve in a thread.

        Raises:
            PortInUseError: if the port is taken.
            ConfigError: if the address cannot be used.
        """
        self.bind()
        assert self._socket is not None  # noqa: S101 - it was just taken
        web = make_web_app(
            self._hub,
            access=self._access,
            info=self._info,
            on_loop=self._note_loop,
            mounted=self._mounted,
            metrics=self._metrics,
        )
        self._server = web_server(web, self._connections, sockets=self._mounted is not None)
        self._thread = serve_in_thread(self._server, self._socket, "dashboard")
        self._up.wait(10)

    def stop(self) -> None:
        """End open streams, free the port, end the thread. May be called twice, or without a start."""
        server, thread, loop = self._server, self._thread, self._loop
        if server is not None and thread is not None:
            server.should_exit = True
            if loop is not None and thread.is_alive():
                loop.call_soon_threadsafe(self._close_streams)
            thread.join(GRACE_S + 4)
        if self._socket is not None:
            self._socket.close()
        self._server = self._thread = self._loop = self._socket = None

    def serve_metrics(self, metrics: Metrics) -> None:
        """Answer ``/metrics``, too; before ``start``."""
        self._metrics = metrics

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
