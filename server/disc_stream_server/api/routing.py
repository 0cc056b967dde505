"""Routes that say which role they need, and ask for it before anything of the request is parsed."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from disc_stream_server.api.auth.roles import Identity, Role
from disc_stream_server.api.problems import MEDIA_TYPE, ApiError
from disc_stream_server.api.schemas.common import Problem

ROLE = "x-role"
"""Field of an operation in the OpenAPI document."""

_WORDS = {
    401: "No token, or one that is not good.",
    403: "The token's role may not do this, or another site's page sent the request.",
    404: "There is no such thing.",
    406: "What this needs is not installed on the server.",
    408: "The body came too slowly.",
    409: "It cannot be done as things are; nothing was changed.",
    412: "It has changed since the revision in If-Match; nothing was changed.",
    413: "The body is too large.",
    422: "The request is not as described here.",
    429: "Too many requests; Retry-After says when to ask again.",
    503: "Not now: the server has just begun, or a store cannot be read or written.",
}


class GuardedRoute(APIRoute):
    """A route that refuses whoever has a smaller role, before the body is read."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler behind the guard."""
        inner = super().get_route_handler()
        needs = needed_role(self)

        async def guarded(request: Request) -> Response:
            if needs is not None:
                require(request.scope["state"]["who"], needs)
            return await inner(request)

        return guarded


def needed_role(route: APIRoute) -> Role | None:
    """The role that a route needs; None for one that is for everybody.

    Raises:
        RuntimeError: if it does not say.
    """
    named = (route.openapi_extra or {}).get(ROLE)
    if named is None:
        raise RuntimeError(f"the route {route.path} names no role")
    return None if named == "none" else Role(named)


def require(who: Identity | None, needs: Role) -> None:
    """Check a role.

    Raises:
        ApiError: 401 or 403.
    """
    if who is None:
        raise ApiError(401, "this needs a token", "Log in", headers={"www-authenticate": "Bearer"})
    if not who.role.includes(needs):
        raise ApiError(
            403, f"this needs the role {needs}, and {who.name} is {who.role}", "Ask an admin of this server"
        )


def make_router(tag: str) -> APIRouter:
    """A router for one kind of things."""
    return APIRouter(route_class=GuardedRoute, tags=[tag])


def needs(role: Role | None, *errors: int, **more: Any) -> dict[str, Any]:
    """Options of a route: its role, and the problems that it may answer with beside those that every one may.

    Args:
        role: None for everybody.
        errors: further status codes.
        more: other options.
    """
    every = {422, 429, 503} | (set() if role is None else {401, 403}) | set(errors)
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    responses = {
        code: {"description": _WORDS[code], "content": content} for code in sorted(every)
    } | more.pop("responses", {})
    extra = {ROLE: "none" if role is None else str(role)}
    if role is None:
        extra["security"] = []  # type: ignore[assignment]
    return {"openapi_extra": extra, "responses": responses, **more}


PROBLEM = Problem
