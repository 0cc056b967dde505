"""``disc-stream label``: recordings in, labels out."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from disc_stream.cli.app import app
from disc_stream.data.types import Recording
from disc_stream.data.uniform import DatasetFacts, write_uniform
from disc_stream.errors import (
    ConfigError,
    DiscStreamError,
    InputNotFoundError,
    StreamMismatchError,
    UsageError,
)
from disc_stream.wire.label import SCHEMA, decode_label
from tests.support.tiny_bundle import CHANNELS, write_tiny_bundle


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


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".csv", ".parquet"])
def test_a_file_that_is_there_is_not_replaced_unasked(
    ending: str, recording: Path, bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / f"thesis{ending}"
    out.write_text("years of work")
    caught = error(recording, "--bundle", bundle, "--out", out)
    assert isinstance(caught, UsageError)
    assert "exists already. Give another name, or --force to replace it" in str(caught)
    assert out.read_text() == "years of work"
    run(recording, "--bundle", bundle, "--out", out, "--force")
    assert b"years of work" not in out.read_bytes()


def test_a_link_is_not_followed_unasked(recording: Path, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").symlink_to(tmp_path / "elsewhere.csv")
    assert "exists already" in str(error(recording, "--bundle", bundle, "--out", tmp_path / "labels.csv"))
    assert not (tmp_path / "elsewhere.csv").exists()


def test_a_table_as_csv(recording: Path, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.csv"
    run(recording, "--bundle", bundle, "--out", out)
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 37
    first, second = rows[:2]
    assert (first["recording"], first["window"], first["name"], first["novelty"]) == (
        "morning",
        "0",
        "rest",
        "",
    )
    assert (float(first["start_s"]), float(first["end_s"])) == (0.0, 0.32)
    assert float(second["start_s"]) == 0.16
    assert rows[-1]["smoothed_name"] == "left"


@pytest.mark.parametrize("ending", [".jsonl", ".ndjson"])
def test_one_label_a_line(recording: Path, bundle: Path, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"labels{ending}"
    run(recording, "--bundle", bundle, "--out", out)
    lines = out.read_text().splitlines()
    labels = [decode_label(line.encode()) for line in lines]
    assert [label.window for label in labels] == list(range(37))
    assert (labels[0].best.name, labels[-1].smoothed.name) == ("rest", "left")


def test_a_table_as_parquet(recording: Path, bundle: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "labels.parquet"
    run(recording, "--bundle", bundle, "--out", out)
    table = parquet.read_table(out)
    assert table.num_rows == 37
    row = table.slice(0, 1).to_pylist()[0]
    assert (row["recording"], row["name"], row["label"], row["start_s"], row["novelty"]) == (
        "morning", "rest", 0, 0.0, None,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["labels.xlsx", "labels", "labels.csv.gz"])
def test_an_ending_that_is_not_known_is_refused_before_any_work(
    bundle: Path, tmp_path: Path, name: str
) -> None:
    caught = error("no-such-recording.csv", "--bundle", bundle, "--out", tmp_path / name)
    assert isinstance(caught, UsageError)
    assert name in str(caught)
    assert ".csv" in str(caught)
    assert not (tmp_path / name).exists()


def test_the_time_of_day_of_a_recording_is_not_known(recording: Path, bundle: Path) -> None:
    value = json.loads(run(recording, "--bundle", bundle, "--json"))
    assert all("t0_unix" not in label for label in value["recordings"][0]["labels"])


def test_a_window_that_fails_costs_only_its_own_label(bundle: Path, tmp_path: Path) -> None:
    """A stretch of 16 samples whose squares no float32 holds: the windows that touch it have no label."""
    path = tmp_path / "spike.npz"  # an import takes such values out
    samples = np.zeros((160, 3), dtype=np.float32)
    samples[80:96, 0] = 3e37
    labels = np.full(160, -1, dtype=np.int16)
    write_uniform(
        path, [Recording("spike", 1, 50.0, CHANNELS, samples, labels, ())], DatasetFacts("spike", 1)
    )
    (found,) = json.loads(run(path, "--bundle", bundle, "--json"))["recordings"]
    assert found["windows"] == 20
    assert [label["window"] for label in found["labels"]] == [w for w in range(20) if w not in (10, 11)]
    assert [failure["window"] for failure in found["failures"]] == [10, 11]
    assert {failure["reason"] for failure in found["failures"]} == {"not-finite"}
    text = run(path, "--bundle", bundle)
    assert "spike: 18 windows in 3 s" in text
    assert "no label for 2 windows, first at 0:01.6: the encoder's output is not finite" in text


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
