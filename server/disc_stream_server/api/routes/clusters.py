"""Clusters: what they are called, merged and muted; the same operations as ``disc-stream clusters``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from disc_stream.errors import ConfigError, RegistryConflictError
from disc_stream.registry import Author, Clusters, Event, Registry
from disc_stream_server.api.auth.roles import Role
from disc_stream_server.api.context import Context, author, context_of, note
from disc_stream_server.api.paging import Cursor, CursorText, Limit, Page
from disc_stream_server.api.problems import ApiError
from disc_stream_server.api.routes.devices import IfMatch, revision_of
from disc_stream_server.api.routes.history import opened
from disc_stream_server.api.routing import make_router, needs
from disc_stream_server.api.schemas.common import ClusterPath
from disc_stream_server.api.schemas.registry import (
    ActivityOut,
    Changed,
    ClusterChange,
    ClusterOut,
    EventOut,
    MergeInto,
    NotNamed,
    NotThis,
    SplitOff,
    Undo,
)

Change = Callable[[Clusters, Author], Event | None]
_CHANGE: dict[str, Any] = {**needs(Role.OPERATOR, 404, 409, 412), "response_model": Changed}


def cluster_routes() -> APIRouter:
    """Clusters to look at."""
    router = make_router("clusters")

    @router.get("/clusters", **needs(Role.VIEWER), response_model=Page[ClusterOut])
    def list_clusters(
        request: Request,
        limit: Limit = 100,
        cursor: CursorText = None,
        retired: Annotated[bool, Query(description="Also those of older models.")] = False,
    ) -> Any:
        """Clusters by id; those of the bundle where there is no registry."""
        pages = Cursor("clusters", retired)
        after = pages.read(cursor, int, -1)
        found = [one for one in all_clusters(context_of(request), retired=retired) if one["id"] > after]
        return pages.page(found[: limit + 1], limit, lambda one: one["id"])

    @router.get("/cluster-events", **needs(Role.VIEWER, 409), response_model=Page[EventOut])
    def history(request: Request, limit: Limit = 100, cursor: CursorText = None) -> Any:
        """What happened to all clusters, the newest first."""
        return _history(request, None, limit, cursor)

    @router.get("/clusters/{cluster}", **needs(Role.VIEWER, 404), response_model=ClusterOut)
    def get_cluster(cluster: ClusterPath, request: Request, response: Response) -> Any:
        """One cluster, which may be retired."""
        found = next((c for c in all_clusters(context_of(request), retired=True) if c["id"] == cluster), None)
        if found is None:
            raise no_cluster(cluster)
        response.headers["etag"] = f'"{found["revision"]}"'
        return found

    @router.get("/clusters/{cluster}/activity", **needs(Role.VIEWER, 404), response_model=ActivityOut)
    def activity(
        cluster: ClusterPath,
        request: Request,
        days: Annotated[int, Query(ge=1, le=31, description="Of the past, up to now.")] = 7,
        zone_s: Annotated[
            int, Query(ge=-86_400, le=86_400, description="What local time is ahead of UTC, seconds.")
        ] = 0,
    ) -> Any:
        """When devices do it, by the hour of the day, and which of them do it most."""
        context = context_of(request)
        found = next((one for one in all_clusters(context, retired=True) if one["id"] == cluster), None)
        if found is None:
            raise no_cluster(cluster)
        now_us = context.clock.unix_us()
        with opened(context) as history:
            return history.activity(
                found["public_id"], now_us - days * 86_400_000_000, now_us, zone_s * 1_000_000
            )

    @router.get("/clusters/{cluster}/history", **needs(Role.VIEWER, 404, 409), response_model=Page[EventOut])
    def history_of(
        cluster: ClusterPath, request: Request, limit: Limit = 100, cursor: CursorText = None
    ) -> Any:
        """What happened to one cluster, the newest first."""
        return _history(request, cluster, limit, cursor)

    _changes(router)
    _verdicts(router)
    return router


def _changes(router: APIRouter) -> None:
    """Clusters to change."""

    @router.patch("/clusters/{cluster}", **_CHANGE)
    def change(cluster: ClusterPath, body: ClusterChange, request: Request, if_match: IfMatch = None) -> Any:
        """Name it, give it a colour or a note, mute it; each is an event that can be undone."""
        wanted: list[Change] = []
        name, colour, text, muted = body.name, body.colour, body.note, body.muted
        if name is not None:
            wanted.append(lambda c, who: c.name(cluster, name, who))
        if colour is not None:
            wanted.append(lambda c, who: c.colour(cluster, colour, who))
        if text is not None:
            wanted.append(lambda c, who: c.note(cluster, text, who))
        if muted is not None:
            wanted.append(lambda c, who: (c.mute if muted else c.unmute)(cluster, who))
        note(request, cluster=cluster, **body.model_dump(exclude_none=True))
        return _change(request, if_match, cluster, wanted)

    @router.post("/clusters/{cluster}/merge", **_CHANGE)
    def merge(cluster: ClusterPath, body: MergeInto, request: Request, if_match: IfMatch = None) -> Any:
        """Publish it under another one's id and name, from the next label on."""
        note(request, cluster=cluster, into=body.into)
        return _change(request, if_match, cluster, [lambda c, who: c.merge(cluster, body.into, who)])

    @router.post("/clusters/{cluster}/split", **_CHANGE)
    def split(cluster: ClusterPath, body: SplitOff, request: Request, if_match: IfMatch = None) -> Any:
        """Take back what was merged into it."""
        note(request, cluster=cluster, ids=body.ids)
        return _change(request, if_match, cluster, [lambda c, who: c.split(cluster, who, body.ids)])


def _verdicts(router: APIRouter) -> None:
    """What clusters are not, and taking things back."""

    @router.post("/clusters/{cluster}/reject", **_CHANGE)
    def reject(cluster: ClusterPath, body: NotThis, request: Request, if_match: IfMatch = None) -> Any:
        """Say that it is not another one: they are never merged, nor given one another's id."""
        note(request, cluster=cluster, other=body.other)
        return _change(request, if_match, cluster, [lambda c, who: c.reject(cluster, body.other, who)])

    @router.post("/clusters/{cluster}/reject-name", **_CHANGE)
    def reject_name(cluster: ClusterPath, body: NotNamed, request: Request, if_match: IfMatch = None) -> Any:
        """Say that a name is wrong for it: it is never proposed for it again."""
        note(request, cluster=cluster, name=body.name)
        return _change(request, if_match, cluster, [lambda c, who: c.reject_name(cluster, body.name, who)])

    @router.post("/cluster-events/undo", **_CHANGE)
    def undo(body: Undo, request: Request, if_match: IfMatch = None) -> Any:
        """Undo an event; undoing an undo makes the change again."""
        note(request, event=body.event)
        return _change(request, if_match, None, [lambda c, who: c.undo(who, body.event)])


def _change(
    request: Request, if_match: str | None, cluster: int | None, changes: list[Change]
) -> dict[str, Any]:
    expected = revision_of(if_match)
    with context_of(request).registry() as registry:
        if cluster is not None and not _is_known(registry, cluster):
            raise no_cluster(cluster)
        done: list[Event] = []
        for one in changes:
            try:
                event = one(registry.clusters, author(request, expected))
            except RegistryConflictError as error:
                raise ApiError(412 if if_match else 409, error.message, error.remedy or "") from None
            except ConfigError as error:
                raise ApiError(409, error.message, error.remedy or "") from None
            if event is not None:
                done.append(event)
                expected = None if expected is None else event.revision  # ours is no conflict
        return {"revision": registry.revision, "events": done}


def _history(request: Request, cluster: int | None, limit: int, cursor: str | None) -> dict[str, Any]:
    pages = Cursor("cluster history", cluster)
    before = pages.read(cursor, int, 2**53)
    with context_of(request).registry() as registry:
        if cluster is not None and not _is_known(registry, cluster):
            raise no_cluster(cluster)
        found = [event for event in reversed(registry.clusters.history(cluster)) if event.number < before]
    return pages.page(found[: limit + 1], limit, lambda event: event.number)


def _is_known(registry: Registry, cluster: int) -> bool:
    return any(one.id == cluster for one in registry.clusters.list(retired=True))


def no_cluster(cluster: int) -> ApiError:
    """There is none."""
    return ApiError(404, f"there is no cluster {cluster}", "See /api/v1/clusters")


def all_clusters(context: Context, *, retired: bool) -> list[dict[str, Any]]:
    """Clusters by id: of the registry, else of the bundle that serves."""
    if context.config.models is None:
        return _of_bundle(context)
    with context.registry() as registry:
        revision = registry.revision
        names = [name for name in ClusterOut.model_fields if name != "revision"]
        return [
            {"revision": revision} | {name: getattr(one, name) for name in names}
            for one in registry.clusters.list(retired=retired)
        ]


def _of_bundle(context: Context) -> list[dict[str, Any]]:
    model = context.parts.model
    if model is None:
        return []
    return sorted(
        (
            {
                "id": one.id, "public_id": one.id if one.merged_into is None else one.merged_into,
                "name": one.name, "label": one.name, "colour": one.colour, "note": "",
                "merged_into": one.merged_into, "muted": one.muted, "retired": False, "born": 0,
                "parent": None, "size": one.size, "description": one.description, "proposals": [],
                "rejections": [], "rejected_names": [], "revision": 0,
            }
            for one in model.catalogue.clusters
        ),
        key=lambda one: int(one["id"]),
    )  # fmt: skip
