"""Missing optional dependencies are named, all of them at once, without a traceback."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from importlib.machinery import ModuleSpec

import pytest

from disc_stream.cli.common import require_extras
from disc_stream.errors import MissingExtraError, install_command


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
        require_extras("disc-stream export", "cpu", "export")


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
