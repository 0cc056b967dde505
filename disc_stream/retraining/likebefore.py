"""What a retraining takes over from the version in production where nothing else is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from disc_stream.retraining.request import RetrainRequest

if TYPE_CHECKING:
    from disc_stream.artifacts.manifest import Manifest
    from disc_stream.artifacts.run import LabelAt


def with_preset(request: RetrainRequest, before: Manifest | None) -> RetrainRequest:
    """The request with a preset by name: of the version in production, if that was of the same method.

    Args:
        request: what is asked for.
        before: of the version in production; None if there is none.
    """
    from disc_stream.training.recipes import get_recipe
    from disc_stream.training.recipes.base import DEFAULT_PRESET

    if request.preset != DEFAULT_PRESET:
        return request
    recipe = get_recipe(request.method)
    preset = recipe.default_preset
    if before is not None and before.training.method == recipe.recorded:
        preset = before.training.preset if before.training.preset in recipe.presets else preset
    return request.model_copy(update={"preset": preset or DEFAULT_PRESET})


def label_at(run: Path, before: Manifest | None) -> LabelAt | None:
    """When to label: as before, where the new network can label at either time; None for the run's own."""
    from disc_stream.training.runs import read_info

    if before is None or read_info(run).whole is None:
        return None
    return "half" if before.window.input_samples < before.window.samples else "whole"
