"""Dead letters, health, tokens and the audit log."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from disc_stream_server.api.auth.roles import Role
from disc_stream_server.api.schemas.common import MAX_TIME_US, Body, Out, Whole, _printable


class DeadLetterOut(Out):
    """A message that could not be used."""

    position: int
    received_us: int
    topic: str
    device: str
    reason: str
    message: str
    content_type: str
    size: int


class DeadLetterWhole(DeadLetterOut):
    """The same with its bytes, and what the decoder says today."""

    payload: str = Field(description="Hexadecimal; may be cut where size is more.")
    today: str


class DeadLetterCounts(Out):
    """How many there are."""

    reasons: dict[str, int]
    dropped: int


class ReplayLetters(Body):
    """Messages to be sent again on their topics."""

    positions: Annotated[
        list[Annotated[int, Field(ge=1, le=MAX_TIME_US), Whole]], Field(min_length=1, max_length=1_000)
    ]


class ReplayedOut(Out):
    """What came of it."""

    chosen: int
    windows: int = Field(description="Windows that the model could not use: kept to be looked at, not sent.")
    cut: int
    confirmed: int
    refused: int


class Health(Out):
    """Whether messages become labels now, and the server's numbers."""

    ready: bool
    waits_for: str | None
    version: str
    prefix: str
    broker: str
    model: str
    now_us: int
    registry: bool = Field(description="Whether clusters and models can be changed here.")
    retraining: bool
    devices: int
    unlabelled: int
    labels_per_s: float
    viewers: int
    dropped: int = Field(description="Labels that slow viewers of the live feed did not get.")
    notice: str = Field(description="A sentence for everybody who looks on, such as what a demo shows.")
    status: dict[str, Any] = Field(
        description="The last message on $server/status, and what only this server knows."
    )


class Delays(Out):
    """A histogram of seconds."""

    bounds: list[float] = Field(description="Upper bounds of the buckets.")
    counts: list[int] = Field(description="One more: the last bucket has no bound.")
    mean: float
    p50: float | None = Field(description="Null where it lies above the last bound; likewise the others.")
    p95: float | None
    p99: float | None


class StageOut(Out):
    """What the labelling thread does, one kind of it."""

    name: str
    calls: int
    seconds: float = Field(description="That all of them took.")
    p99: float | None


class SpoolOut(Out):
    """What the spool takes of its disk."""

    bytes: int
    files: int
    free: int | None = Field(description="Of the disk; null if that cannot be told.")
    disk: int | None
    per_day: float | None = Field(
        description="Bytes received a day, as since the start; null for the first ten minutes."
    )
    days_left: float | None = Field(
        description="Until the disk is full as things go; null if that is not known, or if retention removes "
        "as much before."
    )
    kept_at_most: int | None = Field(description="Bytes, by `keep_bytes`.")
    kept_days: float = Field(description="By `keep_days`.")


class Operation(Out):
    """How the server works, since it was started."""

    delay: Delays | None = Field(
        description="From the receipt of the message that completed a window to its label; null before one."
    )
    deferred_delay: Delays | None = Field(description="The same of labels that were deferred.")
    stages: list[StageOut] = Field(description="The one that took longest first.")
    spool: SpoolOut


class DriftPoint(Out):
    """The windows of some minutes, of devices that are worn."""

    from_us: int
    model: str
    windows: int
    unusual: int = Field(
        description="Further from their cluster than 95 % of its training windows; 5 % would be usual."
    )
    unknown: int


class DriftOut(Out):
    """Over time, the oldest first; another model begins another point."""

    span_s: float
    points: list[DriftPoint]


class NewToken(Body):
    """A token to be made."""

    name: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_printable)]
    role: Annotated[Role, Field(strict=False)]
    expires_us: Annotated[int, Field(ge=0, le=MAX_TIME_US), Whole] | None = None


class TokenOut(Out):
    """What may be known of a token."""

    id: str
    name: str
    role: Role
    created_us: int
    created_by: str
    expires_us: int | None
    revoked_us: int | None
    used_us: int | None


class TokenMade(TokenOut):
    """A new token."""

    token: str = Field(description="The secret. Nobody can see it again.")


class LogIn(Body):
    """A token, for a browser that has none yet."""

    token: Annotated[str, Field(min_length=1, max_length=256)]


class AuditOut(Out):
    """One change."""

    number: int
    at_us: int
    who: str
    role: str
    address: str
    action: str
    target: str
    detail: dict[str, Any]
    status: int | None
