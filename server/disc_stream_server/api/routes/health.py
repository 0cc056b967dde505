"""How the server is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from disc_stream import __version__
from disc_stream.wire.broker import Broker
from disc_stream_server.api.auth.roles import Role
from disc_stream_server.api.context import Context, context_of
from disc_stream_server.api.live.drift import SPAN_US
from disc_stream_server.api.operation import operation_facts
from disc_stream_server.api.routing import make_router, needs
from disc_stream_server.api.schemas.operations import DriftOut, Health, Operation


def health_routes() -> APIRouter:
    """Health."""
    router = make_router("health")

    @router.get("/health", **needs(Role.VIEWER), response_model=Health)
    def health(request: Request) -> Any:
        """Whether messages become labels now, and numbers. Orchestrators ask /healthz and /readyz."""
        return health_facts(context_of(request))

    @router.get("/operation", **needs(Role.VIEWER), response_model=Operation)
    def operation(request: Request) -> Any:
        """How long labels take, stage by stage, and how much room the spool has."""
        context = context_of(request)
        return operation_facts(context.config, context.state, context.parts.snapshot())

    @router.get("/drift", **needs(Role.VIEWER), response_model=DriftOut)
    def drift(request: Request) -> Any:
        """How unusual the fleet's motion has been for its model, since the server was started, for a week."""
        return {"span_s": SPAN_US / 1e6, "points": context_of(request).live.table.drift.points()}

    return router


def health_facts(context: Context) -> dict[str, Any]:
    """The server as it is now."""
    live, waits_for = context.live, context.parts.ready()
    status = live.table.status
    model = context.parts.model
    return {
        "ready": waits_for is None,
        "waits_for": waits_for,
        "version": __version__,
        "prefix": context.config.prefix,
        "broker": str(Broker.parse(context.config.broker)),
        "model": str(status.get("model") or ("" if model is None else model.version)),
        "now_us": context.clock.unix_us(),
        "registry": context.config.models is not None,
        "retraining": context.parts.ask_retraining is not None,
        "devices": len(live.table),
        "unlabelled": live.table.problems(),
        "labels_per_s": round(live.labels_per_s(), 2),
        "viewers": live.viewers,
        "dropped": live.dropped,
        "notice": context.parts.notice,
        "status": status,
    }
