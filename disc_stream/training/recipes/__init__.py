"""Registry of all recipes: the only place that maps method names to implementations."""

from __future__ import annotations

from typing import Any

from disc_stream.errors import ConfigError, did_you_mean
from disc_stream.training.families import Family
from disc_stream.training.recipes.base import Learned, Recipe
from disc_stream.training.recipes.convolutional import CONVOLUTIONAL_FAMILY, DCEC
from disc_stream.training.recipes.disc import DISC
from disc_stream.training.recipes.plus import PLUS
from disc_stream.training.recipes.recurrent import DISC_FAMILY, DSC, DSC_FAMILY
from disc_stream.training.recipes.stacked import BDEC, DEC, IDEC, STACKED_FAMILY

__all__ = ["FAMILIES", "RECIPES", "Learned", "Recipe", "get_family", "get_recipe", "recipe_of_run"]

RECIPES: dict[str, Recipe[Any]] = {recipe.name: recipe for recipe in (DISC, DSC, PLUS, DEC, IDEC, BDEC, DCEC)}
FAMILIES: dict[str, Family] = {
    family.name: family for family in (DISC_FAMILY, DSC_FAMILY, STACKED_FAMILY, CONVOLUTIONAL_FAMILY)
}


def get_recipe(name: str) -> Recipe[Any]:
    """The recipe of a method, as the command line names it.

    Raises:
        ConfigError: naming the recipes there are.
    """
    if name not in RECIPES:
        raise ConfigError(
            f"unknown method {name!r}{did_you_mean(name, RECIPES)}",
            remedy=f"Use one of: {', '.join(RECIPES)}",
        )
    return RECIPES[name]


def recipe_of_run(recorded: str) -> Recipe[Any]:
    """The recipe of a method, as ``run.json`` names it.

    Raises:
        ConfigError: if this version has none such.
    """
    for recipe in RECIPES.values():
        if recipe.recorded == recorded:
            return recipe
    raise ConfigError(f"the method {recorded!r} is not known to this version", remedy="Upgrade disc-stream")


def get_family(name: str) -> Family:
    """The family of that name.

    Raises:
        ConfigError: naming the families there are.
    """
    if name not in FAMILIES:
        raise ConfigError(f"there is no family {name!r}", remedy=f"Use one of: {', '.join(FAMILIES)}")
    return FAMILIES[name]
