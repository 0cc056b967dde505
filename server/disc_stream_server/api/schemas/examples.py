"""Windows of clusters, the map of the embedding, and how training went."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from disc_stream_server.api.schemas.common import Out, PublicId

_KEPT = (
    "Whether the version keeps training windows to look at: `no` if it was exported without, or they were "
    "taken out, `unreadable` if they are damaged."
)
_TRACE = "Its samples, thinned for drawing: rows of one value for each of `names`."


class Reading(Out):
    """What the windows of an answer consist of."""

    model: str = Field(description="Version.")
    kept: Literal["yes", "no", "unreadable"] = Field(description=_KEPT)
    names: list[str] = Field(description="Channels that are drawn: the first three at most.")
    units: list[str]
    seconds: float = Field(description="Length of a window.")


class ExampleOut(Out):
    """A training window."""

    cluster: int = Field(description="Own id.")
    name: str
    place: Literal["centre", "border"]
    distance: float = Field(description="Squared, in the embedding: to what was asked about.")
    trace: list[list[float]] = Field(description=_TRACE)


class ExamplesOut(Reading):
    """Training windows of one cluster, the most typical first; `distance` is to the middle of its centre."""

    items: list[ExampleOut]


class PresentWindow(Out):
    """The last window of a device."""

    boot: int
    window: int
    begin_us: int | None
    cluster: PublicId = Field(description="Of this window alone, before smoothing.")
    name: str
    trace: list[list[float]] = Field(description=_TRACE)


class CentroidDistance(Out):
    """How far the window is from a cluster."""

    cluster: int = Field(description="Own id.")
    name: str
    distance: float = Field(description="Squared distance in the embedding.")
    usual: float | None = Field(description="Within which 95 % of the cluster's training windows lie.")


class ExplanationOut(Reading):
    """Why a device has its label."""

    window: PresentWindow | None = Field(
        description="Null until its next window: ask again in a second or two."
    )
    nearest: list[CentroidDistance]
    similar: list[ExampleOut] = Field(description="Training windows most like it; none where none are kept.")


class MapCluster(Out):
    """A cluster on the map."""

    id: int
    public_id: int
    name: str
    x: float
    y: float


class MapPoint(Out):
    """A training window on the map."""

    cluster: int = Field(description="Own id.")
    x: float
    y: float
    border: bool


class MapOut(Out):
    """The embedding on a plane, which is the same for all windows of a version."""

    model: str
    kept: Literal["yes", "no", "unreadable"] = Field(description=_KEPT)
    clusters: list[MapCluster]
    points: list[MapPoint]


class MapDevice(Out):
    """Where the last window of a device lies."""

    device: str
    cluster: PublicId = Field(description="Of this window alone.")
    x: float
    y: float
    at_us: int = Field(description="When it was labelled.")


class MapDevices(Out):
    """Last windows of devices on the map of the version that serves, the newest first."""

    model: str
    items: list[MapDevice]


class EpochOut(Out):
    """One epoch."""

    phase: str
    epoch: int
    values: dict[str, float]


class TrainingOut(Out):
    """How the training of a version went; no epochs where that is not known."""

    model: str
    epochs: list[EpochOut]
