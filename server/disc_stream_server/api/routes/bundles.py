"""A model's files for devices that label themselves (``disc-stream edge label --follow``)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, Response

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.catalogue import Catalogue
from disc_stream_server.api.auth.roles import Role
from disc_stream_server.api.context import Context, context_of
from disc_stream_server.api.problems import ApiError
from disc_stream_server.api.routes.models import Ref, find
from disc_stream_server.api.routing import make_router, needs

_ZIP = "application/zip"
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The bundle; its ETag is its sha256. Parts of it can be asked for (Range).",
        "content": {_ZIP: {"schema": {"type": "string", "contentEncoding": "binary"}}},
    },
    206: {"description": "A part of it."},
    304: {"description": "It is the one in If-None-Match."},
    416: {"description": "There is no such part."},
}
_CATALOGUE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "`catalogue.json`, as bundles have it; its ETag is its sha256.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    },
    304: {"description": "It is the one in If-None-Match."},
}


def bundle_routes() -> APIRouter:
    """Files of versions; to be included before the other routes of models."""
    router = make_router("models")

    @router.get(
        "/models/{version}.zip",
        **needs(Role.DEVICE, 404, 409, responses=_FILE),
        response_class=FileResponse,
    )
    def get_bundle(version: Ref, request: Request) -> Response:
        """The bundle as it was exported: graph, manifest and signatures. For devices that label themselves.

        Its catalogue is that of the export, which is what is signed; today's is beside it.
        """
        context = context_of(request)
        name, files = _files(context, version)
        offered = context.bundles.get(name, files)
        if _is_known(request, offered.tag):
            return Response(status_code=304, headers=_headers(offered.tag))
        return FileResponse(
            offered.path, media_type=_ZIP, headers=_headers(offered.tag), filename=offered.path.name
        )

    @router.get(
        "/models/{version}/catalogue",
        **needs(Role.DEVICE, 404, 409, responses=_CATALOGUE),
        response_class=Response,
    )
    def get_catalogue(version: Ref, request: Request) -> Response:
        """What its clusters are called today, and their public ids; for devices that label themselves."""
        data = _catalogue(context_of(request), version).to_bytes()
        tag = hashlib.sha256(data).hexdigest()
        if _is_known(request, tag):
            return Response(status_code=304, headers=_headers(tag))
        return Response(data, media_type="application/json", headers=_headers(tag))

    return router


def _files(context: Context, ref: str) -> tuple[str, Any]:
    """A name for the file, and what reads its content."""
    keys = context.config.trusted_key
    if context.config.models is None:
        bundle = _own(context, ref)
        return bundle.version, lambda: bundle.files
    with context.registry() as registry:
        info = find(registry, ref)

    def read() -> Mapping[str, bytes]:
        with context.registry() as registry:
            return registry.bundle(info.number, trusted_keys=keys).files

    return f"{info.number:04d}-{info.version}", read


def _catalogue(context: Context, ref: str) -> Catalogue:
    if context.config.models is None:
        return _own(context, ref).catalogue
    with context.registry() as registry:
        return registry.catalogue_of(find(registry, ref).number)


def _own(context: Context, ref: str) -> Bundle:
    """The bundle of a server without a registry, if it is still the one that labels."""
    model, path = context.parts.model, context.config.bundle
    if model is None or path is None:
        raise ApiError(
            409, "this server has no model, so there is none to be downloaded", "Start it with --models"
        )
    bundle = Bundle.open(path, trusted_keys=context.config.trusted_key)
    if bundle.version != model.version or not (ref == "current" or bundle.version.startswith(ref)):
        raise ApiError(
            404, f"this server labels with {model.version}, and has no model {ref}",
            "Ask for the version that $server/model names",
        )  # fmt: skip
    return bundle


def _headers(tag: str) -> dict[str, str]:
    return {"etag": f'"{tag}"', "cache-control": "private, no-cache"}


def _is_known(request: Request, tag: str) -> bool:
    return f'"{tag}"' in request.headers.get("if-none-match", "")
