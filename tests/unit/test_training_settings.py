"""Settings of training: what they say of themselves, and the way into a run folder and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from disc_stream.errors import ConfigError, TrainingError
from disc_stream.models.config import NetworkConfig
from disc_stream.models.convolutional import ConvConfig
from disc_stream.models.dense import StackedConfig
from disc_stream.models.settings import Settings
from disc_stream.training.plus.config import PlusConfig
from disc_stream.training.presets import TrainingConfig
from disc_stream.training.recipes import RECIPES
from disc_stream.training.runs import load_run
from tests.support.tiny_run import edit_run, write_tiny_run

KINDS: tuple[type[Settings], ...] = (TrainingConfig, NetworkConfig, StackedConfig, ConvConfig, PlusConfig)


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_has_a_title_and_a_description(kind: type[Settings]) -> None:
    for name, field in kind.model_fields.items():
        assert field.title, name
        assert field.description, name


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_settings_survive_json_and_yaml(recipe: Any) -> None:
    for preset in recipe.presets or ("",):
        config = recipe.resolve(preset, {})
        kind = type(config)
        assert kind(**json.loads(json.dumps(config.to_dict()))) == config
        assert kind.model_validate(yaml.safe_load(yaml.safe_dump(config.to_dict()))) == config


def test_settings_are_frozen_and_changed_ones_are_checked() -> None:
    config = TrainingConfig()
    with pytest.raises(ValidationError, match="frozen"):
        config.epochs = 3  # type: ignore[misc]
    assert config.but(epochs=3).epochs == 3
    with pytest.raises(ConfigError, match="epochs must be at least 1, got 0"):
        config.but(epochs=0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epochs": "3"}, "epochs must be a whole number, got '3'"),
        ({"epochs": True}, "epochs must be a whole number, got True"),
        ({"gamma": float("nan")}, "gamma must be a finite number, got nan"),
        ({"gamma": 1.5}, r"gamma must be between 0 and 1, got 1\.5"),
        ({"learning_rate": 0.0}, r"learning_rate must be above 0 and at most 1, got 0\.0"),
        ({"scaler": "max"}, "scaler must be one of minmax, zscore, none, got 'max'"),
        ({"epoch": 3}, r"there is no setting 'epoch'\. Use one of: batch_size, "),
        ({"network": {"widths": [3, 0]}}, "widths must be a list, each value at least 1, got 0"),
        ({"network": {"kernel": 4}}, "kernel must be odd, got 4"),
        ({"network": {"nothing": 4}}, "there is no setting 'nothing'"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        TrainingConfig(**values)
    assert "\n" not in str(caught.value)


def test_plain_values_become_the_network_that_knows_their_names() -> None:
    assert TrainingConfig(network={"widths": [8, 4]}).network == StackedConfig(widths=(8, 4))  # type: ignore[arg-type]
    assert isinstance(TrainingConfig(network=ConvConfig().to_dict()).network, ConvConfig)  # type: ignore[arg-type]


def test_a_run_with_settings_or_a_method_of_another_version_is_refused(tmp_path: Path) -> None:
    run = write_tiny_run(tmp_path / "run")
    edit_run(run, lambda raw: raw["config"].update(momentum=0.5))
    with pytest.raises(
        TrainingError, match=r"is from another version: there is no setting 'momentum'\. Train it again"
    ):
        load_run(run)
    other = write_tiny_run(tmp_path / "other")
    edit_run(other, lambda raw: raw.update(method="SOM"))
    with pytest.raises(TrainingError, match="the method 'SOM' is not known to this version"):
        load_run(other)
