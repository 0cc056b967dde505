"""`disc-stream export`: what it prints, and how it fails."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.cli.app import main
from disc_stream.errors import ConfigError, InputNotFoundError, install_command
from disc_stream_export.names import load_names
from tests.support.keys import make_keys
from tests.support.tiny_run import write_tiny_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_run(tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Runs `disc-stream export …` in this process; gives exit code, stdout and stderr."""

    def invoke(*args: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["disc-stream", "export", *map(str, args)])
        with pytest.raises(SystemExit) as exit_:
            main()
        return (int(exit_.value.code or 0), *capfd.readouterr())

    return invoke


def test_the_table_tells_what_was_written(command: Any, run: Path, tmp_path: Path) -> None:
    (tmp_path / "names.yaml").write_text("0: walking\n2: sitting\n")
    code, out, err = command(
        run, "--out", tmp_path / "b.zip", "--names", tmp_path / "names.yaml", "--name", "wrist"
    )
    rows = dict(line.split(maxsplit=1) for line in out.splitlines() if not line.startswith(" "))
    bundle = Bundle.open(tmp_path / "b.zip")
    assert (code, err) == (0, "")
    assert rows["version"] == bundle.version
    assert rows["name"] == "wrist"
    assert rows["clusters"] == "walking, cluster 1, sitting, cluster 3, cluster 4"
    assert rows["outputs"] == "embedding (batch, 4) · q (batch, 5) · distance (batch, 5)"
    assert rows["parity"].startswith("40 windows, labels 100.00% equal")
    assert rows["signed"] == "no"
    assert rows["next"] == f"disc-stream serve --bundle {tmp_path / 'b.zip'}"


def test_json_is_all_that_stands_on_stdout(command: Any, run: Path, tmp_path: Path) -> None:
    private, public = make_keys(tmp_path, "key")
    code, out, err = command(run, "-o", tmp_path / "b", "--sign-key", private, "--json")
    assert (code, err) == (0, "")
    summary = json.loads(out)
    bundle = Bundle.open(tmp_path / "b", trusted_keys=[public])
    assert summary["version"] == bundle.version
    assert summary["graph_bytes"] == len(bundle.model_bytes)
    assert summary["signed"] is True
    assert summary["parity"] == bundle.manifest.parity.model_dump()


def test_each_mistake_is_one_line_and_an_exit_code(command: Any, run: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").touch()
    (tmp_path / "names.yaml").write_text("walking\n")
    mistakes: list[tuple[tuple[str | Path, ...], int, str]] = [
        ((tmp_path / "nowhere", "--out", tmp_path / "b"), 2, "nowhere' does not exist"),
        ((tmp_path, "--out", tmp_path / "b"), 1, "run.json is missing"),
        ((run, "--out", tmp_path / "taken"), 2, "exists already"),
        ((run, "--out", tmp_path / "taken", "--force"), 2, "is not an intact bundle"),
        ((run, "--out", tmp_path / "b", "--names", tmp_path / "names.yaml"), 2, "does not map ids to names"),
        (
            (run, "--out", tmp_path / "b", "--sign-key", tmp_path / "names.yaml"),
            2,
            "is not a private key in PEM",
        ),
    ]
    for args, exit_code, message in mistakes:
        code, out, err = command(*args)
        assert (code, out) == (exit_code, "")
        assert err.startswith("error: ")
        assert message in err
        assert err.count("\n") == 1
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("module", "extra"), [("torch", "export"), ("onnx", "export"), ("onnxruntime", "export")]
)
def test_a_missing_extra_is_named(
    module: str, extra: str, command: Any, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == module else find(name, *a)
    )
    code, _, err = command(run, "--out", tmp_path / "b")
    assert code == 2
    assert install_command(extra) in err


# ── Names ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "text", ["0: walking\n1: sitting\n", '{"0": "walking", "1": "sitting"}', "'0': walking\n1: sitting"]
)
def test_names_are_yaml_or_json(text: str, tmp_path: Path) -> None:
    (tmp_path / "n").write_text(text)
    assert load_names(tmp_path / "n") == {0: "walking", 1: "sitting"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not map ids to names"),
        (b"- walking\n", "does not map ids to names"),
        (b"walking: 0\n", "'walking': 0 is no id and name"),
        (b"true: walking\n", "True: 'walking' is no id and name"),
        (b"0: 3.5\n", "0: 3.5 is no id and name"),
        (b"'0': a\n0: b\n", "names cluster 0 twice"),
        (b"0: a\n1: [b\n", "is not YAML or JSON at line"),
        (b"0: 2026-02-30\n", "is not YAML or JSON"),
        (b"\xff\xfe\x00", "cannot be read as text|is not YAML"),
        (b"!!python/object/apply:os.system ['true']", "is not YAML or JSON"),
    ],
)
def test_names_that_are_none_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "n").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_names(tmp_path / "n")


def test_a_missing_names_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="nowhere"):
        load_names(tmp_path / "nowhere.yaml")
