"""What every request to the API passes before a route sees it: who asks, from where, how often; the audit."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from anyio import to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from disc_stream.clock import Clock
from disc_stream.errors import DiscStreamError
from disc_stream_server.api.audit import AuditLog
from disc_stream_server.api.auth.authenticator import Authenticator, address_of
from disc_stream_server.api.auth.roles import Identity
from disc_stream_server.api.limits import RateLimit, read_body
from disc_stream_server.api.problems import ApiError, of_ours, problem
from disc_stream_server.dashboard.access import PageAccess, header

log = logging.getLogger(__name__)

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
PUBLIC = frozenset({"/login"})
"""Paths, below that of the API, for those who have shown nothing yet."""


class Gate:
    """The outermost part of the API.

    Args:
        app: the routes.
        access: names under which we answer.
        authenticator: tells who asks.
        audit: where changes are written down.
        limits: of requests, and of changes, for each client.
        clock: time.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: PageAccess,
        authenticator: Authenticator,
        audit: AuditLog,
        limits: tuple[RateLimit, RateLimit],
        clock: Clock,
    ) -> None:
        self._app, self._access, self._authenticator, self._audit = app, access, authenticator, audit
        self._requests, self._changes = limits
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or one WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        answered = _Answered(send)
        try:
            await self._admit(scope, receive, answered)
        except ApiError as error:
            await self._refuse(error, scope, receive, answered)
        except DiscStreamError as error:
            await self._refuse(of_ours(error), scope, receive, answered)

    async def _admit(self, scope: Scope, receive: Receive, send: _Answered) -> None:
        is_change = scope["type"] == "http" and scope["method"] not in SAFE
        if is_change or scope["type"] == "websocket":
            self._check_origin(scope)
        try:
            who = self._authenticator.identify(scope)
        except ApiError:
            if _path(scope) not in PUBLIC:  # a stale cookie must not keep anybody from logging in
                raise
            who = None
        if who is None and _path(scope) not in PUBLIC:
            raise ApiError(
                401, "this needs a token", "Send Authorization: Bearer TOKEN, or log in",
                headers={"www-authenticate": "Bearer"},
            )  # fmt: skip
        self._check_rate(who, scope, is_change)
        scope.setdefault("state", {})
        scope["state"] |= {"who": who, "address": address_of(scope), "audit": {}}
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        if not is_change:
            await self._app(scope, receive, send)
            return
        body = await read_body(receive, header(scope, b"content-length"))
        if who is None:
            await self._app(scope, body, send)
        else:
            await self._audited(who, scope, body, send)

    def _check_origin(self, scope: Scope) -> None:
        """Refuse what a page of somebody else makes a browser send (CSRF, cross-site WebSockets)."""
        origin, site = header(scope, b"origin"), header(scope, b"sec-fetch-site")
        if not origin and site in ("", "same-origin", "none"):
            return
        parts = urlsplit(origin) if origin and origin != "null" else None
        own = header(scope, b"host").lower()
        if parts is not None and site in ("", "same-origin"):
            name = (parts.hostname or "").lower()
            behind_proxy = name in {known.lower() for known in self._access.hosts}
            if parts.netloc.lower() == own or behind_proxy:
                return
        self._authenticator.refuse(scope, "it came from the page of another site")
        raise ApiError(403, "this request comes from the page of another site", "Use the page of this server")

    def _check_rate(self, who: Identity | None, scope: Scope, is_change: bool) -> None:
        client = (who.token if who is not None else "") or address_of(scope)
        wait_s = self._requests.take(client)
        if is_change:
            wait_s = max(wait_s, self._changes.take(client))
        if wait_s > 0:
            raise ApiError(
                429, "too many requests", "Ask less often", headers={"retry-after": str(int(wait_s) + 1)}
            )

    async def _audited(self, who: Identity, scope: Scope, receive: Receive, send: _Answered) -> None:
        target = scope["path"][:500]
        now_us, address = self._clock.unix_us(), address_of(scope)
        number = await to_thread.run_sync(self._audit.begin, who, address, target, now_us)
        status = 500
        try:
            await self._app(scope, receive, send)
            status = send.status or 500
        except ApiError as error:
            status = error.status
            raise
        finally:
            route: Any = scope.get("route")
            action = f"{scope['method']} {getattr(route, 'path', '')}"
            detail: Mapping[str, Any] = scope["state"]["audit"]
            await to_thread.run_sync(self._audit.end, number, action, dict(detail), status)

    async def _refuse(self, error: ApiError, scope: Scope, receive: Receive, send: _Answered) -> None:
        if send.status is not None:
            log.warning("an answer of the API was cut off: %s", error.detail)
            return
        if scope["type"] == "websocket" and "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008})
            return
        await problem(error)(scope, receive, send)


class _Answered:
    """Passes messages on, and remembers whether an answer has begun.

    Args:
        send: of the server.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status: int | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
        elif message["type"] == "websocket.accept":
            self.status = 101
        await self._send(message)


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
