"""Labels as they come: server-sent events and a WebSocket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Header, Query, Request, WebSocket
from starlette.responses import StreamingResponse
from starlette.websockets import WebSocketDisconnect, WebSocketState

from disc_stream.wire.topics import is_device
from disc_stream_server.api.auth.roles import Identity, Role
from disc_stream_server.api.context import Context, context_of
from disc_stream_server.api.live.feed import (
    MAX_NAMED,
    MAX_TRACED,
    Event,
    Filter,
    encode_label,
    labels_event,
    plain_event,
)
from disc_stream_server.api.live.hub import Mark, Viewer, events
from disc_stream_server.api.live.resume import Missed, missed_in_ring, missed_in_store, told
from disc_stream_server.api.problems import ApiError
from disc_stream_server.api.routing import make_router, needs, require
from disc_stream_server.api.schemas.common import DEVICE_PATTERN, TAG_PATTERN

READ_S = 30.0
"""Seconds within which a viewer has to read what was sent, before it is cut off."""
MESSAGES_PER_S = 5.0  # that a viewer may send
MAX_MESSAGE = 16 * 1024
_SNAPSHOT = 2_000
_MARK = "^[A-Za-z0-9]{1,20}-[0-9]{1,18}-[0-9]{1,18}$"

_Devices = Annotated[
    list[Annotated[str, Query(pattern=DEVICE_PATTERN)]],
    Query(max_length=MAX_NAMED, description="Repeatable."),
]
_Tags = Annotated[list[Annotated[str, Query(pattern=TAG_PATTERN)]], Query(max_length=MAX_NAMED)]
_Clusters = Annotated[
    list[Annotated[int, Query(ge=-2, le=2**32 - 1)]], Query(max_length=MAX_NAMED, description="Public ids.")
]
_Traces = Annotated[
    list[Annotated[str, Query(pattern=DEVICE_PATTERN)]],
    Query(max_length=MAX_TRACED, description="Devices whose signal is sent, too."),
]

_EVENTS = """Server-sent events, until the client goes.

| event | data |
| --- | --- |
| `snapshot` | `{"labels": […]}`: the last label of every device that matches, if `snapshot` was asked for |
| `resumed` | `{"complete": …, "labels": n}`: n missed labels follow; incomplete: read the rest by time |
| `labels` | `{"labels": […]}`: labels as they came, each a `LiveLabel`; has an id to resume from |
| `problem` | `{"device": …, "problem": …}`: why a device has no labels; null once that is over |
| `status` | the server's status |
| `trace` | new points of the signal of a device that was asked for; see `TraceOut` |
| `dropped` | `{"labels": n, "in_all": m}`: this client did not read in time, n labels were left out for it |

A client that connects again with `Last-Event-ID` gets what it missed. A label may come twice then: it is the
same where device, boot, window and model are. Every few seconds there is a comment as a sign of life."""


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    """What a client may send on a WebSocket: another filter."""

    devices: list[str] = []
    tags: list[str] = []
    clusters: list[int] = []
    traces: list[str] = []


class Names:
    """Which labels are wanted; nothing given stands for all."""

    def __init__(
        self,
        device: _Devices = [],  # noqa: B006 - FastAPI copies it
        tag: _Tags = [],  # noqa: B006
        cluster: _Clusters = [],  # noqa: B006
        trace: _Traces = [],  # noqa: B006
    ) -> None:
        self.filter = Filter(frozenset(device), frozenset(tag), frozenset(cluster), frozenset(trace))


def live_routes() -> APIRouter:
    """The live feed."""
    router = make_router("live")

    @router.get(
        "/live",
        **needs(
            Role.VIEWER,
            responses={
                200: {
                    "description": "Events.",
                    "content": {"text/event-stream": {"schema": {"type": "string"}}},
                }
            },
        ),
        response_class=StreamingResponse,
        description=_EVENTS,
    )
    async def live(
        request: Request,
        names: Annotated[Names, Depends()],
        snapshot: bool = False,
        last_event_id: Annotated[str | None, Header(pattern=_MARK)] = None,
    ) -> StreamingResponse:
        """Labels as they come."""
        context = context_of(request)
        viewer = _admit(
            context, request.scope["state"]["who"], request.scope["state"]["address"], names.filter
        )
        if request.scope.get("method") == "HEAD":
            return StreamingResponse(iter(()), media_type="text/event-stream")
        mark = Mark.parse(last_event_id) if last_event_id else None
        stream = _as_sse(context, viewer, mark, snapshot=snapshot)
        return StreamingResponse(stream, media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    @router.websocket("/live/ws")
    async def live_ws(socket: WebSocket) -> None:
        await _serve_socket(context_of(socket), socket)

    return router


def _admit(context: Context, who: Identity, address: str, wanted: Filter) -> Viewer:
    if not context.live.has_room_for(address):
        raise ApiError(
            503, "too many viewers of the live feed", "Try again later", headers={"retry-after": "10"}
        )
    return Viewer(who, address, wanted)


async def _as_sse(
    context: Context, viewer: Viewer, mark: Mark | None, *, snapshot: bool
) -> AsyncIterator[bytes]:
    with context.live.joined(viewer):
        yield b"retry: 2000\n\n"
        for event in await _first(context, viewer, mark, snapshot=snapshot):
            yield event.as_sse()
        async for some in events(viewer):
            yield b"".join(event.as_sse() for event in some) or b": alive\n\n"


async def _first(context: Context, viewer: Viewer, mark: Mark | None, *, snapshot: bool) -> list[Event]:
    """What is sent before the feed goes on; whoever reads it is registered already, so nothing is lost."""
    first: list[Event] = []
    if snapshot:
        first.append(_snapshot(context, viewer.wanted))
    if mark is None:
        return [*first, plain_event("status", context.live.table.status)]
    missed: Missed | None = missed_in_ring(context, mark, viewer.wanted)
    if missed is None:
        tagged = context.live.tagged(viewer.wanted.tags)
        # What has come since the last checkpoint is in the ring only.
        missed = await asyncio.to_thread(missed_in_store, context, mark, viewer.wanted, tagged)
        at_us = max(
            (int(one.mark.rpartition("-")[2]) for one in missed.events if one.mark), default=mark.at_us
        )
        recent = [
            one for one in context.live.table.since(context.live.table.oldest) if one[1].published_us > at_us
        ]
        labels = context.live.matching(viewer.wanted, recent)
        if labels:
            missed.events.append(labels_event([encode_label(one) for one in labels], context.live.mark()))
    return [*first, *told(missed, resumed=True)]


def _snapshot(context: Context, wanted: Filter) -> Event:
    table, tagged = context.live.table, context.live.tagged(wanted.tags)
    names = sorted(wanted.devices) if wanted.devices else sorted(table.ids())
    found = []
    for name in names:
        now = table.get(name)
        if now is not None and now.label is not None and wanted.wants(now.label, tagged):
            found.append(encode_label(now.label))
            if len(found) >= _SNAPSHOT:
                break
    event = labels_event(found, "")
    return Event("snapshot", event.data, "", event.labels)


# -- WebSocket ------------------------------------------------------------------------------------------


async def _serve_socket(context: Context, socket: WebSocket) -> None:
    require(socket.scope["state"]["who"], Role.VIEWER)
    wanted, mark, snapshot = _of_query(socket)
    viewer = _admit(context, socket.scope["state"]["who"], socket.scope["state"]["address"], wanted)
    await socket.accept()
    with context.live.joined(viewer):
        sending = asyncio.create_task(_send(context, socket, viewer, mark, snapshot))
        hearing = asyncio.create_task(_hear(context, socket, viewer))
        done, waiting = await asyncio.wait({sending, hearing}, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        results = await asyncio.gather(*done, *waiting, return_exceptions=True)
    code, reason = next((one for one in results if isinstance(one, tuple)), (1011, "the server has failed"))
    for one in results:
        if isinstance(one, Exception) and not isinstance(one, WebSocketDisconnect | TimeoutError | OSError):
            raise one
    if any(isinstance(one, TimeoutError) for one in results):
        return  # it reads nothing, so it is not told either: the connection is cut off
    if (
        socket.client_state is WebSocketState.CONNECTED
        and socket.application_state is WebSocketState.CONNECTED
    ):
        await socket.close(code, reason)


async def _send(
    context: Context, socket: WebSocket, viewer: Viewer, mark: Mark | None, snapshot: bool
) -> tuple[int, str]:
    """Send until the viewer is ended; how to close.

    Raises:
        TimeoutError: if what was sent is not read.
    """
    for event in await _first(context, viewer, mark, snapshot=snapshot):
        await _send_one(socket, event)
    async for some in events(viewer):
        for event in some or [plain_event("alive", {})]:
            await _send_one(socket, event)
    return 1008 if "token" in viewer.ended else 1001, viewer.ended


async def _send_one(socket: WebSocket, event: Event) -> None:
    async with asyncio.timeout(READ_S):
        await socket.send_text(event.as_message())


async def _hear(context: Context, socket: WebSocket, viewer: Viewer) -> tuple[int, str]:
    """Take what the client sends, which is another filter or nothing; how to close."""
    left, at = MESSAGES_PER_S, time.monotonic()
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))
        now = time.monotonic()
        left, at = min(MESSAGES_PER_S, left + (now - at) * MESSAGES_PER_S) - 1, now
        if left < 0:
            return 1008, "too many messages"
        raw = message.get("text") or message.get("bytes") or b""
        try:
            asked = msgspec.json.decode(raw, type=_Asked)
            context.live.change(
                viewer, checked_filter(asked.devices, asked.tags, asked.clusters, asked.traces)
            )
        except (msgspec.MsgspecError, ValueError) as error:
            context.authenticator.refuse(socket.scope, "it sent garbage on a WebSocket")
            return 1007, f"not a filter: {error}"[:120]


def checked_filter(devices: list[str], tags: list[str], clusters: list[int], traces: list[str]) -> Filter:
    """A filter of values that came over the network.

    Raises:
        ValueError: if there are too many, or one cannot be.
    """
    if max(len(devices), len(tags), len(clusters)) > MAX_NAMED or len(traces) > MAX_TRACED:
        raise ValueError("too many names")
    if not all(is_device(one) for one in [*devices, *traces]):
        raise ValueError("not a device id")
    return Filter(frozenset(devices), frozenset(tags), frozenset(clusters), frozenset(traces))


def _of_query(socket: WebSocket) -> tuple[Filter, Mark | None, bool]:
    asked = socket.query_params
    try:
        wanted = checked_filter(
            asked.getlist("device"), asked.getlist("tag"), [int(one) for one in asked.getlist("cluster")],
            asked.getlist("trace"),
        )  # fmt: skip
    except ValueError as error:
        raise ApiError(422, f"query: {error}", "See /api/v1/openapi.json") from None
    mark: Any = asked.get("last_event_id")
    return wanted, Mark.parse(mark) if mark else None, asked.get("snapshot") in ("true", "1")
