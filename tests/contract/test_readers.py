"""What holds for the reader of every dataset, on small datasets in the official layouts."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from disc_stream.data.readers import (
    READERS,
    get_reader,
    load_recordings,
    load_recordings_spec,
    load_split,
    read_dataset,
)
from disc_stream.data.types import Recording
from disc_stream.errors import ConfigError, DataError, InputNotFoundError
from disc_stream.signal.units import KNOWN_UNITS
from disc_stream.wire.topics import check_device
from tests.support.datasets import WRITERS, zip_folder

DATASETS = sorted(WRITERS)


def test_every_registered_dataset_is_tested() -> None:
    assert set(WRITERS) == set(READERS)


@pytest.fixture(params=DATASETS)
def dataset(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def root(dataset: str, tmp_path: Path) -> Path:
    return WRITERS[dataset](tmp_path / "data")


def same(a: list[Recording], b: list[Recording]) -> bool:
    return [r.name for r in a] == [r.name for r in b] and all(
        np.array_equal(x.samples, y.samples) and np.array_equal(x.labels, y.labels)
        for x, y in zip(a, b, strict=True)
    )


def test_recordings_are_what_the_reader_announces(dataset: str, root: Path) -> None:
    reader = get_reader(dataset)
    recordings = load_recordings(dataset, root)
    assert len({r.name for r in recordings}) == len(recordings)
    for r in recordings:
        assert check_device(r.name) == r.name
        assert r.name.startswith(f"{dataset}-")
        assert (r.channels, r.fs, r.label_names) == (reader.channels, reader.fs, reader.label_names)
        assert r.samples.shape == (len(r.labels), len(reader.channels))
        assert r.samples.dtype == np.float32
        assert r.labels.dtype == np.int16
        assert -1 <= r.labels.min() <= r.labels.max() < len(reader.label_names)
    assert any((r.labels >= 0).any() for r in recordings)


def test_facts_are_complete(dataset: str) -> None:
    reader = get_reader(dataset)
    assert reader.citation
    assert reader.terms
    assert len({c.name for c in reader.channels}) == len(reader.channels)
    assert {c.unit for c in reader.channels} <= KNOWN_UNITS
    assert all(c.scale == 1.0 for c in reader.channels)
    scored = reader.scored or range(len(reader.label_names))
    assert reader.n_clusters == len(scored)


def test_folder_and_zip_hold_the_same(dataset: str, root: Path, tmp_path: Path) -> None:
    expected = load_recordings(dataset, root)
    archive = zip_folder(root, tmp_path / "any-name.zip")
    outer = tmp_path / "outer.zip"
    with zipfile.ZipFile(outer, "w") as file:
        file.write(archive, "inner.zip")
    known = tmp_path / "known"
    known.mkdir()
    name = get_reader(dataset).layout.archives[0]
    if name.endswith(".zip"):
        zip_folder(root, known / name.upper())
    else:
        (known / name).write_bytes((root / name).read_bytes())
    for path in (root.parent, archive, outer, known):
        assert same(load_recordings(dataset, path), expected), path


def test_subjects_and_names_select(dataset: str, root: Path) -> None:
    everything = load_recordings(dataset, root)
    subject = everything[-1].subject
    chosen = load_recordings(dataset, root, subjects=[subject])
    assert same(chosen, [r for r in everything if r.subject == subject])
    last = everything[-1]
    assert same(load_recordings_spec([f"{dataset}:{last.name.removeprefix(dataset + '-')}"], root), [last])
    with pytest.raises(DataError, match="no recordings of"):
        load_recordings(dataset, root, subjects=[99])
    with pytest.raises(ConfigError, match="no recording 'nothing'"):
        load_recordings_spec([f"{dataset}:nothing"], root)


def test_progress_ends_with_everything_done(dataset: str, root: Path) -> None:
    seen: list[tuple[int, int]] = []
    read_dataset(dataset, root, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] > 0


def test_a_part_of_a_dataset_is_reported_as_such(
    dataset: str, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    contents = read_dataset(dataset, root)
    differing = [check for check in contents.checks if not check.ok]
    assert differing, "these small datasets cannot meet the published figures"
    assert str(differing[0]) in caplog.text


def test_training_and_test_part_share_no_person_or_no_sample(dataset: str, root: Path) -> None:
    # Only a part of the people is in these small datasets, not always one of the test people.
    people = {r.subject for r in load_recordings(dataset, root)}
    held_out = set(get_reader(dataset).test_subjects)
    if held_out and (people <= held_out or not people & held_out):
        with pytest.raises(DataError, match="part has no recordings"):
            load_split(dataset, root)
        return
    split = load_split(dataset, root)
    for part in (split.train, split.test):
        assert len(part) == len(part.y) == len(part.subject) == len(part.group) == len(part.start)
        assert part.x.shape[1] % 2 == 0
        order = np.lexsort((part.start, part.group))
        assert np.array_equal(order, np.arange(len(part))), "windows of a group are in time order"
    if held_out or dataset == "uci-har":
        assert not set(split.train.subject) & set(split.test.subject)
    else:
        length = split.train.x.shape[1]
        for group in np.unique(split.test.group):
            taken = {s + i for s in split.train.start[split.train.group == group] for i in range(length)}
            held = {s + i for s in split.test.start[split.test.group == group] for i in range(length)}
            assert not taken & held


def test_a_missing_path_is_named(dataset: str, tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match=r"'.*no-such-place' does not exist"):
        load_recordings(dataset, tmp_path / "no-such-place")
    with pytest.raises(ConfigError, match="DISC_STREAM_DATA"):
        load_recordings(dataset, None)


def test_the_wrong_folder_is_told_from_the_right_one(dataset: str, tmp_path: Path) -> None:
    other = "wisdm" if dataset != "wisdm" else "hapt"
    root = WRITERS[other](tmp_path / "data")
    layout = get_reader(dataset).layout
    found = root.name if dataset != "wisdm" else "HAPT Data Set"
    with pytest.raises(DataError) as raised:
        load_recordings(dataset, root.parent)
    assert layout.marker in str(raised.value)
    assert f"found {found}/" in str(raised.value)
    with pytest.raises(DataError, match=r"does not hold .*found .*/"):
        load_recordings(dataset, zip_folder(root, tmp_path / "other.zip"))


def test_what_is_not_a_zip_is_refused(dataset: str, root: Path, tmp_path: Path) -> None:
    fake = tmp_path / "fake.zip"
    fake.write_text("hello")
    with pytest.raises(DataError, match="is not a zip file"):
        load_recordings(dataset, fake)
    whole = zip_folder(root, tmp_path / "whole.zip").read_bytes()
    fake.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cut short"):
        load_recordings(dataset, fake)


def test_the_marker_file_names_the_dataset_from_wherever_one_is(
    dataset: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = root / READERS[dataset].layout.marker
    monkeypatch.chdir(marker.parent)
    assert same(load_recordings(dataset, Path(marker.name)), load_recordings(dataset, root))


@pytest.mark.parametrize(
    ("offsets", "value", "message"),
    [((6, 8), 1, "encrypted"), ((8, 10), 9, "compression method is not supported")],
)
def test_a_zip_that_python_cannot_unpack_is_reported(
    offsets: tuple[int, int], value: int, message: str, dataset: str, root: Path, tmp_path: Path
) -> None:
    archive = zip_folder(root, tmp_path / "odd.zip")
    data = bytearray(archive.read_bytes())
    for magic, offset in zip((b"PK\x03\x04", b"PK\x01\x02"), offsets, strict=True):
        at = data.find(magic)
        while at >= 0:
            data[at + offset] = value
            at = data.find(magic, at + 4)
    archive.write_bytes(data)
    with pytest.raises(DataError, match=rf"odd\.zip:.* cannot be unpacked: .*{message}") as raised:
        load_recordings(dataset, archive)
    assert "unpack it and give the folder" in str(raised.value)


@pytest.mark.parametrize(
    ("dataset", "damaged_file"),
    [
        ("hapt", "HAPT Data Set/RawData/gyro_exp03_user02.txt"),
        ("wisdm", "WISDM_ar_v1.1/WISDM_ar_v1.1_raw.txt"),
        ("actrectut", "ActRecTut/Data/subject1_gesture/data.mat"),
    ],
)
def test_damage_inside_a_zip_is_reported(dataset: str, damaged_file: str, tmp_path: Path) -> None:
    archive = zip_folder(WRITERS[dataset](tmp_path / "data"), tmp_path / "damaged.zip")
    data = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as file:
        info = file.getinfo(damaged_file)
    middle = info.header_offset + 30 + len(info.filename) + info.compress_size // 2
    data[middle : middle + 8] = bytes(255 - b for b in data[middle : middle + 8])
    archive.write_bytes(data)
    with pytest.raises(DataError, match=rf"damaged\.zip:{damaged_file} cannot be unpacked"):
        load_recordings(dataset, archive)
