"""Who may see the live page: names under which it answers, and a token where other machines reach it."""

from __future__ import annotations

import hmac
import ipaddress
import socket
import string
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs

from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from disc_stream.errors import ConfigError
from disc_stream.wire.secrecy import is_loopback, read_secret

MIN_TOKEN = 16  # characters: more than can be guessed over a network
_SIGNS = frozenset(string.ascii_letters + string.digits + "-._~")  # the same in a URL, a header and a cookie
PAGE_COOKIE = "disc-stream-token"
_PROBES = frozenset({"/healthz", "/readyz"})  # what orchestrators ask; they name no device


@dataclass(frozen=True, slots=True)
class PageAccess:
    """Where the page listens, and for whom.

    Args:
        host: address that is listened on.
        port: TCP port.
        hosts: further names under which it answers, of a proxy in front of it for example.
        token: what a browser must know; None for nobody in particular.
        public: whether others than this machine may see the page without a token.
        tokens: whether there are tokens of the API, which open the page as well.

    Raises:
        ConfigError: if other machines could see the page and neither a token nor ``public`` is given.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    hosts: tuple[str, ...] = ()
    token: str | None = None
    public: bool = False
    tokens: bool = False

    def __post_init__(self) -> None:
        if not is_loopback(self.host) and self.token is None and not (self.public or self.tokens):
            raise ConfigError(
                f"the page on {self.host!r} would show everybody who reaches this machine what people do",
                remedy="Give --http-token FILE with a secret that viewers must know, or --http-public if "
                "everybody may see it, or make tokens (disc-stream token add); else listen on 127.0.0.1",
            )

    def answers_to(self, name: str) -> bool:
        """Whether a Host header names this page.

        The page of somebody else whose name was made to lead here (DNS rebinding) does not; addresses cannot
        be made to lead elsewhere.
        """
        if is_loopback(name) or name.lower() in {known.lower() for known in self.hosts}:
            return True
        return not is_loopback(self.host) and (_is_address(name) or name.lower() == _own_name())

    def knows(self, given: str | None) -> bool:
        """Whether what a browser gives is the token."""
        if self.token is None:
            return True
        return given is not None and hmac.compare_digest(given.encode(), self.token.encode())


def read_token(file: Path) -> str:
    """The token in the first line of a file.

    Raises:
        ConfigError: if it cannot be read, or its content cannot be a token.
    """
    token = read_secret(str(file), "token file").strip()
    if len(token) < MIN_TOKEN or not all(sign in _SIGNS for sign in token):
        raise ConfigError(
            f"what is in the token file {str(file)!r} cannot be a token",
            remedy=f"It needs at least {MIN_TOKEN} letters, digits, - . _ or ~: openssl rand -hex 24",
        )
    return token


class Guard(Protocol):
    """Knows tokens and logins of the API; ``api.guard.ApiGuard`` is one."""

    path: str
    """Below it, requests are looked at by the API itself."""

    def admits(self, scope: Scope) -> bool:
        """Whether somebody may see the page."""
        ...

    def log_in(self, token: str, scope: Scope) -> Response | None:
        """What is answered to a browser that gives a token in the page's address; None if it is not good."""
        ...


class AccessControl:
    """Lets requests through to those who may see the page.

    A browser gives the token once, as ``/?token=…``, and keeps it as a cookie that scripts cannot read;
    programs send ``Authorization: Bearer …``.

    Args:
        app: the application inside.
        access: who may.
        guard: that of the API, if there is one.
    """

    def __init__(self, app: ASGIApp, access: PageAccess, guard: Guard | None = None) -> None:
        self._app, self._access, self._guard = app, access, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        answer = self._refusal(scope) if scope["type"] in ("http", "websocket") else None
        await (self._app if answer is None else answer)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        """What is answered in place of the page; None to go on."""
        access = self._access
        name = _host_of(header(scope, b"host"))
        if not access.answers_to(name):
            if is_loopback(access.host):
                return PlainTextResponse("This page answers to loopback names only.\n", 421)
            return PlainTextResponse("This page does not answer to that name. See --http-host.\n", 421)
        guard = self._guard
        if scope["path"] in _PROBES or (guard is not None and scope["path"].startswith(guard.path)):
            return None
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("token", [None])[-1]
        if asked is not None and scope["path"] == "/" and not self._knows_nobody():
            return self._log_in(asked, scope)
        return None if self._admits(scope) else _unauthorized()

    def _knows_nobody(self) -> bool:
        return self._access.token is None and self._guard is None

    def _admits(self, scope: Scope) -> bool:
        access, guard = self._access, self._guard
        if guard is not None and guard.admits(scope):
            return True
        if access.token is None:
            return guard is None
        bearer = header(scope, b"authorization").partition(" ")[2].strip() or None
        cookie = cookie_parser(header(scope, b"cookie")).get(PAGE_COOKIE)
        return access.knows(bearer) or access.knows(cookie)

    def _log_in(self, given: str, scope: Scope) -> Response:
        if self._guard is not None and (answer := self._guard.log_in(given, scope)) is not None:
            return answer
        if self._access.token is None or not self._access.knows(given):
            return _unauthorized()
        answer = RedirectResponse("/", 303)  # so that the token is not in the address for long
        answer.set_cookie(PAGE_COOKIE, given, httponly=True, samesite="lax", max_age=30 * 86_400)
        return answer


def _unauthorized() -> Response:
    words = "This page needs its token: open it as /?token=... (see --http-token).\n"
    return PlainTextResponse(words, 401, headers={"www-authenticate": "Bearer"})


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


@cache
def _own_name() -> str:
    """This machine's, as it calls itself; a look-up of its full name could take seconds."""
    return socket.gethostname().lower()


def header(scope: Scope, name: bytes) -> str:
    """A header of a request; "" if it is not there."""
    value: str = next((v.decode("latin-1") for k, v in scope["headers"] if k == name), "")
    return value


def _host_of(value: str) -> str:
    if value.startswith("["):
        return value[1:].partition("]")[0]
    return value.rpartition(":")[0] if ":" in value else value
