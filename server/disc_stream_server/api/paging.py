"""Pages of lists by a stable cursor: what comes or goes meanwhile moves nothing, and nothing comes twice."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from fastapi import Depends, Query
from pydantic import BaseModel, Field

from disc_stream_server.api.problems import ApiError

T = TypeVar("T")
MAX_LIMIT = 1_000
_MAX_CURSOR = 512

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Most items of a page.")]
CursorText = Annotated[
    str | None,
    Query(
        max_length=_MAX_CURSOR,
        pattern="^[A-Za-z0-9_-]+$",
        description="`next` of the page before; nothing for the first.",
    ),
]


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a list is asked for."""

    limit: Limit = 100
    cursor: CursorText = None


ListPart = Annotated[Part, Depends()]


class Page(BaseModel, Generic[T]):
    """Some items of a list, in its order."""

    items: list[T]
    next: str | None = Field(None, description="Cursor of the next page; null on the last one.")


class Cursor:
    """Reads and makes the cursors of one list.

    A cursor holds the key of the last item, and a mark of the filters that it belongs to.

    Args:
        name: of the list.
        filters: of the request, but for the limit.
    """

    def __init__(self, name: str, *filters: object) -> None:
        self._mark = hashlib.blake2b(repr((name, filters)).encode(), digest_size=6).hexdigest()

    def read(self, text: str | None, kind: type[T], begin: T) -> T:
        """The key of the item before the page; ``begin`` for the first page.

        Raises:
            ApiError: 422 if it is no cursor of this list.
        """
        if text is None:
            return begin
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            mark, key = msgspec.json.decode(raw, type=tuple[str, kind])  # type: ignore[valid-type]
        except (binascii.Error, ValueError, msgspec.MsgspecError):
            mark, key = "", begin
        if mark != self._mark:
            raise ApiError(
                422, "query.cursor: this is no cursor of this list with these filters",
                "Give `next` of the page before, with the same filters",
            )  # fmt: skip
        found: T = key
        return found

    def make(self, key: Any) -> str:
        """The cursor of the page behind an item."""
        raw = msgspec.json.encode((self._mark, key))
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    def page(self, items: list[Any], limit: int, key_of: Any) -> dict[str, Any]:
        """A page of items of which one more than the limit was asked for."""
        more = len(items) > limit
        shown = items[:limit]
        return {"items": shown, "next": self.make(key_of(shown[-1])) if more else None}
