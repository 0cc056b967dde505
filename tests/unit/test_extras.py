"""Missing optional dependencies are named, all of them at once, without a traceback."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec

import pytest

from disc_stream.cli.common import require_extras
from disc_stream.errors import MissingExtraError


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
    assert "pip install 'disc-stream[cpu,demo]'" in str(caught.value)
    assert caught.value.exit_code == 2


def test_only_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "onnxruntime")
    with pytest.raises(MissingExtraError, match=r"disc-stream\[cpu\]"):
        require_extras("disc-stream export", "cpu", "export")
