"""Logging in and out, who one is, tokens, and the audit log."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response

from disc_stream_server.api.auth.authenticator import LOGIN_COOKIE, Presented, address_of
from disc_stream_server.api.auth.roles import Role
from disc_stream_server.api.auth.tokens import TokenInfo
from disc_stream_server.api.context import context_of, note, who_asks
from disc_stream_server.api.paging import Cursor, CursorText, Limit, Page
from disc_stream_server.api.problems import ApiError
from disc_stream_server.api.routing import make_router, needs
from disc_stream_server.api.schemas.common import Me
from disc_stream_server.api.schemas.operations import AuditOut, LogIn, NewToken, TokenMade, TokenOut

TokenPath = Annotated[str, Path(pattern="^[0-9a-f]{12}$", description="Id of a token.")]


def session_routes() -> APIRouter:
    """Who one is."""
    router = make_router("session")

    @router.post("/login", **needs(None, 401), response_model=Me)
    def log_in(body: LogIn, request: Request, response: Response) -> Any:
        """Exchange a token for a cookie that scripts cannot read, for browsers."""
        context = context_of(request)
        auth, now_us = context.authenticator, context.clock.unix_us()
        who = auth.check(Presented(body.token.strip(), by_cookie=False), address_of(request.scope))
        if who.token:
            value, until_us = auth.tokens.log_in(who.token, now_us)
            response.set_cookie(
                LOGIN_COOKIE, value, httponly=True, samesite="lax", path="/",
                max_age=max(0, (until_us - now_us) // 1_000_000),
                secure=request.headers.get("origin", "").startswith("https:"),
            )  # fmt: skip
        return {"name": who.name, "role": who.role, "token": who.token}

    @router.post("/logout", **needs(Role.VIEWER), status_code=204)
    def log_out(request: Request) -> Response:
        """End this browser's login."""
        login = request.cookies.get(LOGIN_COOKIE)
        if login:
            context_of(request).authenticator.tokens.log_out(login)
        response = Response(status_code=204)
        response.delete_cookie(LOGIN_COOKIE, httponly=True, samesite="lax", path="/")
        return response

    @router.get("/me", **needs(Role.VIEWER), response_model=Me)
    def me(request: Request) -> Any:
        """Who asks, and what that person may do."""
        who = who_asks(request)
        return {"name": who.name, "role": who.role, "token": who.token}

    return router


def token_routes() -> APIRouter:
    """Tokens and the audit log."""
    router = make_router("administration")

    @router.get("/tokens", **needs(Role.ADMIN), response_model=Page[TokenOut])
    def list_tokens(request: Request, limit: Limit = 100, cursor: CursorText = None) -> Any:
        """All tokens, also those that have ended; never their secrets."""
        pages = Cursor("tokens")
        after = pages.read(cursor, str, "")
        found = context_of(request).authenticator.tokens.list(after=after, limit=limit + 1)
        return pages.page(found, limit, lambda one: one.id)

    @router.post("/tokens", **needs(Role.ADMIN, 409), response_model=TokenMade, status_code=201)
    def make_token(body: NewToken, request: Request) -> Any:
        """Make a token. Its secret is in this answer and nowhere else."""
        context, who = context_of(request), who_asks(request)
        tokens, now_us = context.authenticator.tokens, context.clock.unix_us()
        if context.authenticator.is_open:
            raise ApiError(
                409, "the first token locks everybody out who has none, so it is made at the machine",
                "Run: disc-stream token add",
            )  # fmt: skip
        token, info = tokens.add(body.name, body.role, by=who.name, now_us=now_us, expires_us=body.expires_us)
        note(request, token=info.id, name=info.name, role=str(info.role))
        return {**_facts(info), "token": token}

    @router.delete("/tokens/{token}", **needs(Role.ADMIN, 404), response_model=TokenOut)
    def revoke_token(token: TokenPath, request: Request) -> Any:
        """Revoke a token; what uses it is refused from now on, open connections end within seconds."""
        context = context_of(request)
        info = context.authenticator.tokens.revoke(token, context.clock.unix_us())
        note(request, token=info.id, name=info.name)
        return info

    @router.get("/audit", **needs(Role.ADMIN), response_model=Page[AuditOut])
    def audit(
        request: Request,
        limit: Limit = 100,
        cursor: CursorText = None,
        who: Annotated[str | None, Query(max_length=64, description="Only what this name did.")] = None,
    ) -> Any:
        """Every change, the newest first."""
        pages = Cursor("audit", who)
        before = pages.read(cursor, int, 2**53)
        found = context_of(request).audit.entries(before=min(before, 2**53), who=who, limit=limit + 1)
        return pages.page(found, limit, lambda one: one.number)

    return router


def _facts(info: TokenInfo) -> dict[str, Any]:
    return {name: getattr(info, name) for name in TokenOut.model_fields}
