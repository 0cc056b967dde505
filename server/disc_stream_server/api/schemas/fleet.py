"""All devices in columns."""

from __future__ import annotations

from pydantic import Field

from disc_stream_server.api.schemas.common import Out, PublicId
from disc_stream_server.api.schemas.devices import ProblemOut


class FleetOut(Out):
    """All devices, or those that have changed: the nth item of each column is of the nth device."""

    mark: str = Field(description="Give it as `since`, for what has changed after this answer.")
    whole: bool = Field(description="Whether these are all devices; if so, others are gone.")
    now_us: int
    models: list[str] = Field(description="Versions, that the column `model` counts from 0.")
    names: dict[str, str] = Field(description="What clusters were called by these labels, by public id.")
    tags: dict[str, list[str]] | None = Field(
        description="Of every device that has any; null if no tag has changed since the mark."
    )
    problems: dict[str, ProblemOut] = Field(description="Of these devices, by id; others have none.")
    id: list[str]
    seen_ms: list[int | None] = Field(
        description="Milliseconds since the last message of this run, or else since the end of the newest "
        "stored label; null for none."
    )
    since_ms: list[int | None] = Field(description="Milliseconds since when that is the label.")
    cluster: list[PublicId | None] = Field(description="Of the last label; null if there is none.")
    confidence: list[float | None] = Field(description="Null without a label since the server was started.")
    model: list[int | None]
