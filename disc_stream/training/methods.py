"""All methods of Table I, and ours, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from disc_stream.errors import ConfigError
from disc_stream.training.estimators import (
    BDEC,
    DCEC,
    DEC,
    DISC,
    DSC,
    IDEC,
    AgglomerativeWindows,
    DeepClusterer,
    DiscPlus,
    KMeansWindows,
    SpaceClusterer,
)
from disc_stream.training.estimators.base import WindowClusterer

Group = Literal["input", "space", "deep", "ours"]
Make = Callable[[int, int, str, Mapping[str, Any]], WindowClusterer]

_PRESETS = ("small", "released", "paper")


@dataclass(frozen=True, slots=True)
class Method:
    """One row of Table I.

    Args:
        name: as the command line names it.
        title: as Table I does.
        group: of rows: on the ``input``, on an autoencoder's ``space``, ``deep`` end to end, ``ours``.
        family: methods of one family share an autoencoder; empty for none.
        refits: the test figure is a clustering of the test windows themselves, as in the paper.
        presets: that it knows; empty where it has no use for one.
        make: (n_clusters, seed, preset, settings) -> a new estimator.
    """

    name: str
    title: str
    group: Group
    family: str
    refits: bool
    presets: tuple[str, ...]
    make: Make


def _deep(kind: type[DeepClusterer], init: str | None = None) -> Make:
    def make(n_clusters: int, seed: int, preset: str, settings: Mapping[str, Any]) -> WindowClusterer:
        return kind(n_clusters, preset, random_state=seed, init=init, settings=settings or None)

    return make


def _space(family: str, algorithm: str) -> Make:
    def make(n_clusters: int, seed: int, preset: str, settings: Mapping[str, Any]) -> WindowClusterer:
        return SpaceClusterer(
            n_clusters, family, algorithm, preset, random_state=seed, settings=settings or None
        )

    return make


def _without_settings(settings: Mapping[str, Any], name: str) -> None:
    if settings:
        raise ConfigError(f"{name} has no setting {next(iter(settings))!r}", remedy="Leave it out")


def _kmeans(n_clusters: int, seed: int, _preset: str, settings: Mapping[str, Any]) -> WindowClusterer:
    _without_settings(settings, "kmeans")
    return KMeansWindows(n_clusters, random_state=seed)


def _agglomerative(linkage: str) -> Make:
    def make(n_clusters: int, seed: int, _preset: str, settings: Mapping[str, Any]) -> WindowClusterer:
        _without_settings(settings, f"ac-{linkage}")
        return AgglomerativeWindows(n_clusters, linkage, random_state=seed)

    return make


def _plus(n_clusters: int, seed: int, _preset: str, settings: Mapping[str, Any]) -> WindowClusterer:
    return DiscPlus(n_clusters, random_state=seed, settings=settings or None)


_LINKAGES = (("average", "AC-Average"), ("complete", "AC-Complete"), ("ward", "AC-Ward"))


def _rows() -> list[Method]:
    rows = [Method("kmeans", "k-Means", "input", "", False, (), _kmeans)]
    rows += [Method(f"ac-{a}", title, "input", "", True, (), _agglomerative(a)) for a, title in _LINKAGES]
    for family, name in (("dsc", "DSC"), ("disc", "DISC")):
        for algorithm, title in (("kmeans", "k-Means"), *_LINKAGES):
            rows.append(
                Method(
                    f"{family}-ae-{algorithm}", f"{name} {title}", "space", family, algorithm != "kmeans",
                    _PRESETS, _space(family, algorithm),
                )
            )  # fmt: skip
    deep = (
        ("dec", "DEC", "sae", _deep(DEC)),
        ("idec", "IDEC", "sae", _deep(IDEC)),
        ("bdec", "BDEC", "sae", _deep(BDEC)),
        ("dcec", "DCEC", "cae", _deep(DCEC)),
        ("dsc-kmeans", "DSC (k-Means)", "dsc", _deep(DSC, "kmeans")),
        ("dsc-ward", "DSC (Ward)", "dsc", _deep(DSC, "ward")),
        ("disc-kmeans", "DISC (k-Means)", "disc", _deep(DISC, "kmeans")),
        ("disc-ward", "DISC (Ward)", "disc", _deep(DISC, "ward")),
    )
    rows += [Method(name, title, "deep", family, False, _PRESETS, make) for name, title, family, make in deep]
    return [*rows, Method("disc-plus", "disc-plus", "ours", "", False, (), _plus)]


METHODS: dict[str, Method] = {method.name: method for method in _rows()}


def get_method(name: str) -> Method:
    """The method of that name.

    Raises:
        ConfigError: naming the methods there are.
    """
    if name not in METHODS:
        raise ConfigError(f"there is no method {name!r}", remedy=f"Use one of: {', '.join(METHODS)}")
    return METHODS[name]
