"""Devices, labels and what people say of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from disc_stream_server.api.schemas.common import Body, ClusterId, Device, Line, Out, PublicId, Tag, TimeUs


class SoftLabelOut(Out):
    """A cluster, and the probability of it."""

    cluster: PublicId
    name: str
    confidence: float


class ProblemOut(Out):
    """Why a device has no labels, or worse ones."""

    code: str
    words: str
    since_us: int
    count: int
    remedy: str


class CurrentLabel(Out):
    """The last label of a device."""

    cluster: PublicId = Field(description="After smoothing.")
    name: str
    confidence: float
    best: SoftLabelOut = Field(description="Before smoothing.")
    novelty: float | None
    model: str
    boot: int
    window: int
    begin_us: int | None = Field(description="When the window began; null for a device without a clock.")
    published_us: int


class BeforeOut(Out):
    """What a device did last, as it is stored."""

    cluster: PublicId | None = Field(description="Null if that was not decided.")
    name: str
    since_us: int | None
    last_us: int | None = Field(description="End of its newest label; null if none has a time.")
    model: str = Field(description="Version that gave it.")


class DescriptionOut(Out):
    """What a device says of itself, on its retained `meta` topic."""

    placement: str
    model: str
    firmware: str
    battery: float | None = Field(description="What is left of it, 0 to 1; null if it does not say.")


class DeviceFacts(Out):
    """How what a device sends comes, since the server was started."""

    messages: int
    rate: float | None = Field(description="That it declares, Hz; null before its first message.")
    measured: float | None = Field(
        description="By its own clock, Hz, over the last minute; null before 5 s without a gap."
    )
    gaps: int = Field(description="Places where messages are missing.")
    missing: int = Field(description="Messages missing there. What comes late after all is taken off again.")
    clock_offset_us: int | None = Field(
        description="Unix time at the zero of the device's clock, about 0 for one that shows the time of "
        "day; null if it is not known."
    )
    description: DescriptionOut | None = Field(description="Null if it has not described itself.")


class DeviceOut(Out):
    """A device as it is now."""

    id: str
    tags: list[str]
    seen_us: int | None = Field(description="Last message since the server was started; null for none.")
    current: CurrentLabel | None = Field(description="Null if it has had none since the server was started.")
    since_us: int | None = Field(
        description="Since when that is its label, as far as this run has seen; null without one."
    )
    before: BeforeOut | None = Field(
        description="What it did before the server was started; null with `current`."
    )
    problem: ProblemOut | None
    facts: DeviceFacts | None = Field(description="Null in lists that were not asked with `facts`.")


class TraceOut(Out):
    """The last seconds of a device's signal, thinned for drawing; a gap is a point of nulls."""

    device: str
    names: list[str]
    unit: str
    rate: float
    number: int = Field(description="Points since the trace began anew.")
    until_us: int = Field(description="End of the newest point by the device's clock, as `t1_us` of labels.")
    points: list[list[float | None]]


class Tags(Body):
    """All tags of a device."""

    tags: Annotated[list[Tag], Field(max_length=32)]


class TagsOut(Out):
    """All tags of a device, in order."""

    device: str
    tags: list[str]
    revision: int


class TagCount(Out):
    """A tag, and how many devices have it."""

    tag: str
    devices: int


class LabelOut(Out):
    """The label of one window, as it is stored."""

    device: str
    begin_us: int
    end_us: int
    cluster: PublicId = Field(description="After smoothing; the public id of today.")
    name: str = Field(description="Of today.")
    confidence: float
    was: PublicId = Field(description="Public id that the label carried.")
    best: PublicId = Field(description="The same before smoothing.")
    best_confidence: float
    distance: float
    novelty: float | None
    model: str
    boot: int
    window: int
    position: int = Field(description="Of its message in the spool.")
    deferred: bool
    bridged: bool
    labelled_us: int


class EpisodeOut(Out):
    """An activity from then to then."""

    device: str
    begin_us: int
    end_us: int
    goes_on: bool
    cluster: PublicId = Field(description="The public id of today.")
    name: str
    windows: int
    confidence: float
    was: list[int] = Field(description="Public ids that its labels carried.")


class ShareOut(Out):
    """How long a device did something."""

    cluster: PublicId
    name: str
    seconds: float
    episodes: int


class EpisodeEventOut(Out):
    """What has become of a device's episodes."""

    sequence: int
    at_us: int
    device: str
    kind: Literal["begin", "end", "corrected"]
    begin_us: int
    end_us: int | None
    cluster: int | None
    name: str


class EpisodeEvents(Out):
    """Events behind a sequence number."""

    events: list[EpisodeEventOut]
    sequence: int = Field(description="What to give as `after` for the next.")
    complete: bool = Field(
        description="False if events between were removed, for their age: read the episodes anew."
    )
    more: bool


class NewRejection(Body):
    """Labels that are wrong: those of one device with one id, of windows that begin within a time."""

    device: Device
    from_us: TimeUs
    until_us: TimeUs = Field(description="Not in it.")
    cluster: ClusterId
    instead: ClusterId | None = Field(None, description="What they should be, if that is known.")
    note: Line = ""

    @model_validator(mode="after")
    def _in_order(self) -> NewRejection:
        if self.from_us >= self.until_us:
            raise ValueError("until_us must be after from_us")
        return self


class RejectionOut(Out):
    """Labels of which somebody said that they are wrong. The next retraining does not learn from them."""

    number: int
    device: str
    from_us: int
    until_us: int
    cluster: int
    instead: int | None
    note: str
    who: str
    at_us: int
    withdrawn_us: int | None
