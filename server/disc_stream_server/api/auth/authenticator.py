"""Finds out who sends a request: by a token, by a browser's login, or because nobody else can reach us."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from starlette.requests import cookie_parser
from starlette.types import Scope

from disc_stream.clock import Clock
from disc_stream.sparselog import SparseLog
from disc_stream.wire.secrecy import is_loopback
from disc_stream_server.api.auth.guesses import Guesses
from disc_stream_server.api.auth.roles import Identity, Role
from disc_stream_server.api.auth.tokens import TokenStore
from disc_stream_server.api.problems import ApiError
from disc_stream_server.dashboard.access import PAGE_COOKIE, PageAccess, header

log = logging.getLogger(__name__)

LOGIN_COOKIE = "disc-stream-login"
_LOCAL = Identity("local", Role.ADMIN)
_ANYBODY = Identity("anybody", Role.VIEWER)


@dataclass(frozen=True, slots=True)
class Presented:
    """What a request shows of who sends it.

    Args:
        secret: a token or a login; "" for nothing.
        by_cookie: whether a browser sent it on its own.
    """

    secret: str
    by_cookie: bool


class Authenticator:
    """Tells who sends a request.

    Without any token, without ``--http-token`` and on loopback only, everybody who reaches us is the person
    at this machine. From the first token on, everybody has to show one.

    Args:
        access: where we listen.
        tokens: known tokens.
        clock: time.
    """

    def __init__(self, access: PageAccess, tokens: TokenStore, clock: Clock) -> None:
        self._access, self.tokens, self._clock = access, tokens, clock
        self._guesses = Guesses(clock.monotonic)
        self._sparse = SparseLog(log, clock.monotonic)

    @property
    def is_open(self) -> bool:
        """Whether nobody has to show a token."""
        here = is_loopback(self._access.host) and not any(not is_loopback(h) for h in self._access.hosts)
        return here and self._access.token is None and not self.tokens.any()

    def identify(self, scope: Scope) -> Identity | None:
        """Who sends a request; None for somebody who has shown nothing.

        Raises:
            ApiError: 401 for a token that is not good, 429 for an address that has shown too many of those.
        """
        shown = presented(scope)
        if self.is_open:
            return _LOCAL
        if not shown.secret:
            return _ANYBODY if self._access.public else None
        return self.check(shown, address_of(scope))

    def check(self, shown: Presented, address: str) -> Identity:
        """Whose token or login this is.

        Raises:
            ApiError: as ``identify``.
        """
        wait_s = self._guesses.wait_s(address, shown.secret)
        if wait_s > 0:
            raise ApiError(
                429, "too many wrong tokens came from this address", "Wait, and check the token",
                headers={"retry-after": str(int(wait_s) + 1)},
            )  # fmt: skip
        found = self._whose(shown)
        if found is None:
            count = self._guesses.wrong(address)
            text = "a token from %s is wrong, has expired or was revoked (%d in a row)"
            self._sparse.warning(address, "token", text, address, count)
            raise ApiError(
                401, "this token is wrong, has expired or was revoked",
                "Ask an operator of this server for another one (disc-stream token add)",
                headers={"www-authenticate": "Bearer"},
            )  # fmt: skip
        self._guesses.right(address, shown.secret)
        return found

    def still_good(self, who: Identity) -> bool:
        """Whether somebody who was identified before may stay: of a connection that lasts."""
        if not who.token:
            return who is not _LOCAL or self.is_open
        return self.tokens.still_good(who.token, self._clock.unix_us())

    def refuse(self, scope: Scope, why: str) -> None:
        """Say in the log that a request was turned away."""
        address = address_of(scope)
        self._sparse.warning(address, why, "a request from %s was refused: %s", address, why)

    def _whose(self, shown: Presented) -> Identity | None:
        now_us = self._clock.unix_us()
        found = self.tokens.of_login(shown.secret, now_us) if shown.by_cookie else None
        found = found or (None if shown.by_cookie else self.tokens.identify(shown.secret, now_us))
        if found is None and self._access.token is not None and self._access.knows(shown.secret):
            return Identity("page", Role.VIEWER, "", shown.by_cookie)
        return found


def presented(scope: Scope) -> Presented:
    """The token of a request, or the login of its cookie."""
    kind, _, value = header(scope, b"authorization").partition(" ")
    if kind.lower() == "bearer" and value.strip():
        return Presented(value.strip(), by_cookie=False)
    cookies = cookie_parser(header(scope, b"cookie"))
    return Presented(cookies.get(LOGIN_COOKIE) or cookies.get(PAGE_COOKIE) or "", by_cookie=True)


def address_of(scope: Scope) -> str:
    """Where a request comes from; a whole network for IPv6, where everybody has many addresses."""
    client = scope.get("client")
    address = str(client[0]) if client else ""
    return ":".join(address.split(":")[:4]) if address.count(":") > 3 else address
