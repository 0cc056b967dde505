"""Messages that could not be used; the same operations as ``disc-stream deadletter``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from disc_stream_server.api.auth.roles import Role
from disc_stream_server.api.context import context_of, note
from disc_stream_server.api.paging import Cursor, CursorText, Limit, Page
from disc_stream_server.api.routing import make_router, needs
from disc_stream_server.api.schemas.common import MAX_TIME_US
from disc_stream_server.api.schemas.operations import (
    DeadLetterCounts,
    DeadLetterOut,
    DeadLetterWhole,
    ReplayedOut,
    ReplayLetters,
)
from disc_stream_server.deadletters import decode_again, letter_at, send_again
from disc_stream_server.storage.records import DeadLetter

_Of = Annotated[str | None, Query(max_length=128)]


def dead_letter_routes() -> APIRouter:
    """Dead letters."""
    router = make_router("dead letters")

    @router.get("/dead-letters", **needs(Role.VIEWER), response_model=Page[DeadLetterOut])
    def list_letters(
        request: Request,
        limit: Limit = 100,
        cursor: CursorText = None,
        reason: _Of = None,
        device: _Of = None,
    ) -> Any:
        """Dead letters in the order in which they came."""
        pages = Cursor("dead letters", reason, device)
        after = pages.read(cursor, int, 0)
        with context_of(request).reader() as reader:
            found = reader.dead_letters(
                reason=reason, device=device, after=max(0, min(after, MAX_TIME_US)), limit=limit + 1
            )
        return pages.page(found, limit, lambda one: one.position)

    @router.get("/dead-letter-counts", **needs(Role.VIEWER), response_model=DeadLetterCounts)
    def counts(request: Request) -> Any:
        """How many there are, by reason."""
        with context_of(request).reader() as reader:
            return {"reasons": reader.dead_letter_counts(), "dropped": reader.dead_letters_dropped}

    @router.get("/dead-letters/{position}", **needs(Role.OPERATOR, 404), response_model=DeadLetterWhole)
    def get_letter(position: Annotated[int, Path(ge=1, le=MAX_TIME_US)], request: Request) -> Any:
        """One with its bytes, which may be what somebody's device has recorded."""
        with context_of(request).reader() as reader:
            letter = letter_at(reader, position)
            return {**_facts(letter), "payload": letter.payload.hex(), "today": decode_again(reader, letter)}

    @router.post("/dead-letter-replays", **needs(Role.ADMIN, 404), response_model=ReplayedOut)
    def replay(body: ReplayLetters, request: Request) -> Any:
        """Publish them again on their topics, for example after a device's description was corrected."""
        context = context_of(request)
        note(request, positions=body.positions)
        with context.reader() as reader:
            letters = [letter_at(reader, position) for position in dict.fromkeys(body.positions)]
        return asdict(send_again(letters, context.config.broker))

    return router


def _facts(letter: DeadLetter) -> dict[str, Any]:
    return {name: getattr(letter, name) for name in DeadLetterOut.model_fields}
