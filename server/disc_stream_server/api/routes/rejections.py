"""Labels of which people say that they are wrong; the next retraining does not learn from them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from disc_stream_server.api.auth.roles import Role
from disc_stream_server.api.context import context_of, note, who_asks
from disc_stream_server.api.paging import Cursor, CursorText, Limit, Page
from disc_stream_server.api.problems import ApiError
from disc_stream_server.api.routes.clusters import all_clusters
from disc_stream_server.api.routes.devices import require_known
from disc_stream_server.api.routing import make_router, needs
from disc_stream_server.api.schemas.common import MAX_TIME_US, DeviceQuery
from disc_stream_server.api.schemas.devices import NewRejection, RejectionOut
from disc_stream_server.storage.notes import Rejection


def rejection_routes() -> APIRouter:
    """Rejected labels."""
    router = make_router("labels")

    @router.get("/rejections", **needs(Role.VIEWER), response_model=Page[RejectionOut])
    def list_rejections(
        request: Request, limit: Limit = 100, cursor: CursorText = None, device: DeviceQuery = None
    ) -> Any:
        """What people said of labels, in the order in which they said it; also what was withdrawn."""
        pages = Cursor("rejections", device)
        after = max(0, min(pages.read(cursor, int, 0), MAX_TIME_US))
        found = context_of(request).notes.rejections(device=device, after=after, limit=limit + 1)
        return pages.page(found, limit, lambda one: one.number)

    @router.post(
        "/rejections", **needs(Role.OPERATOR, 404, 409), response_model=RejectionOut, status_code=201
    )
    def reject(body: NewRejection, request: Request) -> Any:
        """Say that labels are wrong, and what they should be if that is known."""
        context = context_of(request)
        require_known(context, body.device, has_tags=False)
        known = {int(one["id"]) for one in all_clusters(context, retired=True)}
        for cluster in (body.cluster, body.instead):
            if cluster is not None and cluster not in known:
                raise ApiError(404, f"there is no cluster {cluster}", "See /api/v1/clusters")
        if body.instead == body.cluster:
            raise ApiError(
                409, f"{body.cluster} cannot stand for itself", "Leave `instead` out, or name another"
            )
        said = Rejection(**body.model_dump())
        note(request, **body.model_dump())
        return context.notes.reject(said, who_asks(request).name, context.clock.unix_us())

    @router.delete("/rejections/{number}", **needs(Role.OPERATOR, 404), response_model=RejectionOut)
    def withdraw(number: Annotated[int, Path(ge=1, le=MAX_TIME_US)], request: Request) -> Any:
        """Take it back; the entry stays."""
        context = context_of(request)
        note(request, rejection=number)
        return context.notes.withdraw(number, context.clock.unix_us())

    return router
