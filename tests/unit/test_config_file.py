"""Configuration files with comments: read back, and up to date where we ship them."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from disc_stream.config import NESTED, RetrainConfig, ServeConfig, load_serve_config
from disc_stream.configfile import commented_config
from tests.support.commandline import CommandLine

DEPLOY = Path(__file__).parents[2] / "deploy"


def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_config", DEPLOY / "config" / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def set_everything(text: str) -> str:
    """What somebody gets who takes the # away from every default."""
    return re.sub(r"^#((?:  )?\w+:)", r"\1", text, flags=re.MULTILINE)


def test_a_file_is_read_as_the_settings_that_it_was_made_of(tmp_path: Path) -> None:
    config = ServeConfig.model_validate(
        {
            "models": "/srv/models", "trusted_key": ["a.pem", "b.pem"], "http": None, "stay": 0.5,
            "http_hosts": ["fleet.example"],
            "retrain": {"every_h": 24, "at": "03:30", "settings": {"epochs": 3}}, "home_assistant": {},
            "events": {"webhooks": [{"url": "https://a.org/", "secret": "s", "types": ["device.online"]}]},
        }
    )  # fmt: skip
    file = tmp_path / "serve.yaml"
    file.write_text(commented_config(config))
    again = load_serve_config(file, {})
    assert again == config
    assert again.model_fields_set == config.model_fields_set


def test_every_default_is_shown_as_it_is() -> None:
    found = yaml.safe_load(set_everything(commented_config(ServeConfig(collect=True))))
    shown = {**found, **dict.fromkeys(NESTED)}
    assert ServeConfig.model_validate(shown) == ServeConfig(collect=True)
    assert set(shown) == set(ServeConfig.model_fields)
    for name, model in NESTED.items():
        assert model.model_validate(found[name]) == model.model_validate({})
        assert set(found[name]) == set(model.model_fields)


def test_every_setting_is_explained() -> None:
    lines = commented_config(ServeConfig(collect=True)).splitlines()
    settings = [i for i, line in enumerate(lines) if re.match(r"#?(  )?\w+:", line)]
    assert len(settings) == len(ServeConfig.model_fields) + sum(
        len(one.model_fields) for one in NESTED.values()
    )
    assert all(re.match(r"#(   | )\S", lines[i - 1]) for i in settings)


@pytest.mark.parametrize("file", maker().FILES)
def test_what_we_ship_is_what_the_settings_say(file: str) -> None:
    assert (DEPLOY / file).read_text() == maker().text(file), "run: python deploy/config/make.py"
    assert load_serve_config(DEPLOY / file, {}) == ServeConfig.model_validate(maker().FILES[file])


def test_the_command_prints_one_that_it_reads(tmp_path: Path, command_line: CommandLine) -> None:
    given = [
        "--models",
        "/srv/models",
        "--broker",
        "mqtt://server:very-secret@broker",
        "--retrain-every-h",
        6,
    ]
    printed = command_line("serve", *given, "--print-config")
    assert printed.returncode == 0
    assert "very-secret" not in printed.stdout, "a password does not go into a file that others read"
    file = tmp_path / "serve.yaml"
    file.write_text(printed.stdout)
    config = load_serve_config(file, {})
    assert (str(config.models), config.broker) == ("/srv/models", "mqtt://server@broker")
    assert config.retrain == RetrainConfig(every_h=6)
    defaults = command_line("serve", "--print-config")
    assert defaults.returncode == 0, "no model is needed for it"
    assert re.findall(r"^\w+:", defaults.stdout, re.MULTILINE) == []
    wrong = command_line("serve", "--config", file, "--max-batch", 0, "--print-config")
    assert (wrong.returncode, "max-batch" in wrong.stderr) == (2, True)
