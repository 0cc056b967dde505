"""Hyper-parameters of disc-plus."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from disc_stream.errors import ConfigError


@dataclass(frozen=True, slots=True)
class PlusConfig:
    """How disc-plus learns; the values were chosen on other datasets than it is scored on (docs/adr/0011).

    Args:
        bands: bands of the power spectrum.
        axes: channels of one sensor, whose magnitude is described too.
        spans: candidates are found on descriptors averaged over so many windows before and after each.
        restarts: candidates for each span, from different starts.
        moves: most moves from the best of each span.
        explained: share of the variance that the principal components keep.
        windows_per_component: at least so many windows for each component that is kept.
        shrinkage: of the discriminant's covariance towards a multiple of the identity.
        folds: groups of devices that are left out in turn, to see what carries over to others.
        lag: windows ahead that a label has to tell something about.
        few_devices: with fewer devices (that have a next window), nothing can be said about carrying over:
            the most likely candidate of the span ``few_span`` is taken.
        few_span: see ``few_devices``.
        per_device: standardise descriptors by device (for finding the labels only).
        tied: clusters share one covariance, which is learned; otherwise k-means.
    """

    bands: int = 10
    axes: int = 3
    spans: tuple[int, ...] = (0, 1, 3, 5, 8)
    restarts: int = 20
    moves: int = 200
    explained: float = 0.99
    windows_per_component: int = 20
    shrinkage: float = 0.01
    folds: int = 3
    lag: int = 1
    few_devices: int = 3
    few_span: int = 1
    per_device: bool = True
    tied: bool = True

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: naming the field, its value and what is possible.
        """
        for name, least in (
            ("bands", 1), ("axes", 1), ("restarts", 1), ("moves", 0), ("windows_per_component", 1),
            ("folds", 2), ("lag", 0), ("few_devices", 2), ("few_span", 0),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not self.spans or min(self.spans) < 0:
            raise ConfigError(f"spans must be whole numbers of at least 0, got {self.spans}")
        for name in ("explained", "shrinkage"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ConfigError(f"{name} must be between 0 and 1, got {getattr(self, name)}")

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {**dataclasses.asdict(self), "spans": list(self.spans)}


def resolve_plus(settings: Mapping[str, Any] | None = None) -> PlusConfig:
    """The default values with some of them replaced; None leaves a value as it is.

    Raises:
        ConfigError: if a name is not known or a value is of the wrong kind or out of range.
    """
    given = {name: value for name, value in (settings or {}).items() if value is not None}
    defaults = PlusConfig()
    for name, value in given.items():
        if name not in PlusConfig.__dataclass_fields__:
            known = ", ".join(PlusConfig.__dataclass_fields__)
            raise ConfigError(f"disc-plus has no setting {name!r}", remedy=f"Use one of: {known}")
        if not _fits(value, getattr(defaults, name)):
            raise ConfigError(f"{name} must be like {getattr(defaults, name)!r}, got {value!r}")
    if "spans" in given:
        given["spans"] = tuple(given["spans"])
    return dataclasses.replace(defaults, **given)


def _fits(value: Any, default: Any) -> bool:
    if isinstance(default, tuple):
        return isinstance(value, (list, tuple)) and all(type(v) is int for v in value)
    if isinstance(default, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is type(default)
