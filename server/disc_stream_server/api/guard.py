"""Lets whom the API knows see the page as well."""

from __future__ import annotations

from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from disc_stream.clock import Clock
from disc_stream_server.api.auth.authenticator import LOGIN_COOKIE, Authenticator, Presented, address_of
from disc_stream_server.api.auth.roles import Role
from disc_stream_server.api.problems import ApiError

PREFIX = "/api/v1"


class ApiGuard:
    """The page's guard: tokens and logins of the API open it.

    Args:
        authenticator: knows them.
        clock: time.
    """

    path = PREFIX

    def __init__(self, authenticator: Authenticator, clock: Clock) -> None:
        self._authenticator, self._clock = authenticator, clock

    def admits(self, scope: Scope) -> bool:
        """Whether somebody may see the page."""
        try:
            who = self._authenticator.identify(scope)
        except ApiError:
            return False
        return who is not None and who.role.includes(Role.VIEWER)

    def log_in(self, token: str, scope: Scope) -> Response | None:
        """To the page, with a cookie; None if the token is not good."""
        try:
            who = self._authenticator.check(Presented(token, by_cookie=False), address_of(scope))
        except ApiError:
            return None
        if not who.token or not who.role.includes(Role.VIEWER):
            return None  # the page's own, whose cookie the page sets; or that of a device
        now_us = self._clock.unix_us()
        value, until_us = self._authenticator.tokens.log_in(who.token, now_us)
        answer = RedirectResponse("/", 303)
        max_age = max(0, (until_us - now_us) // 1_000_000)
        answer.set_cookie(LOGIN_COOKIE, value, httponly=True, samesite="lax", path="/", max_age=max_age)
        return answer
