"""Models and retraining; the same operations as ``disc-stream models`` and ``disc-stream retrain``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from disc_stream.errors import ConfigError
from disc_stream.registry import Deployment, Registry, VersionInfo, state_of
from disc_stream.registry.comparison import compare
from disc_stream_server.api.auth.roles import Role
from disc_stream_server.api.context import context_of, note, who_asks
from disc_stream_server.api.paging import Cursor, CursorText, Limit, Page
from disc_stream_server.api.problems import ApiError
from disc_stream_server.api.routing import make_router, needs
from disc_stream_server.api.schemas.registry import (
    AskedOut,
    Because,
    DecisionOut,
    DeploymentOut,
    DiffOut,
    Promotion,
    RetrainingOut,
    Verdict,
    VersionOut,
)
from disc_stream_server.retraining.decisions import DecisionLog

Ref = Annotated[
    str,
    Path(
        pattern="^([1-9][0-9]{0,8}|[0-9a-f]{4,64}|current|previous)$",
        description="Number of the version, its hash or the beginning of it, `current` or `previous`.",
    ),
]


def model_routes() -> APIRouter:
    """Versions and deployments."""
    router = make_router("models")

    @router.get("/models", **needs(Role.VIEWER, 409), response_model=Page[VersionOut])
    def list_models(request: Request, limit: Limit = 100, cursor: CursorText = None) -> Any:
        """Versions, the newest first."""
        pages = Cursor("models")
        before = pages.read(cursor, int, 2**53)
        with context_of(request).registry() as registry:
            current = registry.current()
            found = [info for info in reversed(registry.versions()) if info.number < before]
        items = [version_facts(info, current) for info in found[: limit + 1]]
        return pages.page(items, limit, lambda one: one["number"])

    @router.get("/models/{version}", **needs(Role.VIEWER, 404, 409), response_model=VersionOut)
    def get_model(version: Ref, request: Request) -> Any:
        """One version, where it comes from, and what the acceptance gate said."""
        with context_of(request).registry() as registry:
            return version_facts(find(registry, version), registry.current())

    @router.get("/models/{version}/diff/{other}", **needs(Role.VIEWER, 404, 409), response_model=DiffOut)
    def diff(version: Ref, other: Ref, request: Request) -> Any:
        """How two versions differ: clusters by id, their sizes, metrics, settings and data."""
        with context_of(request).registry() as registry:
            return compare(registry, find(registry, version).number, find(registry, other).number).as_dict()

    @router.get("/deployments", **needs(Role.VIEWER, 409), response_model=Page[DeploymentOut])
    def deployments(request: Request, limit: Limit = 100, cursor: CursorText = None) -> Any:
        """What was in production when, and why; the newest first."""
        pages = Cursor("deployments")
        before = pages.read(cursor, int, 2**53)
        with context_of(request).registry() as registry:
            found = [one for one in reversed(registry.deployments()) if one.number < before]
        return pages.page(found[: limit + 1], limit, lambda one: one.number)

    _decisions(router)
    return router


def _decisions(router: APIRouter) -> None:
    """What is in production."""

    @router.post("/deployments/rollback", **needs(Role.ADMIN, 409), response_model=DeploymentOut)
    def roll_back(body: Because, request: Request) -> Any:
        """Put the version before back into production, with its clusters; names stay as they are."""
        context = context_of(request)
        note(request, why=body.why)
        with context.registry() as registry:
            try:
                return registry.rollback(
                    who_asks(request).name, body.why, trusted_keys=context.config.trusted_key
                )
            except ConfigError as error:
                raise ApiError(409, error.message, error.remedy or "") from None

    @router.post("/models/{version}/promote", **needs(Role.ADMIN, 404, 409), response_model=DeploymentOut)
    def promote(version: Ref, body: Promotion, request: Request) -> Any:
        """Put a version into production; the server follows within moments, between two batches."""
        context = context_of(request)
        with context.registry() as registry:
            info = find(registry, version)
            note(request, version=info.version, number=info.number, why=body.why)
            try:
                return registry.promote(
                    info.number, who_asks(request).name, body.why,
                    trusted_keys=context.config.trusted_key, even_rejected=body.even_rejected,
                )  # fmt: skip
            except ConfigError as error:
                raise ApiError(409, error.message, error.remedy or "") from None

    @router.post("/models/{version}/reject", **needs(Role.ADMIN, 404, 409), response_model=VersionOut)
    def reject(version: Ref, body: Verdict, request: Request) -> Any:
        """Say that it is not to be promoted; an empty reason takes that back."""
        with context_of(request).registry() as registry:
            info = find(registry, version)
            note(request, version=info.version, number=info.number, why=body.why)
            try:
                return version_facts(
                    registry.reject(info.number, who_asks(request).name, body.why), registry.current()
                )
            except ConfigError as error:
                raise ApiError(409, error.message, error.remedy or "") from None


def retraining_routes() -> APIRouter:
    """Retraining."""
    router = make_router("retraining")

    @router.get("/retraining", **needs(Role.VIEWER), response_model=RetrainingOut)
    def status(request: Request) -> Any:
        """Where it is, and what it waits for."""
        parts = context_of(request).parts
        facts = dict(parts.retraining())
        return {
            "possible": parts.ask_retraining is not None,
            "phase": facts.get("phase", "idle"), "done": facts.get("done", 0), "total": facts.get("total", 0),
            "words": facts.get("words", ""), "last": facts.get("last", ""), "due_us": facts.get("due", 0),
            "windows": facts.get("windows", 0), "devices": facts.get("devices", 0),
        }  # fmt: skip

    @router.post("/retraining", **needs(Role.OPERATOR, 409), response_model=AskedOut, status_code=202)
    def ask(body: Because, request: Request) -> Any:
        """Retrain as soon as no other retraining runs; the acceptance gate decides what becomes of it."""
        parts = context_of(request).parts
        if parts.ask_retraining is None:
            raise ApiError(
                409, "this server does not retrain",
                "Start it with --models and a mapping `retrain` in its --config, or run: disc-stream retrain",
            )  # fmt: skip
        note(request, why=body.why)
        parts.ask_retraining(who_asks(request).name, body.why)
        return {"asked": True, "why": body.why}

    @router.get("/retraining/history", **needs(Role.VIEWER), response_model=Page[DecisionOut])
    def history(request: Request, limit: Limit = 100, cursor: CursorText = None) -> Any:
        """What was decided and what came of it, the newest first."""
        pages = Cursor("retraining history")
        before = pages.read(cursor, tuple[int, int], (2**53, 0))
        numbered = list(enumerate(DecisionLog(context_of(request).state).entries()))
        found = [
            ((at_us, number), {"at_us": at_us, "event": event, "facts": facts})
            for number, (at_us, event, facts) in reversed(numbered)
            if (at_us, number) < tuple(before)
        ]
        page = pages.page(found[: limit + 1], limit, lambda one: one[0])
        return {**page, "items": [one for _, one in page["items"]]}

    return router


def find(registry: Registry, ref: str) -> VersionInfo:
    """A version.

    Raises:
        ApiError: 404.
    """
    try:
        return registry.version(ref)
    except ConfigError as error:
        raise ApiError(404, error.message, error.remedy or "") from None


def version_facts(info: VersionInfo, current: Deployment | None) -> dict[str, Any]:
    """A version for the answer."""
    return {
        "number": info.number, "version": info.version, "state": state_of(info, current),
        "added_us": info.added_us, "clusters": len(info.proposal.rows),
        "ids": None if info.ids is None else list(info.ids), "based_on": info.proposal.based_on,
        "rejected": info.rejected, "marked": info.marked, "pruned_us": info.pruned_us,
        "lineage": info.lineage.model_dump(mode="json"),
    }  # fmt: skip
