"""All methods of Table I, and ours, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from disc_stream.artifacts.run import LabelAt
from disc_stream.errors import ConfigError, did_you_mean
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
    GuidedDISC,
    KMeansWindows,
    SpaceClusterer,
)
from disc_stream.training.estimators.base import WindowClusterer
from disc_stream.training.recipes import RECIPES, Recipe
from disc_stream.training.recipes.guided import GUIDED
from disc_stream.training.recipes.recurrent import DISC as SELF_TAUGHT

Group = Literal["input", "space", "deep", "ours"]
Make = Callable[[int, int, str, Mapping[str, Any]], WindowClusterer]


@dataclass(frozen=True, slots=True)
class Method:
    """One row of Table I.

    Args:
        name: as the command line names it.
        title: as Table I does.
        group: of rows: on the ``input``, on an autoencoder's ``space``, ``deep`` end to end, ``ours``.
        recipe: what is trained; None where nothing is.
        refits: the test figure is a clustering of the test windows themselves, as in the paper.
        make: (n_clusters, seed, preset, settings) -> a new estimator.
    """

    name: str
    title: str
    group: Group
    recipe: Recipe[Any] | None
    refits: bool
    make: Make

    @property
    def family(self) -> str:
        """Methods of one family share an autoencoder; empty for none."""
        return self.recipe.family if self.recipe else ""

    @property
    def presets(self) -> tuple[str, ...]:
        """That it knows; empty where it has no use for one."""
        return self.recipe.presets if self.recipe else ()

    @property
    def takes_settings(self) -> bool:
        """Whether there is anything to set."""
        return self.recipe is not None

    @property
    def knows_devices(self) -> bool:
        """Whether it takes into account which device a window came from."""
        return self.recipe is not None and self.recipe.knows_devices


def _deep(kind: type[DeepClusterer], **own: Any) -> Make:
    def make(n_clusters: int, seed: int, preset: str, settings: Mapping[str, Any]) -> WindowClusterer:
        return kind(n_clusters, preset, random_state=seed, settings={**settings, **own} or None)

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


def _guided(label_at: LabelAt) -> Make:
    def make(n_clusters: int, seed: int, _preset: str, settings: Mapping[str, Any]) -> WindowClusterer:
        return GuidedDISC(n_clusters, label_at, random_state=seed, settings=settings or None)

    return make


_LINKAGES = (("average", "AC-Average"), ("complete", "AC-Complete"), ("ward", "AC-Ward"))


def _rows() -> list[Method]:
    rows = [Method("kmeans", "k-Means", "input", None, False, _kmeans)]
    rows += [Method(f"ac-{a}", title, "input", None, True, _agglomerative(a)) for a, title in _LINKAGES]
    for recipe in (RECIPES["dsc"], SELF_TAUGHT):
        for algorithm, title in (("kmeans", "k-Means"), *_LINKAGES):
            make = _space(recipe.family, algorithm)
            name, refits = f"{recipe.name}-ae-{algorithm}", algorithm != "kmeans"
            rows.append(Method(name, f"{recipe.recorded} {title}", "space", recipe, refits, make))
    deep = (
        ("dec", "DEC", _deep(DEC)), ("idec", "IDEC", _deep(IDEC)), ("bdec", "BDEC", _deep(BDEC)),
        ("dcec", "DCEC", _deep(DCEC)),
        ("dsc-kmeans", "DSC (k-Means)", _deep(DSC, init="kmeans")),
        ("dsc-ward", "DSC (Ward)", _deep(DSC, init="ward")),
        ("disc-kmeans", "DISC (k-Means)", _deep(DISC, init="kmeans")),
        ("disc-ward", "DISC (Ward)", _deep(DISC, init="ward")),
    )  # fmt: skip
    recipes = {**RECIPES, "disc": SELF_TAUGHT}
    rows += [Method(n, title, "deep", recipes[n.partition("-")[0]], False, make) for n, title, make in deep]
    whens: tuple[LabelAt, ...] = ("half", "whole")
    guided = [
        Method(f"disc-guided-{at}", f"DISC guided ({at})", "ours", GUIDED, False, _guided(at)) for at in whens
    ]
    return [*rows, *guided, Method("disc-plus", "disc-plus", "ours", RECIPES["disc-plus"], False, _plus)]


METHODS: dict[str, Method] = {method.name: method for method in _rows()}


def get_method(name: str) -> Method:
    """The method of that name.

    Raises:
        ConfigError: naming the methods there are.
    """
    if name not in METHODS:
        raise ConfigError(
            f"unknown method {name!r}{did_you_mean(name, METHODS)}",
            remedy=f"Use one of: {', '.join(METHODS)}",
        )
    return METHODS[name]
