"""HTTP routes of the live page."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from typing import Protocol

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from disc_stream_server.dashboard.access import AccessControl, Guard, PageAccess
from disc_stream_server.dashboard.files import static_routes
from disc_stream_server.dashboard.hub import Hub, dumps
from disc_stream_server.dashboard.metricsport import metrics_route
from disc_stream_server.dashboard.view import Query
from disc_stream_server.metrics.snapshot import Metrics

_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]


@dataclass(frozen=True, slots=True)
class PageInfo:
    """Fixed facts that the page shows.

    Args:
        broker: address, without credentials.
        prefix: topic prefix.
        notice: a sentence to keep on the page, such as where the data comes from.
    """

    broker: str = ""
    prefix: str = ""
    notice: str = ""


class SafeHeaders:
    """Adds the security headers to every answer.

    Args:
        app: the application inside.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] in ("http", "websocket") else send)


class Mounted(Protocol):
    """An application beside the page, on the same port; ``api.Api`` is one."""

    guard: Guard
    """Who may see the page as well."""
    asgi: ASGIApp
    """The application."""

    async def run(self) -> None:
        """Work on the event loop until cancelled."""
        ...

    def close(self) -> None:
        """End open streams, on the event loop."""
        ...


def make_web_app(
    hub: Hub,
    *,
    access: PageAccess,
    info: PageInfo,
    on_loop: Callable[[], None],
    mounted: Mounted | None = None,
    metrics: Metrics | None = None,
) -> Starlette:
    """The ASGI application.

    Args:
        hub: source of states and updates.
        access: who may see the page.
        info: fixed facts.
        on_loop: called once on the event loop before requests are taken.
        mounted: what else is served.
        metrics: answers ``/metrics``; None for 404.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        on_loop()
        tasks = [asyncio.create_task(hub.run())]
        if mounted is not None:
            tasks.append(asyncio.create_task(mounted.run()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    api = _Api(hub, info)
    return Starlette(
        routes=[
            *static_routes(has_api=mounted is not None),
            Route("/api/page", api.page),
            Route("/api/state", api.state),
            Route("/api/stream", api.stream),
            Route("/healthz", api.healthz),
            Route("/readyz", api.readyz),
            metrics_route(metrics),
            *([] if mounted is None else [_AnyPath(mounted.guard.path, mounted.asgi)]),
        ],
        middleware=[
            Middleware(SafeHeaders),
            Middleware(AccessControl, access=access, guard=None if mounted is None else mounted.guard),
        ],
        lifespan=lifespan,
    )


class _AnyPath(Mount):
    """A mounted application that also answers for paths with line breaks, unlike Starlette's own."""

    def __init__(self, path: str, app: ASGIApp) -> None:
        super().__init__(path, app)
        self.path_regex = re.compile(self.path_regex.pattern, re.DOTALL)


class _Api:
    """Answers of the JSON and event routes."""

    def __init__(self, hub: Hub, info: PageInfo) -> None:
        self._hub, self._info = hub, info

    async def page(self, _request: Request) -> Response:
        """Facts that do not change while the server runs."""
        return JSONResponse(asdict(self._info))

    async def state(self, request: Request) -> Response:
        """What the page shows, once; the first 200 devices that match the query."""
        body = {"page": asdict(self._info), **self._hub.state(_query(request))}
        return Response(dumps(body), media_type="application/json")

    async def stream(self, request: Request) -> Response:
        """The same as server-sent events."""
        address = request.client.host if request.client else ""
        if not self._hub.has_room_for(address):
            return PlainTextResponse("Too many open pages.\n", 503, headers={"retry-after": "10"})
        return StreamingResponse(self._hub.events(_query(request), address), media_type="text/event-stream")

    async def healthz(self, _request: Request) -> Response:
        """Whether this process answers at all."""
        return JSONResponse({"status": "alive"})

    async def readyz(self, _request: Request) -> Response:
        """Whether messages become labels now."""
        waiting_for = self._hub.board.ready()
        if waiting_for is None:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready", "waiting_for": waiting_for}, 503)


def _query(request: Request) -> Query:
    """``filter``: words separated by spaces; ``unlabelled=1``: only devices with a problem."""
    asked = request.query_params
    return Query.parse(asked.get("filter", ""), unlabelled=asked.get("unlabelled") == "1")
