"""The real datasets against the figures that their authors publish; about 20 s."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from disc_stream.data.readers import Contents, load_split, open_recording, read_dataset
from disc_stream.data.windows import fingerprint

pytestmark = pytest.mark.real_data

UCI_TEST_PEOPLE = {2, 4, 9, 10, 12, 13, 18, 20, 24}


def samples(contents: Contents) -> int:
    return sum(len(r.samples) for r in contents.recordings)


def people(contents: Contents) -> int:
    return len({r.subject for r in contents.recordings})


def test_hapt(real_data: Path) -> None:
    contents = read_dataset("hapt", real_data)
    assert (len(contents.recordings), people(contents), samples(contents)) == (61, 30, 1_122_772)
    labels = {check.what: check.found for check in contents.checks}
    assert labels["labelled spans"] == 1_214
    # Gravity is 1 g: the median magnitude of the first three channels, over everything.
    magnitude = np.concatenate([np.linalg.norm(r.samples[:, :3], axis=1) for r in contents.recordings])
    assert float(np.median(magnitude)) == pytest.approx(1.0, abs=0.05)


def test_hapt_windows_are_the_same_every_time(real_data: Path) -> None:
    split = load_split("hapt", real_data / "hapt.zip")
    assert set(split.test.subject) == UCI_TEST_PEOPLE
    assert len(set(split.train.subject)) == 21
    assert fingerprint(split.train).startswith("a2000009ecf4aaae")


def test_one_recording_of_hapt_is_read_alone(real_data: Path) -> None:
    recording = open_recording("hapt:exp01-user01", real_data)
    assert len(recording.samples) == 20_598
    # labels.txt begins "1 1 5 250 1232", "1 1 7 1233 1392": standing, then standing to sitting.
    assert recording.labels[[248, 249, 1231, 1232, 1391]].tolist() == [-1, 4, 4, 6, 6]


def test_uci_har(real_data: Path) -> None:
    split = load_split("uci-har", real_data)
    assert split.train.x.shape == (7_352, 128, 9)
    assert split.test.x.shape == (2_947, 128, 9)
    assert np.bincount(split.train.y).tolist() == [1226, 1073, 986, 1286, 1374, 1407]
    assert np.bincount(split.test.y).tolist() == [496, 471, 420, 491, 532, 537]
    assert len(set(split.train.subject)) == 21
    assert set(split.test.subject) == UCI_TEST_PEOPLE
    total_acc = split.test.x[:, :, 6:9]
    assert float(np.median(np.linalg.norm(total_acc, axis=2))) == pytest.approx(1.0, abs=0.05)
    # Every window but the first of a recording repeats half of the one before.
    follows = np.flatnonzero(np.diff(split.test.group) == 0)
    assert len(follows) == 2_690
    assert np.array_equal(split.test.x[follows, 64:], split.test.x[follows + 1, :64])


def test_motionsense(real_data: Path) -> None:
    contents = read_dataset("motionsense", real_data)
    assert (len(contents.recordings), people(contents), samples(contents)) == (360, 24, 1_412_865)
    still = np.concatenate([r.samples for r in contents.recordings if r.labels[0] == 2])
    assert float(np.median(np.linalg.norm(still[:, :3], axis=1))) == pytest.approx(1.0, abs=0.02)


def test_wisdm(real_data: Path) -> None:
    contents = read_dataset("wisdm", real_data)
    assert [(c.what, c.found) for c in contents.checks] == [
        ("rows before cleaning", 1_098_208),
        ("people", 36),
    ]
    assert samples(contents) + sum(d.rows for d in contents.dropped) == 1_098_208
    assert {d.reason: d.rows for d in contents.dropped}["timestamp 0"] == 12_845
    assert all(len(set(r.labels.tolist())) == 1 for r in contents.recordings)


def test_actrectut(real_data: Path) -> None:
    gestures = read_dataset("actrectut", real_data).recordings
    assert [len(r.samples) for r in gestures] == [62_480, 70_778]
    assert gestures[0].samples.shape[1] == 15
    # At rest every accelerometer measures gravity, 1000 mg.
    magnitude = [
        np.median(np.linalg.norm(r.samples[:, i : i + 3], axis=1)) for r in gestures for i in (0, 5, 10)
    ]
    assert magnitude == pytest.approx([1000.0] * 6, rel=0.05)
    assert [len(r.samples) for r in read_dataset("actrectut-walk", real_data).recordings] == [31_392, 32_577]


def test_mhealth_partial(real_data: Path) -> None:
    contents = read_dataset("mhealth-partial", real_data)
    assert (len(contents.recordings), people(contents), samples(contents)) == (126, 10, 344_700)
    assert all(check.ok for check in contents.checks)
    assert all((r.labels >= 0).all() for r in contents.recordings)
