"""Windows behind labels and clusters, the map of the embedding, and how training went."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import APIRouter, Request

from disc_stream.types import Float32Array
from disc_stream_server.api.auth.roles import Role
from disc_stream_server.api.context import Context, context_of
from disc_stream_server.api.library import Opened, drawn
from disc_stream_server.api.live.table import Seen
from disc_stream_server.api.problems import ApiError
from disc_stream_server.api.routes.clusters import no_cluster
from disc_stream_server.api.routes.devices import require_known
from disc_stream_server.api.routes.models import Ref, find
from disc_stream_server.api.routing import make_router, needs
from disc_stream_server.api.schemas.common import ClusterPath, DevicePath
from disc_stream_server.api.schemas.examples import (
    ExamplesOut,
    ExplanationOut,
    MapDevices,
    MapOut,
    TrainingOut,
)

SIMILAR = 3
NEAREST = 5
MOST_DEVICES = 2_000
_NOTHING: dict[str, Any] = {"kept": "no", "names": [], "units": [], "seconds": 0.0}


def example_routes() -> APIRouter:
    """What people look at to judge labels and clusters."""
    router = make_router("examples")

    @router.get("/devices/{device}/explanation", **needs(Role.VIEWER, 404), response_model=ExplanationOut)
    def explain(device: DevicePath, request: Request) -> Any:
        """The last window of a device, the clusters nearest to it, and the training windows most like it."""
        context = context_of(request)
        require_known(context, device, has_tags=False)
        context.live.want_trace(device)
        seen = context.live.table.seen.get(device)
        version = serving(context) if seen is None else seen.label.model
        opened = context.library.open(version) if version else None
        answer: dict[str, Any] = {"model": version, "window": None, "nearest": [], "similar": []}
        answer |= _NOTHING if opened is None else {"kept": opened.kept, **opened.reading()}
        if seen is not None:
            answer |= _explained(seen, opened)
        return answer

    @router.get("/clusters/{cluster}/examples", **needs(Role.VIEWER, 404), response_model=ExamplesOut)
    def examples(cluster: ClusterPath, request: Request) -> Any:
        """Training windows of a cluster: at its centre, and at its border to others."""
        context = context_of(request)
        version = serving(context)
        opened = context.library.open(version) if version else None
        if opened is None:
            return {"model": version, **_NOTHING, "items": []}
        if cluster not in opened.catalogue.ids:
            if not _is_retired(context, cluster):
                raise no_cluster(cluster)
            return {"model": version, **_NOTHING, "items": []}
        row = opened.catalogue.ids.index(cluster)
        answer = {"model": version, "kept": opened.kept, **opened.reading()}
        return {**answer, "items": _of_row(opened, row)}

    _map_routes(router)
    return router


def _map_routes(router: APIRouter) -> None:
    @router.get("/models/{version}/map", **needs(Role.VIEWER, 404), response_model=MapOut)
    def whole_map(version: Ref, request: Request) -> Any:
        """Where the clusters and the training windows of a version lie on a plane."""
        context = context_of(request)
        found = resolve(context, version)
        opened = context.library.open(found)
        kept = None if opened is None else opened.examples
        if opened is None or kept is None:
            return {
                "model": found, "kept": "no" if opened is None else opened.kept, "clusters": [], "points": [],
            }  # fmt: skip
        ids, places = opened.catalogue.ids, _placed(opened, kept.embedding)
        return {
            "model": found, "kept": opened.kept,
            "clusters": [
                {"id": one.id, "public_id": one.public_id, "name": one.name, "x": x, "y": y}
                for one, (x, y) in zip(opened.catalogue.clusters, kept.centres.round(4).tolist(), strict=True)
            ],
            "points": [
                {"cluster": ids[row], "x": x, "y": y, "border": border}
                for row, (x, y), border in zip(
                    kept.rows.tolist(), places, kept.border.tolist(), strict=True
                )
            ],
        }  # fmt: skip

    @router.get("/live-map", **needs(Role.VIEWER), response_model=MapDevices)
    def devices_on_map(request: Request) -> Any:
        """Where the last windows of devices lie. They are placed while somebody looks: ask again soon."""
        context = context_of(request)
        context.live.want_map()
        version = serving(context)
        opened = context.library.open(version) if version else None
        if opened is None or opened.examples is None:
            return {"model": version, "items": []}
        found = [one for one in context.live.placed() if one[0].model == version]
        found = sorted(found, key=lambda one: -one[0].published_us)[:MOST_DEVICES]
        if not found:
            return {"model": version, "items": []}
        places = _placed(opened, np.stack([embedding for _, embedding in found]))
        return {
            "model": version,
            "items": [
                {"device": label.device, "cluster": label.best.label, "x": x, "y": y,
                 "at_us": label.published_us}
                for (label, _), (x, y) in zip(found, places, strict=True)
            ],
        }  # fmt: skip

    @router.get("/models/{version}/training", **needs(Role.VIEWER, 404), response_model=TrainingOut)
    def training(version: Ref, request: Request) -> Any:
        """How its training went, epoch by epoch."""
        context = context_of(request)
        found = resolve(context, version)
        opened = context.library.open(found)
        return {"model": found, "epochs": [] if opened is None else opened.book.epochs}


def serving(context: Context) -> str:
    """The version that labels now, "" for none."""
    model = context.parts.model
    return str(context.live.table.status.get("model") or ("" if model is None else model.version))


def resolve(context: Context, ref: str) -> str:
    """The hash of a version; without a registry there is only the one that serves.

    Raises:
        ApiError: 404.
    """
    if context.config.models is not None:
        with context.registry() as registry:
            return find(registry, ref).version
    version = serving(context)
    if version and (ref == "current" or (len(ref) >= 4 and version.startswith(ref))):
        return version
    raise ApiError(404, f"there is no version {ref}", "This server runs a bundle: ask for `current`")


def _is_retired(context: Context, cluster: int) -> bool:
    if context.config.models is None:
        return False
    with context.registry() as registry:
        return any(one.id == cluster for one in registry.clusters.list(retired=True))


def _placed(opened: Opened, embedding: Float32Array) -> list[list[float]]:
    kept = opened.examples
    if kept is None:
        return [[0.0, 0.0]] * len(embedding)
    places: list[list[float]] = np.nan_to_num(kept.place(embedding)).round(4).tolist()
    return places


def _explained(seen: Seen, opened: Opened | None) -> dict[str, Any]:
    label = seen.label
    window = {
        "boot": label.boot, "window": label.window, "begin_us": label.t0_unix_us,
        "cluster": label.best.label, "name": label.best.name, "trace": drawn(seen.samples),
    }  # fmt: skip
    if opened is None:
        return {"window": window}
    clusters, distance = opened.catalogue.clusters, seen.distance
    nearest = [
        {"cluster": clusters[row].id, "name": clusters[row].name, "distance": float(distance[row]),
         "usual": clusters[row].distance_q95}
        for row in np.argsort(distance, kind="stable")[:NEAREST].tolist()
    ]  # fmt: skip
    kept = opened.examples
    near = [] if kept is None else kept.nearest(seen.embedding, SIMILAR)
    return {
        "window": window, "nearest": nearest, "similar": [_example(opened, n, square) for n, square in near],
    }  # fmt: skip


def _of_row(opened: Opened, row: int) -> list[dict[str, Any]]:
    kept = opened.examples
    if kept is None or not (members := np.flatnonzero(kept.rows == row)).size:
        return []
    inner = members[~kept.border[members]]
    middle = kept.embedding[inner if inner.size else members].mean(0)
    squares = np.square(kept.embedding[members] - middle).sum(1)
    return [_example(opened, n, square) for n, square in zip(members.tolist(), squares.tolist(), strict=True)]


def _example(opened: Opened, number: int, square: float) -> dict[str, Any]:
    kept = opened.book.examples
    assert kept is not None  # noqa: S101 - the callers have looked
    cluster = opened.catalogue.clusters[int(kept.rows[number])]
    return {
        "cluster": cluster.id, "name": cluster.name,
        "place": "border" if kept.border[number] else "centre", "distance": round(square, 6),
        "trace": drawn(kept.windows[number]),
    }  # fmt: skip
