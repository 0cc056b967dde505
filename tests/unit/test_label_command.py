"""``disc-stream label``: recordings in, labels out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from disc_stream.cli.app import app
from disc_stream.errors import (
    ConfigError,
    DiscStreamError,
    InputNotFoundError,
    StreamMismatchError,
    UsageError,
)
from disc_stream.wire.label import SCHEMA
from tests.support.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("label") / "tiny"
    write_tiny_bundle(path)
    return path


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Three seconds at rest, three to the left."""
    path = tmp_path / "morning.csv"
    rows = [f"{i / 50:.2f},{'0,0,0,standing' if i < 150 else '10,0,0,turning'}" for i in range(300)]
    path.write_text("\n".join(["t,acc_x[m/s2],acc_y[m/s2],acc_z[m/s2],label", *rows]) + "\n")
    return path


def invoke(*args: str | Path) -> Result:
    return CliRunner().invoke(app, ["label", *map(str, args)], catch_exceptions=True)


def run(*args: str | Path) -> str:
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    return result.stdout


def error(*args: str | Path) -> DiscStreamError:
    result = invoke(*args)
    assert isinstance(result.exception, DiscStreamError), result.exception
    return result.exception


def test_as_json(recording: Path, bundle: Path) -> None:
    pytest.importorskip("sklearn")
    value = json.loads(run(recording, "--bundle", bundle, "--json", "--top-k", "2"))
    (labelled,) = value["recordings"]
    assert (labelled["name"], labelled["seconds"], labelled["windows"]) == ("morning", 6.0, 37)
    first, last = labelled["labels"][0], labelled["labels"][-1]
    assert (first["schema"], first["name"], first["t0"]) == (SCHEMA, "rest", 0)
    assert (last["name"], len(last["soft"])) == ("left", 2)
    assert value["metrics"]["windows"] == 36
    assert value["metrics"]["acc"] > 0.95


def test_for_people(recording: Path, bundle: Path) -> None:
    text = run(recording, "--bundle", bundle)
    assert "morning: 37 windows in 6 s" in text
    assert text.index("rest") < text.index("left")
    assert "ACC" in text
    assert "NMI" in text


def test_names_are_printed_as_they_are(recording: Path, tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "odd", ("[/rest]", "run [fast]", "[bold]"))
    text = run(recording, "--bundle", tmp_path / "odd")
    assert "[/rest]" in text
    assert "run [fast]" in text


def test_into_a_file(recording: Path, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.json"
    text = run(recording, "--bundle", bundle, "--out", out)
    assert "morning" in text, "the timeline is printed all the same"
    assert len(json.loads(out.read_text())["recordings"][0]["labels"]) == 37
    assert isinstance(error(recording, "--bundle", bundle, "--out", tmp_path / "no" / "x.json"), UsageError)


@pytest.mark.parametrize("samples", ["1", "16", "1000"])
def test_the_size_of_batches_changes_nothing(recording: Path, bundle: Path, samples: str) -> None:
    def names(*options: str) -> list[tuple[int, str]]:
        value = json.loads(run(recording, "--bundle", bundle, "--json", *options))
        return [(label["t0"], label["smoothed"]["name"]) for label in value["recordings"][0]["labels"]]

    assert names("--samples", samples) == names()


def test_a_recording_that_does_not_fit(bundle: Path, tmp_path: Path) -> None:
    slow = tmp_path / "slow.csv"
    rows = "\n".join(f"{i / 10:.2f},0,0,0" for i in range(100))
    slow.write_text(f"t,acc_x[m/s2],acc_y[m/s2],acc_z[m/s2]\n{rows}\n")
    caught = error(slow, "--bundle", bundle)
    assert isinstance(caught, StreamMismatchError)
    assert "recording 'slow' does not fit the model: the stream has 10 samples/s; the model needs 50" in str(
        caught
    )

    other = tmp_path / "other.csv"
    other.write_text("t,ecg[mV]\n" + "\n".join(f"{i / 50:.2f},0" for i in range(100)) + "\n")
    assert "the model needs channels acc_x, acc_y, acc_z; the stream has ecg" in str(
        error(other, "--bundle", bundle)
    )


def test_usage_errors(recording: Path, bundle: Path, tmp_path: Path) -> None:
    assert isinstance(error(tmp_path / "none.csv", "--bundle", bundle), InputNotFoundError)
    assert isinstance(error(recording, "--bundle", tmp_path / "none"), InputNotFoundError)
    assert isinstance(error("nonsense", "--bundle", bundle), ConfigError)
