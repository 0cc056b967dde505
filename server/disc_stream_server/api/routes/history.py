"""The past of devices: labels and episodes by time, how long what was done, and all of it as files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import StreamingResponse

from disc_stream_server.api.auth.roles import Role
from disc_stream_server.api.context import Context, context_of
from disc_stream_server.api.exporting import MEDIA, Wanted, export
from disc_stream_server.api.paging import Cursor, Limit, ListPart, Page
from disc_stream_server.api.routes.devices import require_known
from disc_stream_server.api.routing import make_router, needs
from disc_stream_server.api.schemas.common import (
    MAX_TIME_US,
    DevicePath,
    DeviceQuery,
    FromQuery,
    UntilQuery,
)
from disc_stream_server.api.schemas.devices import EpisodeEvents, EpisodeOut, LabelOut, ShareOut
from disc_stream_server.storage.history import History

Newest = Annotated[bool, Query(description="The newest first.")]
_FILES = {
    200: {
        "description": "The file.",
        "content": {media: {"schema": {"type": "string"}} for media in MEDIA.values()},
    }
}


def history_routes() -> APIRouter:
    """The past."""
    router = make_router("history")

    @router.get("/devices/{device}/labels", **needs(Role.VIEWER, 404), response_model=Page[LabelOut])
    def labels(
        device: DevicePath,
        request: Request,
        part: ListPart,
        since_us: FromQuery = None,
        until_us: UntilQuery = None,
        newest_first: Newest = False,
    ) -> Any:
        """Labels of its windows that begin within a time, as long as they are kept."""
        context = context_of(request)
        require_known(context, device, has_tags=False)
        pages = Cursor("labels", device, since_us, until_us, newest_first)
        after = pages.read(part.cursor, str, "") or None
        with opened(context) as history:
            found = history.labels(
                device, since_us, until_us, limit=part.limit, after=after, newest_first=newest_first
            )
        return _page(pages, found.items, found.after)

    @router.get("/devices/{device}/episodes", **needs(Role.VIEWER, 404), response_model=Page[EpisodeOut])
    def episodes(
        device: DevicePath,
        request: Request,
        part: ListPart,
        since_us: FromQuery = None,
        until_us: UntilQuery = None,
        newest_first: Newest = False,
    ) -> Any:
        """What it did from when to when; episodes that overlap a time, each whole."""
        context = context_of(request)
        require_known(context, device, has_tags=False)
        pages = Cursor("episodes", device, since_us, until_us, newest_first)
        after = pages.read(part.cursor, str, "") or None
        with opened(context) as history:
            found = history.episodes(
                device, since_us, until_us, limit=part.limit, after=after, newest_first=newest_first
            )
        return _page(pages, found.items, found.after)

    @router.get("/devices/{device}/share", **needs(Role.VIEWER, 404), response_model=list[ShareOut])
    def share(
        device: DevicePath, request: Request, since_us: FromQuery = None, until_us: UntilQuery = None
    ) -> Any:
        """How long it did what within a time, most of it first."""
        context = context_of(request)
        require_known(context, device, has_tags=False)
        with opened(context) as history:
            return history.share(device, since_us, until_us)

    @router.get("/episodes/events", **needs(Role.VIEWER), response_model=EpisodeEvents)
    def events(
        request: Request,
        after: Annotated[
            int, Query(ge=0, le=MAX_TIME_US, description="`sequence` of the answer before.")
        ] = 0,
        limit: Limit = 100,
    ) -> Any:
        """Episodes of all devices that began, ended or were corrected, in that order."""
        with opened(context_of(request)) as history:
            return history.events_since(after, limit=limit)

    @router.get(
        "/export/{what}",
        **needs(Role.VIEWER, 404, 406, responses=_FILES),
        response_class=StreamingResponse,
    )
    def export_file(
        what: Literal["labels", "episodes"],
        request: Request,
        format: Literal["csv", "parquet"] = "csv",  # noqa: A002 - the name in the query
        device: DeviceQuery = None,
        since_us: FromQuery = None,
        until_us: UntilQuery = None,
    ) -> StreamingResponse:
        """Labels or episodes of one device or of all, as CSV or Parquet."""
        context = context_of(request)
        if device is not None:
            require_known(context, device, has_tags=False)
        return export(context, Wanted(what, format, device, since_us, until_us))

    return router


@contextlib.contextmanager
def opened(context: Context) -> Iterator[History]:
    """The history, to read.

    Raises:
        ApiError: 503 if nothing is stored yet.
    """
    with contextlib.closing(open_history(context)) as history:
        yield history


def open_history(context: Context) -> History:
    """The same, to be closed by the caller."""
    with context.reader():
        pass  # the answer if there is nothing yet
    return History(context.state, context.config.models)


def _page(pages: Cursor, items: Any, after: str | None) -> dict[str, Any]:
    return {"items": list(items), "next": None if after is None else pages.make(after)}
