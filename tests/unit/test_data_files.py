"""The uniform file, the window file, and naming recordings on the command line."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from disc_stream.data.archive import schema_of
from disc_stream.data.dataset_import import import_dataset
from disc_stream.data.readers import load_recordings, load_recordings_spec, load_split, open_recording
from disc_stream.data.types import Recording
from disc_stream.data.uniform import DatasetFacts, Provenance, read_uniform, to_si, write_uniform
from disc_stream.data.windowfile import read_windows, write_windows
from disc_stream.data.windows import fingerprint
from disc_stream.errors import ConfigError, DataError, InputNotFoundError
from disc_stream.types import Channel
from tests.support.datasets import write_hapt

CHANNELS = (Channel("acc_x", "g"), Channel("gyro_x", "deg/s"), Channel("mag_x", "1"))


def recording(name: str, subject: int, n: int = 300) -> Recording:
    samples = np.random.default_rng(subject).normal(size=(n, 3)).astype(np.float32)
    labels = (np.arange(n) // 100 % 3 - 1).astype(np.int16)
    return Recording(name, subject, 50.0, CHANNELS, samples, labels, ("walk", "rest"))


@pytest.fixture
def uniform(tmp_path: Path) -> Path:
    path = tmp_path / "mine.npz"
    people = [recording(f"mine-{s}", s, 300 + s) for s in (1, 2, 3, 4)]
    write_uniform(path, people, DatasetFacts("mine", 2, provenance=Provenance(citation="us")))
    return path


def test_what_was_written_is_read(uniform: Path) -> None:
    found = read_uniform(uniform)
    assert found.header.provenance.citation == "us"
    for subject, r in enumerate(found.recordings, start=1):
        expected = recording(f"mine-{subject}", subject, 300 + subject)
        assert (r.name, r.subject, r.fs) == (expected.name, subject, 50.0)
        assert (r.channels, r.label_names) == (CHANNELS, ("walk", "rest"))
        assert np.array_equal(r.samples, expected.samples)
        assert np.array_equal(r.labels, expected.labels)


def test_a_uniform_file_is_a_dataset(uniform: Path) -> None:
    assert [r.name for r in load_recordings("uniform", uniform)] == [f"mine-{s}" for s in (1, 2, 3, 4)]
    assert [r.subject for r in load_recordings(str(uniform), None, subjects=[2])] == [2]
    split = load_split(str(uniform), window_s=1.0)
    assert split.train.x.shape[1] == 50
    assert set(split.test.subject) == {3}, "about 30 % of four people, from the middle"
    assert fingerprint(load_split("uniform", uniform, window_s=1.0).train) == fingerprint(split.train)
    with pytest.raises(ConfigError, match="'uniform' needs a file"):
        load_recordings("uniform", None)


def test_si_units() -> None:
    si = to_si(recording("r", 1))
    assert [c.unit for c in si.channels] == ["m/s2", "rad/s", "1"]
    original = recording("r", 1).samples
    assert si.samples[:, 0] == pytest.approx(original[:, 0] * 9.80665, rel=1e-6)
    assert si.samples[:, 1] == pytest.approx(np.deg2rad(original[:, 1]), rel=1e-6)
    assert np.array_equal(si.samples[:, 2], original[:, 2])


def test_only_recordings_of_one_kind_go_into_a_file(tmp_path: Path) -> None:
    other = to_si(recording("other", 2))
    with pytest.raises(DataError, match="'r' and 'other' differ"):
        write_uniform(tmp_path / "x.npz", [recording("r", 1), other], DatasetFacts("x", 2))
    with pytest.raises(DataError, match="no recordings"):
        write_uniform(tmp_path / "x.npz", [], DatasetFacts("x", 2))
    assert list(tmp_path.iterdir()) == []


def test_an_imported_dataset_keeps_its_split_and_provenance(tmp_path: Path) -> None:
    root = write_hapt(tmp_path)
    header = import_dataset("hapt", root, tmp_path / "hapt.npz")
    assert header.provenance.citation.startswith("Reyes-Ortiz")
    assert header.provenance.source == root.name
    direct, imported = load_split("hapt", root), load_split(str(tmp_path / "hapt.npz"))
    assert fingerprint(direct.train) == fingerprint(imported.train)
    assert fingerprint(direct.test) == fingerprint(imported.test)
    assert (direct.n_clusters, direct.scored) == (imported.n_clusters, imported.scored)


def test_windows_are_written_and_read(uniform: Path, tmp_path: Path) -> None:
    split = load_split(str(uniform), window_s=1.0)
    file = tmp_path / "windows.npz"
    header = write_windows(file, split, dataset="mine")
    assert header.train_fingerprint == fingerprint(split.train)
    back = load_split(str(file))
    assert (back.protocol, back.n_clusters, tuple(back.scored)) == (split.protocol, 2, ())
    assert fingerprint(back.test) == fingerprint(split.test)
    assert load_split(str(file), window_s=1.0).train.x.shape[1] == 50
    with pytest.raises(ConfigError, match=r"windows of 50 samples, not of 2\.0 s"):
        load_split(str(file), window_s=2.0)


def test_changed_windows_are_noticed(uniform: Path, tmp_path: Path) -> None:
    file = tmp_path / "windows.npz"
    write_windows(file, load_split(str(uniform), window_s=1.0), dataset="mine")
    arrays = dict(np.load(file))
    arrays["train_y"][0] += 1
    np.savez(file, **arrays)
    with pytest.raises(DataError, match="training windows do not have the fingerprint"):
        read_windows(file)
    del arrays["test_x"]
    np.savez(file, **arrays)
    with pytest.raises(DataError, match="no usable array 'test_x'"):
        read_windows(file)


def test_a_window_file_of_the_first_version_is_read(uniform: Path, tmp_path: Path) -> None:
    file = tmp_path / "windows.npz"
    split = load_split(str(uniform), window_s=1.0)
    write_windows(file, split, dataset="mine")
    rewrite(file, schema_version=1)
    with pytest.raises(DataError, match="no usable array 'train_subject'"):
        read_windows(file)
    people = {f"{name}_subject": getattr(split, name).subject.astype(np.int16) for name in ("train", "test")}
    rewrite(file, **people)
    back = read_windows(file)
    assert fingerprint(back.train) == fingerprint(split.train)
    assert back.train.subject.dtype == np.int64


@pytest.mark.parametrize("name", ["train_x", "train_group", "test_start"])
def test_a_window_file_whose_arrays_do_not_fit_each_other_is_refused(
    name: str, uniform: Path, tmp_path: Path
) -> None:
    file = tmp_path / "windows.npz"
    write_windows(file, load_split(str(uniform), window_s=1.0), dataset="mine")
    rewrite(file, **{name: np.load(file)[name][1:]})
    with pytest.raises(DataError, match="no usable array"):
        read_windows(file)
    rewrite(file, **{name: np.load(file)[name][..., :0]})
    with pytest.raises(DataError, match="no usable array"):
        read_windows(file)


def test_a_file_that_claims_the_impossible_is_refused(uniform: Path, tmp_path: Path) -> None:
    deep = tmp_path / "deep.npz"
    np.savez(deep, header=np.array("[" * 100_000))
    with pytest.raises(DataError, match="not a readable npz"):
        schema_of(deep)
    claim = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        claim, {"descr": "<f4", "fortran_order": False, "shape": (10**13, 3)}
    )
    with zipfile.ZipFile(uniform) as whole, zipfile.ZipFile(tmp_path / "huge.npz", "w") as huge:
        for name in whole.namelist():
            huge.writestr(name, claim.getvalue() if name == "samples.npy" else whole.read(name))
    with pytest.raises(DataError, match="not a readable npz"):
        read_uniform(tmp_path / "huge.npz")


def rewrite(path: Path, **changes: object) -> None:
    arrays = dict(np.load(path))
    header = json.loads(str(arrays["header"])) | {k: v for k, v in changes.items() if k not in arrays}
    arrays |= {k: np.asarray(v) for k, v in changes.items() if k in arrays}
    np.savez(path, **(arrays | {"header": np.array(json.dumps(header))}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 99}, "schema version 99, this program reads up to 2"),
        ({"schema_name": "other"}, "is 'other', expected 'disc-stream.recordings'"),
        ({"fs": -1}, "broken header: fs"),
        ({"fs": float("inf")}, "broken header: fs"),
        ({"recordings": [{"name": "a", "subject": 2**64, "samples": 1210}]}, "header: recordings.0.subject"),
        ({"surprise": 1}, "broken header: surprise"),
        ({"samples": np.zeros((3, 3), np.float32)}, r"'samples' must be \(1210, 3\) float32, got \(3, 3\)"),
        ({"labels": np.zeros(1210)}, r"'labels' must be \(1210,\) int16, got \(1210,\) float64"),
        ({"labels": np.full(1210, 2, np.int16)}, r"'labels' must be -1\.\.1"),
        ({"samples": np.full((1210, 3), np.inf, np.float32)}, "not finite"),
    ],
)
def test_a_broken_uniform_file_is_refused(uniform: Path, changes: dict[str, object], message: str) -> None:
    rewrite(uniform, **changes)
    with pytest.raises(DataError, match=message):
        read_uniform(uniform)


def test_files_of_another_kind_are_refused(uniform: Path, tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match=r"'.*gone\.npz' does not exist"):
        read_uniform(tmp_path / "gone.npz")
    cut = tmp_path / "cut.npz"
    cut.write_bytes(uniform.read_bytes()[:2000])
    with pytest.raises(DataError, match="cut short"):
        read_uniform(cut)
    np.savez(cut, a=np.zeros(3))
    with pytest.raises(DataError, match="not written by disc-stream"):
        schema_of(cut)
    np.savez(cut, header=np.array({"a": 1}, dtype=object))
    with pytest.raises(DataError, match="not a readable npz"):
        schema_of(cut)
    with cut.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match="not written by disc-stream"):
        schema_of(cut)


def test_specifications_name_recordings(uniform: Path, tmp_path: Path) -> None:
    root = write_hapt(tmp_path)

    def names(*specs: str) -> list[str]:
        return [r.name for r in load_recordings_spec(specs, root)]

    assert names("hapt:exp02-user01") == ["hapt-exp02-user01"]
    assert names("hapt:hapt-exp02-user01") == ["hapt-exp02-user01"]
    assert names("hapt:user1") == names("hapt:subject01") == ["hapt-exp01-user01", "hapt-exp02-user01"]
    assert names("hapt:user02,exp01*") == ["hapt-exp03-user02", "hapt-exp01-user01"]
    assert names("hapt:*-user01", "hapt:exp03*") == names("hapt")
    assert names(str(uniform)) == [f"mine-{s}" for s in (1, 2, 3, 4)]
    assert names(f"{uniform}:mine-[12]") == ["mine-1", "mine-2"]
    csv = tmp_path / "run.csv"
    csv.write_text("t,a\n0,1\n0.1,2\n")
    assert names(str(csv), "hapt:exp01*") == ["run", "hapt-exp01-user01"]
    assert open_recording("hapt:user02", root).name == "hapt-exp03-user02"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("hatp:user01", "'hatp:user01' is neither a recording file nor a dataset"),
        ("hapt:exp99-user01", "'hapt' has no recording 'exp99-user01'"),
        ("hapt:user77", "'hapt' has no recording 'user77'"),
        ("hapt:user01", "names 2 recordings"),
        ("hapt:user02,exp03*", "'hapt-exp03-user02' is named twice"),
    ],
)
def test_a_specification_that_names_not_one_recording(spec: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        open_recording(spec, write_hapt(tmp_path))


def test_a_pattern_that_fits_nothing_in_a_file(uniform: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no recording 'theirs'\. It has: mine-1, mine-2"):
        open_recording(f"{uniform}:theirs")
