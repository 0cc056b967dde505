"""What ``data export`` writes, other readers of Parquet and our own training can read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from disc_stream.cli.app import app
from disc_stream.data.dataset_import import import_dataset
from disc_stream.data.parquet import HEADER_FILE, OLD_HEADER_FILE, read_export
from disc_stream.data.readers import load_split
from disc_stream.data.types import UNLABELLED
from disc_stream.data.uniform import read_uniform
from disc_stream.errors import ConfigError, DataError, InputNotFoundError
from disc_stream.stream.sessions import StreamSpec
from disc_stream.stream.values import ReadyInput
from disc_stream.types import Channel, Float32Array, WindowSpec
from disc_stream_server.dataset.parquet import header_of, write_dataset
from disc_stream_server.dataset.replay import LabelledWindow

FS, T, HOP = 50.0, 16, 8
CHANNELS = tuple(Channel(f"acc_{axis}", "m/s2") for axis in "xyz")
SPEC = StreamSpec(CHANNELS, FS, WindowSpec(T, HOP, T))


def motion(n: int, seed: int) -> Float32Array:
    """A walk in one channel, noise in all, (n, 3)."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, 3))
    x[:, 0] += 3.0 * np.sin(np.arange(n) / FS * 2 * np.pi * (1 + seed % 3))
    return x.astype(np.float32)


def windows(
    device: str, boot: int, samples: Float32Array, start_s: float = 0.0, jitter_us: int = 0
) -> Iterator[LabelledWindow]:
    """All windows of an unbroken stretch."""
    random = np.random.default_rng(0)
    for number in range((len(samples) - T) // HOP + 1):
        first = number * HOP
        t0 = round((start_s + first / FS) * 1e6) + int(random.integers(-jitter_us, jitter_us + 1))
        ready = ReadyInput(device, boot, number, t0, 0, 0, samples[first : first + T])
        yield LabelledWindow(ready, None)


def export(folder: Path, rows: list[LabelledWindow]) -> Path:
    write_dataset(rows, folder, header_of(SPEC, prefix="ds/v1"), all_windows=True)
    return folder


def test_a_folder_can_be_read_by_what_reads_folders_of_parquet(tmp_path: Path) -> None:
    folder = export(tmp_path / "out", list(windows("a", 1, motion(64, 1))))
    assert pq.read_table(folder).num_rows == 7
    dataset = pytest.importorskip("pyarrow.dataset")
    assert dataset.dataset(folder, format="parquet").count_rows() == 7
    header = json.loads((folder / HEADER_FILE).read_text())
    assert (header["schema"], header["windows"], header["model"]) == ("disc-stream.windows/1", 7, None)


def test_overlapping_windows_become_the_recordings_they_were_cut_from(tmp_path: Path) -> None:
    first, later, rebooted = motion(80, 1), motion(48, 2), motion(40, 3)
    other = motion(96, 4)
    rows = [
        *windows("b", 7, other, jitter_us=3_000),
        *windows("a", 1, first),
        *windows("a", 1, later, start_s=30.0),  # after a gap
        *windows("a", 2, rebooted),
    ]
    mixed = [rows[i] for i in np.random.default_rng(1).permutation(len(rows))]
    found = read_export(export(tmp_path / "out", mixed))
    assert [(r.name, r.subject) for r in found.recordings] == [
        ("a-part01", 1), ("a-part02", 1), ("a-part03", 1), ("b-part01", 2),
    ]  # fmt: skip
    for recording, samples in zip(found.recordings, (first, later, rebooted, other), strict=True):
        np.testing.assert_array_equal(recording.samples, samples)
        assert (recording.fs, recording.channels, recording.label_names) == (FS, CHANNELS, ())
        assert (recording.labels == UNLABELLED).all()
    assert (found.n_windows, found.n_clusters, found.window_s) == (len(rows), 6, T / FS)


def test_a_window_that_is_missing_or_twice_there(tmp_path: Path) -> None:
    samples = motion(80, 1)
    rows = list(windows("a", 1, samples))
    kept = [*rows[:3], rows[2], *rows[4:6], rows[8]]  # without 3, 6 and 7; window 2 twice
    (before, after) = read_export(export(tmp_path / "out", kept)).recordings
    np.testing.assert_array_equal(before.samples, samples[: 5 * HOP + T], "2 and 4 follow without a gap")
    np.testing.assert_array_equal(after.samples, samples[8 * HOP :])


def test_an_import_can_be_split_like_any_dataset(tmp_path: Path) -> None:
    folder = export(tmp_path / "spool", [w for n in range(4) for w in windows(f"d{n}", 1, motion(200, n))])
    out = tmp_path / "mine.npz"
    header = import_dataset("parquet", folder, out)
    assert (header.dataset, header.n_clusters, header.window_s) == ("spool", 6, T / FS)
    assert "person 2 is the device d1" in header.provenance.notes
    assert [r.name for r in read_uniform(out).recordings] == [f"d{n}-part01" for n in range(4)]
    whole = load_split(str(out))
    for direct in (load_split(str(folder)), load_split("parquet", folder)):
        np.testing.assert_array_equal(direct.train.x, whole.train.x)
        np.testing.assert_array_equal(direct.test.subject, whole.test.subject)
    assert whole.train.x.shape[1:] == (T, 3)


def test_the_header_of_an_older_export_is_found(tmp_path: Path) -> None:
    folder = export(tmp_path / "out", list(windows("a", 1, motion(64, 1))))
    (folder / HEADER_FILE).rename(folder / OLD_HEADER_FILE)
    assert len(load_split(str(folder)).train) > 0


def train(*args: str | Path) -> Result:
    return CliRunner().invoke(app, ["train", *map(str, args)])


@pytest.mark.parametrize("method", ["disc", "disc-plus"])
def test_training_needs_no_labels(method: str, tmp_path: Path) -> None:
    rows = [w for n in range(4) for w in windows(f"d{n}", 1, motion(400, n))]
    folder = export(tmp_path / "spool", rows)
    small = {
        "disc": [
            "--preset",
            "small",
            "--epochs",
            "1",
            "--refine-epochs",
            "1",
            "--set",
            "hidden=4",
            "--set",
            "frame=4",
        ],
        "disc-plus": ["--set", "restarts=2", "--set", "moves=2"],
    }[method]
    result = train(
        "--dataset", folder, "--out", tmp_path / "run", "--clusters", "3", "--method", method, *small
    )
    assert result.exit_code == 0, result.output or result.exception
    assert "on spool" in result.stdout
    assert "against the labels" not in result.stdout
    facts: dict[str, Any] = json.loads((tmp_path / "run" / "run.json").read_text())
    assert "refined" not in facts["metrics"]
    assert sum(facts["cluster_sizes"]) == facts["n_windows"]


def test_what_is_not_an_export_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match=r"'.*none' does not exist"):
        read_export(tmp_path / "none")
    with pytest.raises(InputNotFoundError, match=r"has no \.parquet files"):
        read_export(tmp_path)
    with pytest.raises(ConfigError, match="where is the Parquet"):
        load_split("parquet")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    table = pq.read_table(export(tmp_path / "out", list(windows("a", 1, motion(64, 1)))))
    pq.write_table(table.replace_schema_metadata(None), foreign / "x.parquet")
    with pytest.raises(DataError, match="was not written by 'disc-stream data export'"):
        read_export(foreign)
    with pytest.raises(ConfigError, match="only folders that 'disc-stream data export' wrote"):
        load_split(str(foreign))
    (foreign / "x.parquet").write_bytes(b"PAR1 damaged")
    with pytest.raises(DataError, match=r"x\.parquet' cannot be read as Parquet"):
        read_export(foreign)


@pytest.mark.parametrize("samples", [[{"x": 1.0}], [1.0], ["a"], [[{"x": 1.0}]], [None]], ids=str)
def test_samples_of_another_type_are_refused(samples: list[object], tmp_path: Path) -> None:
    folder = export(tmp_path / "out", list(windows("a", 1, motion(64, 1))))
    table = pq.read_table(folder)
    column = table.column_names.index("samples")
    other = pa.array(samples * table.num_rows)
    pq.write_table(table.set_column(column, "samples", other), folder / "part-00000.parquet")
    with pytest.raises(
        DataError, match=r"part-00000\.parquet' cannot be read as Parquet: .*\. Export again$"
    ):
        read_export(folder)


def test_files_of_different_exports_are_not_mixed(tmp_path: Path) -> None:
    folder = export(tmp_path / "out", list(windows("a", 1, motion(64, 1))))
    faster = StreamSpec(CHANNELS, 100.0, SPEC.window)
    write_dataset(
        windows("b", 1, motion(64, 1)), tmp_path / "two", header_of(faster, prefix="p"), all_windows=True
    )
    (tmp_path / "two" / "part-00000.parquet").rename(folder / "part-00001.parquet")
    with pytest.raises(DataError, match="differ in fs: 50 Hz and 100 Hz"):
        read_export(folder)


def test_csv_import_of_an_export_says_what_it_is(tmp_path: Path) -> None:
    folder = export(tmp_path / "out", list(windows("a", 1, motion(64, 1))))
    words = ["data", "import", "csv", "--path", str(folder), "--out", str(tmp_path / "x.npz")]
    refused = CliRunner().invoke(app, words).exception
    assert isinstance(refused, InputNotFoundError)
    assert "disc-stream data import parquet" in (refused.remedy or "")
