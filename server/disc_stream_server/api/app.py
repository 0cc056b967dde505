"""The API as a part of the server: an observer, and an application beside the live page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from anyio import to_thread
from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import ASGIApp

from disc_stream import __version__
from disc_stream.clock import Clock, SystemClock
from disc_stream.config import ServeConfig
from disc_stream_server.api.audit import AuditLog
from disc_stream_server.api.auth.authenticator import Authenticator
from disc_stream_server.api.auth.roles import Role
from disc_stream_server.api.auth.tokens import TokenStore
from disc_stream_server.api.context import Context
from disc_stream_server.api.gate import Gate
from disc_stream_server.api.guard import PREFIX, ApiGuard
from disc_stream_server.api.limits import RateLimit
from disc_stream_server.api.live.feed import LiveLabel
from disc_stream_server.api.live.hub import LiveHub
from disc_stream_server.api.live.table import LiveTable
from disc_stream_server.api.offering import Shelf
from disc_stream_server.api.parts import Parts
from disc_stream_server.api.problems import add_handlers
from disc_stream_server.api.routes.bundles import bundle_routes
from disc_stream_server.api.routes.clusters import cluster_routes
from disc_stream_server.api.routes.deadletters import dead_letter_routes
from disc_stream_server.api.routes.devices import device_routes
from disc_stream_server.api.routes.health import health_routes
from disc_stream_server.api.routes.history import history_routes
from disc_stream_server.api.routes.live import live_routes
from disc_stream_server.api.routes.models import model_routes, retraining_routes
from disc_stream_server.api.routes.rejections import rejection_routes
from disc_stream_server.api.routes.session import session_routes, token_routes
from disc_stream_server.api.routing import GuardedRoute, make_router, needed_role, needs
from disc_stream_server.api.schemas.common import Problem
from disc_stream_server.dashboard.access import Guard, PageAccess
from disc_stream_server.storage.notes import Notes
from disc_stream_server.storage.people import PeopleStore

CHANGES_SHARE = 5
"""A client may change something once where it may ask so many times."""
THREADS = 8
"""Requests that read a store at a time; more wait."""

_DESCRIPTION = (
    "Live activity labels of wearables. Send `Authorization: Bearer TOKEN` (`disc-stream token add` makes "
    "one); on a server that listens on loopback only, and has no tokens, nothing needs to be sent. A role "
    "may do what those before it may: device, viewer, operator, admin. Times are Unix microseconds. "
    "Lists come in pages: give `next` as `cursor` for the next one. Errors are problems (RFC 9457) with a "
    "`remedy`."
)


class Api:
    """Serves ``/api/v1``; its methods as an observer are O(1) and never block.

    Args:
        config: of the server.
        state: the state folder.
        access: where we listen.
        parts: of the running server.
        clock: time.
    """

    asgi: ASGIApp
    """The application; once it is open, like the rest."""
    guard: Guard
    """Who may see the page as well."""

    def __init__(
        self, config: ServeConfig, state: Path, access: PageAccess, parts: Parts, clock: Clock | None = None
    ) -> None:
        self._config, self._state, self._access, self._parts = config, state, access, parts
        self._clock = clock = clock or SystemClock()
        self._table = LiveTable(clock)
        # As an observer, on the labelling thread. Bound, not wrapped: they are called for every message.
        self.on_batch, self.on_label = self._table.on_batch, self._table.on_label
        self.on_status, self.on_problem = self._table.on_status, self._table.on_problem
        self.on_forget = self._table.on_forget
        self._people: PeopleStore | None = None
        self._hub: LiveHub | None = None

    def open(self) -> None:
        """Open what people say, in the state folder, which must be there; before requests are taken.

        Raises:
            StorageError: if it cannot be read or written.
        """
        clock, access = self._clock, self._access
        people = self._people = PeopleStore(self._state)
        notes, audit = Notes(people), AuditLog(people)
        authenticator = Authenticator(access, TokenStore(people), clock)
        hub = self._hub = LiveHub(
            self._table, clock, still_good=authenticator.still_good, tagged_with=_tagged_with(notes)
        )
        routes = make_routes()
        routes.state.context = Context(
            self._config, self._state, self._parts, authenticator, notes, audit, hub,
            Shelf(self._state / "bundles"), clock,
        )  # fmt: skip
        per_s = self._config.api_requests_s
        limits = (RateLimit(per_s, clock.monotonic), RateLimit(per_s / CHANGES_SHARE, clock.monotonic))
        self.guard = ApiGuard(authenticator, clock)
        self.asgi = Gate(routes, access, authenticator, audit, limits, clock)

    async def run(self) -> None:
        """Send what happens to those who look on, until cancelled."""
        to_thread.current_default_thread_limiter().total_tokens = THREADS
        if self._hub is not None:
            await self._hub.run()

    def close(self) -> None:
        """End open streams."""
        if self._hub is not None:
            self._hub.close()

    def release(self) -> None:
        """Close the files; may be called twice, or without ``open``."""
        people, self._people = self._people, None
        if people is not None:
            people.close()


def make_routes() -> FastAPI:
    """All routes, without a server behind them: enough for the OpenAPI document."""
    app = FastAPI(
        title="disc-stream", version=__version__, openapi_url=None, docs_url=None, redoc_url=None,
        description=_DESCRIPTION, redirect_slashes=False, strict_content_type=True,
    )  # fmt: skip
    app.router.route_class = GuardedRoute
    for router in _routers():
        app.include_router(router)
    add_handlers(app)
    document: list[bytes] = []

    def write_document() -> bytes:
        if not document:
            document.append(msgspec.json.encode(openapi_document(app)))
        return document[0]

    app.include_router(_document_routes(write_document))
    for route in app.routes:
        if isinstance(route, APIRoute):
            needed_role(route)  # or it fails here, and not when somebody asks
    return app


def _routers() -> list[APIRouter]:
    return [
        health_routes(), session_routes(), device_routes(), history_routes(), rejection_routes(),
        live_routes(), cluster_routes(), bundle_routes(), model_routes(), retraining_routes(),
        dead_letter_routes(), token_routes(),
    ]  # fmt: skip


def _document_routes(write: Callable[[], bytes]) -> APIRouter:
    router = make_router("health")

    @router.get(
        "/openapi.json",
        **needs(
            Role.VIEWER,
            responses={
                200: {
                    "description": "OpenAPI 3.1.",
                    "content": {"application/json": {"schema": {"type": "object"}}},
                }
            },
        ),
        response_class=Response,
    )
    def openapi() -> Response:
        """This document."""
        return Response(write(), media_type="application/json")

    return router


def openapi_document(app: FastAPI | None = None) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    app = app or make_routes()
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes,
        openapi_version="3.1.0", servers=[{"url": PREFIX}],
    )  # fmt: skip
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                _without_null(parameter)
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):  # FastAPI's own; our errors are problems
        schemas.pop(unused, None)
    _, live = msgspec.json.schema_components([LiveLabel], ref_template="#/components/schemas/{name}")
    schemas |= live
    definition = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas |= definition.pop("$defs", {})
    schemas["Problem"] = definition
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer"},
        "login": {"type": "apiKey", "in": "cookie", "name": "disc-stream-login"},
    }
    document["security"] = [{"token": []}, {"login": []}]
    return document


def _without_null(parameter: dict[str, Any]) -> None:
    """What is left out of an address or a header is not there; it cannot be null."""
    schema = parameter["schema"]
    kinds = [one for one in schema.pop("anyOf", ()) if one.get("type") != "null"]
    for one in kinds[:1]:
        schema |= one


def _tagged_with(notes: Notes) -> Callable[[frozenset[str]], frozenset[str]]:
    def tagged(tags: frozenset[str]) -> frozenset[str]:
        if not tags:
            return frozenset()
        return frozenset(device for device, own in notes.all_tags().items() if tags & set(own))

    return tagged
