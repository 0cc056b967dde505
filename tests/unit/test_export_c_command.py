"""`disc-stream export --target c`: what it writes and says, and how it refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.cli.app import main
from disc_stream.errors import BundleError, ParityError
from disc_stream.training.runs import load_run
from disc_stream_export.c import COptions, export_c, exporting
from disc_stream_export.c import descriptors as descriptor_kind
from disc_stream_export.c.source import CSource, SourceNames
from tests.support.cmodel import Shape, write_descriptor_bundle
from tests.support.plus_run import write_plus_run
from tests.support.tiny_run import write_tiny_run

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plus_run(tmp_path_factory.mktemp("runs") / "plus")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "b"
    write_descriptor_bundle(path, Shape(samples=32, channels=3), unknown_above=50.0)
    return path


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Runs `disc-stream export … --target c` in this process; gives exit code, stdout and stderr."""

    def invoke(*args: str | Path, target: str = "c") -> tuple[int, str, str]:
        words = ["disc-stream", "export", *map(str, args), "--target", target]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as exit_:
            main()
        return (int(exit_.value.code or 0), *capfd.readouterr())

    return invoke


def test_a_run_becomes_source_that_labels_its_windows(command: Any, run: Path, tmp_path: Path) -> None:
    (tmp_path / "names.yaml").write_text("0: walking\n")
    code, out, err = command(
        run, "--out", tmp_path / "activity.c", "--names", tmp_path / "names.yaml", "--with-test", "--json"
    )
    assert (code, err) == (0, "")
    summary = json.loads(out)
    assert summary["files"] == [
        str(tmp_path / name) for name in ("activity.c", "activity.h", "activity_test.c")
    ]
    assert summary["clusters"][0]["name"] == "walking"
    assert summary["real"]["n_windows"] == len(load_run(run).samples)
    assert summary["real"]["labels_equal"] == summary["synthetic"]["labels_equal"] == 1.0
    assert summary["synthetic"]["n_windows"] > 100
    assert 3072 < summary["state_bytes"] < 8192
    assert summary["version"] in (tmp_path / "activity.c").read_text()
    subprocess.run(
        ["gcc", "-std=c99", "-O2", "activity.c", "activity_test.c", "-o", "test"], cwd=tmp_path, check=True
    )
    done = subprocess.run(["./test"], cwd=tmp_path, capture_output=True, text=True, check=True)
    n_labels = done.stdout.split()[3]
    assert done.stdout == f"{summary['version']}: 0 of {n_labels} windows differ\n"
    assert int(n_labels) > 1


def test_a_self_test_finds_a_changed_number(command: Any, bundle: Path, tmp_path: Path) -> None:
    assert command(bundle, "--out", tmp_path / "a.c", "--with-test")[0] == 0
    text = (tmp_path / "a.c").read_text()
    assert "0.5f * (root + x / root)" in text
    (tmp_path / "a.c").write_text(text.replace("0.5f * (root + x / root)", "0.50001f * (root + x / root)"))
    subprocess.run(["gcc", "-std=c99", "a.c", "a_test.c", "-o", "test"], cwd=tmp_path, check=True)
    done = subprocess.run(["./test"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1


def test_a_bundle_becomes_source_too(command: Any, bundle: Path, tmp_path: Path) -> None:
    code, out, err = command(bundle, "--out", tmp_path / "walk.c", "--prefix", "walk")
    assert (code, err) == (0, "")
    rows = dict(line.split(maxsplit=1) for line in out.splitlines() if not line.startswith(" "))
    assert rows["source"] == f"{tmp_path / 'walk.c'} · {tmp_path / 'walk.h'}"
    assert rows["version"] == Bundle.open(bundle).version
    assert rows["compared"].startswith("with onnxruntime, by cc: ")
    assert rows["compared"].endswith(" synthetic, labels 100.00% equal")
    text = (tmp_path / "walk.c").read_text()
    assert "walk_push(walk_state *state" in text
    assert "disc_push" not in text


def test_without_a_compiler_it_is_refused_unless_that_is_wanted(
    command: Any, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", "no-such-cc")
    code, _, err = command(bundle, "--out", tmp_path / "a.c")
    assert code == 2
    assert "there is no C compiler to compare the exported code with the graph ('no-such-cc')" in err
    assert "--unchecked" in err
    assert not (tmp_path / "a.c").exists()
    code, out, err = command(bundle, "--out", tmp_path / "a.c", "--unchecked")
    assert (code, err) == (0, "")
    assert "not at all (--unchecked)" in out
    assert (tmp_path / "a.c").exists()


def test_each_mistake_is_one_line_and_an_exit_code(
    command: Any, bundle: Path, run: Path, tmp_path: Path
) -> None:
    disc = write_tiny_run(tmp_path / "disc")
    (tmp_path / "mine.c").write_text("int main(void) { return 0; }\n")
    command(bundle, "--out", tmp_path / "taken.c", "--unchecked")
    c = tmp_path / "a.c"
    mistakes: list[tuple[tuple[str | Path, ...], str]] = [
        ((tmp_path / "nowhere", "--out", c), "nowhere' does not exist"),
        ((bundle, "--out", tmp_path / "folder"), "does not end with .c"),
        ((bundle, "--out", tmp_path / "a b.c"), "'a b.c' cannot be included from C source"),
        ((bundle, "--out", c, "--prefix", "9x"), "'9x' cannot begin the names of C functions"),
        ((bundle, "--out", c, "--name", "wrist"), "the model of a bundle has its name, 'waves'"),
        ((bundle, "--out", c, "--sign-key", tmp_path / "key.pem"), "C source has no signature"),
        ((bundle, "--out", c, "--with-test", "--unchecked"), "a self-test holds what the comparison found"),
        ((bundle, "--out", tmp_path / "taken.c"), "taken.c' exists already"),
        ((bundle, "--out", tmp_path / "mine.c", "--force"), "mine.c' was not made by disc-stream"),
        ((disc, "--out", c), "a model of the method DISC cannot be exported as C; disc-plus can"),
    ]
    for args, message in mistakes:
        code, out, err = command(*args)
        assert (code, out) == (2, ""), args
        assert err.startswith("error: ")
        assert message in err
        assert err.count("\n") == 1
    assert not c.exists()
    assert command(bundle, "--out", tmp_path / "taken.c", "--force", "--unchecked")[0] == 0
    code, _, err = command(run, "--out", tmp_path / "b", "--with-test", target="onnx")
    assert (code, "--with-test is for C source" in err) == (2, True)


def test_source_that_labels_otherwise_is_not_written(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descriptor_kind, "TINY_POWER", 1e-2)
    with pytest.raises(ParityError, match="the exported code has another"):
        export_c(bundle, tmp_path / "a.c")
    assert list(tmp_path.iterdir()) == []


def test_source_that_does_not_compile_is_not_written(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "find_compiler", lambda: ["gcc", "-Dfloat=nothing"])
    with pytest.raises(ParityError, match=r"the C compiler refuses the source: .*error"):
        export_c(bundle, tmp_path / "a.c", COptions())
    assert list(tmp_path.iterdir()) == []


def test_a_graph_of_another_form_is_named(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    broken = Bundle(
        opened.path, opened.manifest, opened.model_bytes.replace(b"project", b"projekt"), opened.catalogue
    )
    with pytest.raises(BundleError, match=r"has no tensor 'project'.*Export its run again"):
        CSource(broken, SourceNames("model"))
