"""Values that several routes share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from disc_stream.wire.limits import MAX_UINT32
from disc_stream_server.api.auth.roles import Role

DEVICE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$"
MAX_TIME_US = 2**53 - 1
"""What every JSON reader holds exactly; the year 2255."""


def _whole(value: object) -> object:
    """In JSON 5.0 is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = BeforeValidator(_whole)
"""Behind the bounds of an integer, or the document would not name them."""
Device = Annotated[str, Field(pattern=DEVICE_PATTERN, description="Id of a device.")]
DevicePath = Annotated[str, Path(pattern=DEVICE_PATTERN, description="Id of a device.")]
DeviceQuery = Annotated[str | None, Query(pattern=DEVICE_PATTERN, description="Only those of this device.")]
TimeUs = Annotated[int, Field(ge=0, le=MAX_TIME_US), Whole]
FromQuery = Annotated[
    int | None, Query(ge=0, le=MAX_TIME_US, alias="from", description="Begin of the time, Unix microseconds.")
]
UntilQuery = Annotated[
    int | None, Query(ge=0, le=MAX_TIME_US, alias="until", description="End of the time, which is not in it.")
]
ClusterId = Annotated[int, Field(ge=0, le=MAX_UINT32, description="Id of a cluster."), Whole]
ClusterPath = Annotated[int, Path(ge=0, le=MAX_UINT32, description="Id of a cluster.")]
PublicId = Annotated[
    int, Field(ge=-2, le=MAX_UINT32, description="Public id of a cluster; -1 for unknown, -2 for not worn.")
]
TAG_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.:/ -]{0,47}$"
Tag = Annotated[str, Field(pattern=TAG_PATTERN)]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("use printable characters, in one line")
    return text


Why = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_printable)]
Line = Annotated[str, Field(max_length=500), AfterValidator(_printable)]


class Body(BaseModel):
    """What a client sends; what is not known is refused, and 0 is not false."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Out(BaseModel):
    """What the server sends."""

    model_config = ConfigDict(from_attributes=True)


class ProblemPart(BaseModel):
    """One thing that is wrong with a request."""

    where: str
    what: str


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str = Field(description="What is wrong, and where.")
    remedy: str | None = Field(None, description="What to do about it.")
    errors: list[ProblemPart] | None = None


class Me(Out):
    """Who asks."""

    name: str
    role: Role
    token: str = Field(description="Id of the token; empty where none is needed.")
