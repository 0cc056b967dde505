"""Errors of the API: ``application/problem+json`` (RFC 9457): what is wrong, where, and what to do."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from disc_stream.errors import (
    BrokerError,
    BundleError,
    DiscStreamError,
    InputNotFoundError,
    MissingExtraError,
    RegistryConflictError,
    RegistryError,
    StorageError,
    UsageError,
)

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
_MAX_ERRORS = 20
_MAX_TEXT = 300
# The first class that fits decides.
_STATUS: tuple[tuple[type[DiscStreamError], int], ...] = (
    (InputNotFoundError, 404),
    (RegistryConflictError, 409),
    (MissingExtraError, 406),
    (UsageError, 422),
    (RegistryError, 409),
    (BundleError, 409),
    (StorageError, 503),
    (BrokerError, 503),
)


class ApiError(Exception):
    """Ends a request with a problem.

    Args:
        status: of the answer.
        detail: one line: what is wrong, where.
        remedy: what to do about it.
        headers: of the answer, such as ``retry-after``.
    """

    def __init__(
        self, status: int, detail: str, remedy: str = "", *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.remedy, self.headers = status, detail, remedy, dict(headers or {})


def problem_body(
    status: int, detail: str, remedy: str = "", errors: list[dict[str, str]] | None = None
) -> bytes:
    """The body of a problem."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail[:_MAX_TEXT],
    }
    if remedy:
        body["remedy"] = remedy[:_MAX_TEXT]
    if errors:
        body["errors"] = errors
    return msgspec.json.encode(body)


def problem(error: ApiError) -> Response:
    """The answer for an error."""
    body = problem_body(error.status, error.detail, error.remedy)
    return Response(body, error.status, media_type=MEDIA_TYPE, headers=error.headers)


def of_ours(error: DiscStreamError) -> ApiError:
    """What one of our own errors is in HTTP."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    headers = {"retry-after": "5"} if status == 503 else {}
    return ApiError(status, error.message, error.remedy or "", headers=headers)


def add_handlers(app: FastAPI) -> None:
    """Let every error of an application be a problem."""

    async def api_error(_request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)  # noqa: S101 - by registration
        return problem(error)

    async def our_error(_request: Request, error: Exception) -> Response:
        assert isinstance(error, DiscStreamError)  # noqa: S101 - by registration
        found = of_ours(error)
        if found.status >= 500:
            log.error("a request to the API failed: %s", error)
        return problem(found)

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - by registration
        if error.status_code == 400:  # how FastAPI says that it cannot decode a body
            return problem(ApiError(422, "body: this is no JSON in UTF-8", "See /api/v1/openapi.json"))
        words = {404: "there is nothing at this path", 405: "this path has no such method"}
        remedy = "See /api/v1/openapi.json" if error.status_code in words else ""
        detail = words.get(error.status_code, str(error.detail))
        headers = {"allow": ", ".join(_allowed(app, request))} if error.status_code == 405 else error.headers
        return problem(ApiError(error.status_code, detail, remedy, headers=headers))

    async def invalid(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - by registration
        found = [
            {"where": ".".join(map(str, one["loc"]))[:_MAX_TEXT], "what": str(one["msg"])[:_MAX_TEXT]}
            for one in error.errors()[:_MAX_ERRORS]
        ]
        first = found[0] if found else {"where": "request", "what": "not usable"}
        body = problem_body(422, f"{first['where']}: {first['what']}", "See /api/v1/openapi.json", found)
        return Response(body, 422, media_type=MEDIA_TYPE)

    app.add_exception_handler(ApiError, api_error)
    app.add_exception_handler(DiscStreamError, our_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, invalid)


def _allowed(app: FastAPI, request: Request) -> list[str]:
    """Methods of a path, which may be those of several routes."""
    found: set[str] = set()
    for route in app.routes:
        match, _ = route.matches(request.scope)
        if match is not Match.NONE:
            found |= getattr(route, "methods", None) or set()
    return sorted(found)
