"""Missing optional dependencies are named, all of them at once, without a traceback."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import tomllib
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from disc_stream.cli.common import require_extras
from disc_stream.errors import MissingExtraError, install_command

ROOT = Path(__file__).parents[2]


def hide(monkeypatch: pytest.MonkeyPatch, *hidden: str) -> None:
    """Let these modules look as if they were not installed."""
    really = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name in hidden else really(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)


def test_everything_is_there() -> None:
    require_extras("disc-stream demo", "cpu", "demo")


def test_all_missing_extras_are_named_in_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "onnxruntime", "torch")
    with pytest.raises(MissingExtraError) as caught:
        require_extras("disc-stream demo", "cpu", "demo")
    assert install_command("cpu,demo") in str(caught.value)
    assert caught.value.exit_code == 2


def test_only_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "onnxruntime")
    with pytest.raises(MissingExtraError, match=r"\[cpu\]"):
        require_extras("disc-stream serve", "cpu", "server")


def test_on_a_gpu_machine_the_remedy_leaves_its_runtime_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "onnxscript")
    really = importlib.metadata.distribution
    monkeypatch.setattr(
        importlib.metadata,
        "distribution",
        lambda name: object() if name == "onnxruntime-gpu" else really(name),
    )
    with pytest.raises(MissingExtraError, match=r"\[demo\]"):
        require_extras("disc-stream export", "export")


def requirements(*extras: str) -> set[str]:
    """Names of the packages that pyproject.toml asks for with these extras."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    found: set[str] = set()
    for requirement in (Requirement(text) for extra in extras for text in listed[extra]):
        found |= (
            requirements(*requirement.extras) if requirement.name == "disc-stream" else {requirement.name}
        )
    return found


def test_train_and_export_are_enough_to_export() -> None:
    """Every graph is run before it is written, so a runtime belongs to it."""
    needed = {"torch", "scikit-learn", "safetensors", "onnx", "onnxscript", "onnxruntime", "cryptography"}
    assert needed <= requirements("train", "export")


@pytest.mark.parametrize("runtime", ["cpu", "gpu"])
def test_demo_exports_with_either_runtime_and_brings_none(runtime: str) -> None:
    assert requirements("export") - {"onnxruntime"} <= requirements("demo")
    both = {"onnxruntime", "onnxruntime-gpu"}
    assert requirements("demo") & both == set()
    assert requirements("demo", "dev", runtime) & both == requirements(runtime)


@pytest.mark.parametrize(
    ("record", "command"),
    [
        (None, "pip install 'disc-stream[train]'"),
        ({"url": "file:///src/disc%20stream", "dir_info": {}}, "pip install '/src/disc stream[train]'"),
        ({"url": "file:///src/ds", "dir_info": {"editable": True}}, "pip install -e '/src/ds[train]'"),
        ({"url": "file:///dist/ds.whl", "archive_info": {}}, "pip install 'disc-stream[train]'"),
        ({"url": "https://example.org/ds.whl"}, "pip install 'disc-stream[train]'"),
    ],
)
def test_an_extra_comes_from_where_the_program_came(
    record: dict[str, object] | None, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout that was installed has its extras in that checkout: there may be no index that has them."""

    class Installed:
        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            return None if record is None else json.dumps(record)

    monkeypatch.setattr(importlib.metadata, "distribution", lambda _name: Installed())
    assert install_command("train") == command
