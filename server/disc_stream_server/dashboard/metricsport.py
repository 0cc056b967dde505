"""``/metrics`` as a Starlette route, and an address that serves it alone, without a token."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import AsyncIterator

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from disc_stream.wire.secrecy import is_loopback
from disc_stream_server.dashboard.access import AccessControl, PageAccess
from disc_stream_server.dashboard.connections import Connections
from disc_stream_server.dashboard.listening import GRACE_S, listen, serve_in_thread, web_server
from disc_stream_server.metrics.snapshot import Metrics

PATH = "/metrics"
_CONNECTIONS = 32  # a few scrapers, and whoever tries


def metrics_route(metrics: Metrics | None) -> Route:
    """The route; without metrics it answers 404."""

    async def answer(request: Request) -> Response:
        if metrics is None:
            return PlainTextResponse("Not Found", 404)
        found = await run_in_threadpool(metrics, request.headers.get("accept", ""))
        return Response(found.body, headers={"content-type": found.content_type})

    return Route(PATH, answer)


class MetricsPort:
    """Serves ``/metrics`` and nothing else.

    Args:
        host: address to listen on. On loopback it answers to loopback names only; elsewhere to any name, for
            scrapers name their targets as they please.
        port: TCP port; 0 for one that the system chooses, which the attribute then holds.
        metrics: makes the answer.
    """

    def __init__(self, host: str, port: int, metrics: Metrics) -> None:
        self.host, self.port, self._metrics = host, port, metrics
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._up = threading.Event()

    @property
    def url(self) -> str:
        """What to scrape."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{PATH}"

    def start(self) -> None:
        """Take the port and serve in the background.

        Raises:
            PortInUseError: if it is taken.
            ConfigError: if the address cannot be used.
        """
        self._socket = listen(self.host, self.port)
        self.port = self._socket.getsockname()[1]
        guards = []
        if is_loopback(self.host):
            guards = [Middleware(AccessControl, access=PageAccess(self.host, self.port))]
        web = Starlette(routes=[metrics_route(self._metrics)], middleware=guards, lifespan=self._lifespan)
        self._server = web_server(web, Connections(_CONNECTIONS))
        self._thread = serve_in_thread(self._server, self._socket, "metrics")
        self._up.wait(10)

    def stop(self) -> None:
        """Free the port. May be called twice, or without a start."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(GRACE_S + 4)
        if self._socket is not None:
            self._socket.close()
        self._server = self._thread = self._socket = None

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        self._up.set()
        yield
