"""Clusters, models and retraining."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from disc_stream_server.api.schemas.common import Body, ClusterId, Line, Out, Whole, Why, _printable

Name = Annotated[str, Field(max_length=64), AfterValidator(_printable)]


class NameProposalOut(Out):
    """A name that the machine proposes."""

    name: str
    evidence: str


class ClusterOut(Out):
    """One cluster as people know it."""

    id: int
    public_id: int
    name: str
    label: str = Field(description="What its labels are called.")
    colour: str
    note: str
    merged_into: int | None
    muted: bool
    retired: bool
    born: int = Field(description="Number of the version that it came with; 0 without a registry.")
    parent: int | None
    size: int = Field(description="Training windows.")
    description: str
    proposals: list[NameProposalOut]
    rejections: list[int] = Field(description="Ids that it is not.")
    rejected_names: list[str]
    revision: int = Field(description="Of the registry; give it as If-Match with a change.")


class DeviceShareOut(Out):
    """How long a device did it."""

    device: str
    seconds: float


class ActivityOut(Out):
    """When devices did something, over the episodes of some days."""

    cluster: int = Field(description="Public id: what is merged counts together.")
    seconds: float = Field(description="Of all devices together.")
    devices: int
    hours: list[float] = Field(description="Seconds in each of the 24 hours of the day.")
    most: list[DeviceShareOut] = Field(description="Devices that did it longest, ten at most.")
    complete: bool = Field(description="False if there were too many episodes to count all.")


class ClusterChange(Body):
    """What is to be changed; what is left out stays."""

    name: Name | None = Field(None, description="Empty to take it away.")
    colour: Annotated[str, Field(pattern="^(#[0-9a-fA-F]{6})?$")] | None = None
    note: Line | None = None
    muted: bool | None = None


class MergeInto(Body):
    """What a cluster is to be published as."""

    into: ClusterId


class SplitOff(Body):
    """What is to be taken back; nothing for all of it."""

    ids: Annotated[list[ClusterId], Field(default_factory=list, max_length=1_000)]


class NotThis(Body):
    """What a cluster is not."""

    other: ClusterId


class NotNamed(Body):
    """A name that is wrong for it."""

    name: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_printable)]


class Undo(Body):
    """An event to undo; the last one without a number."""

    event: Annotated[int, Field(ge=1, le=2**53 - 1), Whole] | None = None


class ChangeOut(Out):
    """One field of one cluster."""

    id: int
    field: str
    before: Any
    after: Any


class EventOut(Out):
    """One entry of the clusters' history."""

    number: int
    at_us: int
    who: str
    what: str
    ids: list[int]
    changes: list[ChangeOut]
    detail: dict[str, Any]
    undoes: int | None
    deployment: int | None
    revision: int
    expected: int | None


class Changed(Out):
    """What a change has brought about."""

    revision: int
    events: list[EventOut] = Field(description="None if it was so already.")


class VersionOut(Out):
    """One version of a model."""

    number: int
    version: str
    state: Literal["in production", "pruned", "rejected", "candidate", "was in production"]
    added_us: int
    clusters: int
    ids: list[int] | None
    based_on: str | None
    rejected: str
    marked: str
    pruned_us: int | None
    lineage: dict[str, Any]


class DeploymentOut(Out):
    """A version that went into production."""

    number: int
    kind: Literal["promote", "rollback"]
    version_number: int
    version: str
    at_us: int
    who: str
    why: str
    replaced: str | None
    gate: str


class DiffOut(Out):
    """How two versions differ."""

    old: str
    new: str
    kept: list[dict[str, int]]
    gone: list[dict[str, int]]
    new_ids: list[dict[str, int]]
    fresh: list[dict[str, int]]
    facts: dict[str, dict[str, Any]]


class Because(Body):
    """Why, for the history."""

    why: Why


class Promotion(Because):
    """A version is to go into production."""

    even_rejected: bool = False


class Verdict(Body):
    """Why a version is not to be promoted; empty to take that back."""

    why: Line


class RetrainingOut(Out):
    """Where the retraining is."""

    possible: bool = Field(description="Whether this server retrains when it is asked to.")
    phase: str
    done: int
    total: int
    words: str
    last: str
    due_us: int = Field(description="0 without a schedule.")
    windows: int
    devices: int


class AskedOut(Out):
    """A retraining was asked for; it begins as soon as no other runs."""

    asked: bool
    why: str


class DecisionOut(Out):
    """A line of the log of retrainings."""

    at_us: int
    event: str
    facts: dict[str, Any]
