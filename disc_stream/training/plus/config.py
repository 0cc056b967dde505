"""Hyper-parameters of disc-plus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from disc_stream.models.settings import Settings, unknown_setting


class PlusConfig(Settings):
    """How disc-plus learns; the values were chosen on other datasets than it is scored on (docs/adr/0011).

    Raises:
        ConfigError: naming the field, its value and what is possible.
    """

    bands: int = Field(10, ge=1, title="Bands", description="of the power spectrum")
    axes: int = Field(3, ge=1, title="Channels of a sensor", description="whose magnitude is described, too")
    spans: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (0, 1, 3, 5, 8),
        min_length=1,
        strict=False,
        title="Spans",
        description="candidates are found on descriptors averaged over so many windows before and after each",
    )
    restarts: int = Field(
        6, ge=1, title="Restarts", description="candidates for each span, from different starts"
    )
    moves: int = Field(
        60, ge=0, title="Moves", description="maximum for each span; the spans share the search evenly"
    )
    patience: int = Field(
        15, ge=1, title="Patience", description="moves without a gain after which a span has converged"
    )
    rounds: int = Field(
        2, ge=0, title="Rounds", description="maximum, of trying the best of the other spans at each span"
    )
    likelihood_weight: float = Field(
        0.2,
        ge=0,
        title="Weight of the likelihood",
        description="in a candidate's score, of its log-likelihood above that of the best start of its span",
    )
    voters: int = Field(
        10, ge=1, title="Voters", description="best candidates whose majority labels a window"
    )
    explained: float = Field(
        0.99, gt=0, lt=1, title="Variance explained", description="share that the principal components keep"
    )
    windows_per_component: int = Field(
        20, ge=1, title="Windows per component", description="minimum for each component that is kept"
    )
    most_components: int = Field(
        64,
        ge=1,
        title="Components",
        description="maximum that are kept of the descriptors, for finding labels",
    )
    most_scored: int = Field(
        300,
        ge=1,
        title="Scored components",
        description="of more descriptors than this, the carry-over is measured on so many components",
    )
    shrinkage: float = Field(
        0.01,
        gt=0,
        lt=1,
        title="Shrinkage",
        description="of the discriminant's covariance towards a multiple of the identity",
    )
    folds: int = Field(
        3,
        ge=2,
        title="Folds",
        description="groups of devices that are left out in turn, to see what carries over to others",
    )
    lag: int = Field(
        1, ge=0, title="Lag", description="windows ahead that a label has to tell something about"
    )
    few_devices: int = Field(
        3,
        ge=2,
        title="Few devices",
        description="with fewer devices (that have a next window), nothing can be said about carrying over: "
        "the most likely candidate of the span `few_span` is taken",
    )
    few_span: int = Field(1, ge=0, title="Span for few devices", description="see `few_devices`")
    slow_spans: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (),
        strict=False,
        title="Spans of slow components",
        description="candidates are found on the slow components averaged over so many windows, too, and "
        "settle as labels that last; none for no such candidates",
    )
    slow_lags: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (2, 4, 8),
        min_length=1,
        strict=False,
        title="Lags of slow components",
        description="windows ahead over which slow components last",
    )
    slow_components: int = Field(12, ge=1, title="Slow components", description="maximum that are kept")
    slow_restarts: int = Field(
        20, ge=1, title="Slow restarts", description="candidates for each span of slow components"
    )
    slow_likelihood_weight: float = Field(
        0.0,
        ge=0,
        title="Weight of the likelihood of slow components",
        description="as `likelihood_weight`",
    )
    settling: int = Field(
        0,
        ge=0,
        title="Settling",
        description="rounds, at most, in which labels settle as ones that last; 0 leaves the labels that "
        "are learned from as they were found",
    )
    settling_stay: float = Field(
        0.95,
        gt=0,
        lt=1,
        title="Stay",
        description="probability that the next window has the same label, while labels settle",
    )
    evidence: float = Field(
        0.25,
        gt=0,
        title="Evidence",
        description="weight of a window's log-likelihood while labels settle; windows resemble each other",
    )
    recuts: int = Field(
        0,
        ge=0,
        title="Recuts",
        description="rounds, at most, in which a cluster is cut where its motion changes slowly and two are "
        "joined, at the end of the search; wants `settling`; 0 for none",
    )
    per_device: bool = Field(
        True,
        title="Standardise by device",
        description="the descriptors, for finding the labels only",
    )
    tied: bool = Field(
        True,
        title="Common covariance",
        description="clusters share one covariance, which is learned; otherwise k-means",
    )


def resolve_plus(settings: Mapping[str, Any] | None = None) -> PlusConfig:
    """The default values with some of them replaced; None leaves a value as it is.

    Raises:
        ConfigError: if a name is not known or a value is of the wrong kind or out of range.
    """
    given = {name: value for name, value in (settings or {}).items() if value is not None}
    for name in given:
        if name not in PlusConfig.model_fields:
            raise unknown_setting(name, PlusConfig.model_fields, "disc-plus")
    return PlusConfig(**given)
