"""Devices as they are now, their tags and their signal."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from disc_stream.errors import PayloadError, RegistryConflictError
from disc_stream.types import DeviceMeta, Label
from disc_stream.wire.meta import decode_meta
from disc_stream_server.api.auth.roles import Role
from disc_stream_server.api.context import Context, context_of, note
from disc_stream_server.api.live.feed import trace_facts
from disc_stream_server.api.live.received import Received
from disc_stream_server.api.paging import Cursor, CursorText, Limit, ListPart, Page
from disc_stream_server.api.problems import ApiError
from disc_stream_server.api.routing import make_router, needs
from disc_stream_server.api.schemas.common import TAG_PATTERN, DevicePath
from disc_stream_server.api.schemas.devices import DeviceOut, TagCount, Tags, TagsOut, TraceOut
from disc_stream_server.api.schemas.fleet import FleetOut
from disc_stream_server.storage.history import History
from disc_stream_server.storage.queries import FILE

IF_MATCH = r'^"?[0-9]{1,15}"?$'
IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match", pattern=IF_MATCH, description="ETag of what was seen; 412 if it has changed since."
    ),
]
ETAG = {"ETag": {"description": "Revision; give it as If-Match with a change.", "schema": {"type": "string"}}}


@dataclass(frozen=True, slots=True)
class Asked:
    """Which devices are asked for; nothing stands for all."""

    tag: Annotated[str | None, Query(pattern=TAG_PATTERN, description="Only those with this tag.")] = None
    cluster: Annotated[
        int | None, Query(ge=-2, le=2**32 - 1, description="Only those whose last label is this.")
    ] = None
    words: Annotated[
        str | None, Query(max_length=200, description="Only those whose id contains all these words.")
    ] = None
    problem: Annotated[bool | None, Query(description="Only those with, or without, a problem.")] = None


def revision_of(if_match: str | None) -> int | None:
    """The revision in an ``If-Match``."""
    return None if if_match is None else int(if_match.strip('"'))


def device_routes() -> APIRouter:
    """Devices."""
    router = make_router("devices")

    @router.get("/devices", **needs(Role.VIEWER), response_model=Page[DeviceOut])
    def list_devices(
        request: Request,
        part: ListPart,
        asked: Annotated[Asked, Depends()],
        facts: Annotated[bool, Query(description="Also how their samples come.")] = False,
    ) -> Any:
        """Devices by id, with their last label, problem and tags."""
        context = context_of(request)
        pages = Cursor("devices", asked, facts)
        after = pages.read(part.cursor, str, "")
        words = tuple((asked.words or "").lower().split())
        wanted = Wanted(asked.tag, asked.cluster, words, asked.problem)
        found = matching(context, wanted, after, part.limit + 1)
        add_before(context, found)
        if facts:
            for one in found:
                one["facts"] = received_facts(context, one["id"], context.live.table.meta(one["id"]))
        return pages.page(found, part.limit, lambda one: one["id"])

    @router.get("/fleet", **needs(Role.VIEWER), response_model=FleetOut)
    def get_fleet(
        request: Request,
        since: Annotated[
            str | None,
            Query(
                max_length=100,
                pattern="^[A-Za-z0-9-]+$",
                description="`mark` of an earlier answer: only what has changed since.",
            ),
        ] = None,
    ) -> Any:
        """All devices at once, in columns: what a list of them shows, for little."""
        found = context_of(request).fleet.answer(since)
        headers = {"vary": "accept-encoding"}
        if found.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
            return Response(found.packed, media_type="application/json", headers=headers)
        return Response(found.plain, media_type="application/json", headers=headers)

    @router.get("/devices/{device}", **needs(Role.VIEWER, 404), response_model=DeviceOut)
    def get_device(device: DevicePath, request: Request) -> Any:
        """One device."""
        context = context_of(request)
        tags, _ = context.notes.tags(device)
        require_known(context, device, has_tags=bool(tags))
        facts = device_facts(context, device, tags)
        add_before(context, [facts])
        facts["facts"] = received_facts(context, device, meta_of(context, device))
        return facts

    @router.get("/devices/{device}/trace", **needs(Role.VIEWER, 404), response_model=TraceOut)
    def get_trace(device: DevicePath, request: Request) -> Any:
        """The last seconds of its signal. They are kept while somebody looks at it: ask again in a second."""
        context = context_of(request)
        require_known(context, device, has_tags=False)
        context.live.want_trace(device)
        trace = context.live.trace(device)
        if trace is None:
            return {
                "device": device,
                "names": [],
                "unit": "",
                "rate": 0.0,
                "number": 0,
                "until_us": 0,
                "points": [],
            }
        return trace_facts(device, trace, 0)

    _tag_routes(router)
    return router


def _tag_routes(router: APIRouter) -> None:
    """Tags of devices."""

    @router.get("/devices/{device}/tags", **needs(Role.VIEWER), response_model=TagsOut)
    def get_tags(device: DevicePath, request: Request, response: Response) -> Any:
        """Its tags; also of a device that has not sent anything yet."""
        tags, revision = context_of(request).notes.tags(device)
        response.headers["etag"] = f'"{revision}"'
        return {"device": device, "tags": list(tags), "revision": revision}

    @router.put("/devices/{device}/tags", **needs(Role.OPERATOR, 412), response_model=TagsOut)
    def put_tags(
        device: DevicePath, body: Tags, request: Request, response: Response, if_match: IfMatch = None
    ) -> Any:
        """Replace its tags, which the fleet can be grouped by."""
        notes = context_of(request).notes
        note(request, tags=body.tags)
        try:
            revision = notes.set_tags(device, body.tags, expected=revision_of(if_match))
        except RegistryConflictError as error:
            raise ApiError(412, error.message, error.remedy or "") from None
        response.headers["etag"] = f'"{revision}"'
        return {"device": device, "tags": sorted(set(body.tags)), "revision": revision}

    @router.get("/tags", **needs(Role.VIEWER), response_model=Page[TagCount])
    def list_tags(request: Request, limit: Limit = 100, cursor: CursorText = None) -> Any:
        """All tags, with the number of their devices."""
        pages = Cursor("tags")
        after = pages.read(cursor, str, "")
        counts = [(tag, count) for tag, count in context_of(request).notes.tag_counts() if tag > after]
        items = [{"tag": tag, "devices": count} for tag, count in counts[: limit + 1]]
        return pages.page(items, limit, lambda one: one["tag"])


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which devices are wanted; None stands for any."""

    tag: str | None
    cluster: int | None
    words: tuple[str, ...]
    problem: bool | None

    def by_name(self, device: str, tags: tuple[str, ...]) -> bool:
        """Whether a device may be, by what costs nothing to look at."""
        return (self.tag is None or self.tag in tags) and all(word in device.lower() for word in self.words)

    def by_facts(self, facts: dict[str, Any]) -> bool:
        """Whether it is."""
        if self.cluster is not None and (facts["current"] or {}).get("cluster") != self.cluster:
            return False
        return self.problem is None or (facts["problem"] is not None) is self.problem


def matching(context: Context, wanted: Wanted, after: str, most: int) -> list[dict[str, Any]]:
    """The first devices behind an id that are wanted."""
    tags = context.notes.all_tags()
    found: list[dict[str, Any]] = []
    for device in sorted(one for one in known_devices(context, tags) if one > after):
        own = tags.get(device, ())
        if wanted.by_name(device, own) and wanted.by_facts(facts := device_facts(context, device, own)):
            found.append(facts)
            if len(found) >= most:
                break
    return found


def known_devices(context: Context, tags: dict[str, tuple[str, ...]]) -> set[str]:
    """All that the server knows now, that its store knows, and that have tags."""
    with context.reader() as reader:
        stored = set(reader.devices())
    # Parts that concern no device of their own have names that no device can have.
    return {one for one in stored | set(context.live.table.ids()) | set(tags) if one[:1].isalnum()}


def require_known(context: Context, device: str, *, has_tags: bool) -> None:
    """Check that there is such a device.

    Raises:
        ApiError: 404.
    """
    if has_tags or context.live.table.get(device) is not None:
        return
    with context.reader() as reader:
        if reader.knows(device):
            return
    raise ApiError(404, f"there is no device {device}", "See /api/v1/devices")


def device_facts(context: Context, device: str, tags: tuple[str, ...]) -> dict[str, Any]:
    """One device as it is now."""
    now = context.live.table.get(device)
    label = None if now is None else now.label
    return {
        "id": device,
        "tags": list(tags),
        "seen_us": None if now is None else now.seen_us,
        "current": None if label is None else current_facts(label),
        "since_us": (now.since_us or None) if now is not None else None,
        "before": None,
        "problem": None if now is None else now.problem,
        "facts": None,
    }


def received_facts(context: Context, device: str, meta: DeviceMeta | None) -> dict[str, Any]:
    """How a device's samples come, and what it says of itself."""
    now = context.live.table.get(device)
    received = Received() if now is None else now.received
    label = None if now is None else now.label
    offset = None if label is None or label.t0_unix_us is None else label.t0_unix_us - label.t0_us
    return {
        "messages": received.messages, "rate": received.fs or None,
        "measured": None if received.measured is None else round(received.measured, 3),
        "gaps": received.gaps, "missing": received.missing, "clock_offset_us": offset, "description": meta,
    }  # fmt: skip


def meta_of(context: Context, device: str) -> DeviceMeta | None:
    """What a device has said of itself, in this run or before; None if that is not known."""
    known = context.live.table.meta(device)
    if known is not None or not (context.state / FILE).exists():
        return known
    with context.reader() as reader:
        stored = reader.state(0, "meta", device)
    try:
        return decode_meta(stored) if stored else None
    except PayloadError:  # written by a version with other rules
        return None


def add_before(context: Context, found: list[dict[str, Any]]) -> None:
    """To those without a label of this run, what they did last, from the store."""
    silent = [facts for facts in found if facts["current"] is None]
    if not silent:
        return
    with contextlib.closing(History(context.state, context.config.models)) as history:
        for facts in silent:
            last = history.device(facts["id"])
            if last is not None:
                facts["before"] = {
                    "cluster": last.cluster, "name": last.name, "since_us": last.since_us,
                    "last_us": last.last_us, "model": last.model,
                }  # fmt: skip


def current_facts(label: Label) -> dict[str, Any]:
    """The last label of a device."""
    smoothed, best = label.smoothed, label.best
    return {
        "cluster": smoothed.label, "name": smoothed.name, "confidence": smoothed.confidence,
        "best": {"cluster": best.label, "name": best.name, "confidence": best.confidence},
        "novelty": label.novelty, "model": label.model, "boot": label.boot, "window": label.window,
        "begin_us": label.t0_unix_us, "published_us": label.published_us,
    }  # fmt: skip
