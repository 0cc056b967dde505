"""Each reader takes the right columns, labels and places, on small datasets in the official layouts."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from disc_stream.data.readers import load_recordings, load_split, read_dataset
from disc_stream.data.readers.mat import read_mat
from disc_stream.data.readers.source import FolderSource
from disc_stream.errors import ConfigError, DataError, MissingExtraError
from tests.support import datasets
from tests.support.datasets import write_rows


def test_hapt_puts_accelerometer_before_gyroscope_and_paints_inclusive_spans(tmp_path: Path) -> None:
    first, second, third = load_recordings("hapt", datasets.write_hapt(tmp_path))
    assert [r.name for r in (first, second, third)] == [
        "hapt-exp01-user01", "hapt-exp02-user01", "hapt-exp03-user02",
    ]  # fmt: skip
    assert first.samples[0] == pytest.approx([1.0, 1.1, 1.2, 1.3, 1.4, 1.5])
    # Rows "5 11 20" and "7 21 30": activities 5 and 7 at samples 11..20 and 21..30, counted from 1.
    assert first.label_names[4] == "standing"
    assert first.label_names[6] == "stand_to_sit"
    expected = np.full(datasets.HAPT_ROWS, -1)
    expected[10:20], expected[20:30] = 4, 6
    assert np.array_equal(first.labels, expected)
    assert (second.labels == -1).all()
    assert (third.labels == 0).all()


def test_hapt_tests_on_the_people_of_uci_har_and_scores_basic_activities(tmp_path: Path) -> None:
    root = datasets.write_hapt(tmp_path)
    split = load_split("hapt", root)
    assert set(split.train.subject) == {1}
    assert set(split.test.subject) == {2}
    assert split.train.x.shape == (10, 128, 6)  # two recordings, 400 = 128 + 4 × 64 + 16 samples
    assert split.train.group.tolist() == [0] * 5 + [1] * 5
    assert split.train.start.tolist() == [0, 64, 128, 192, 256] * 2
    assert (split.n_clusters, split.scored) == (6, (0, 1, 2, 3, 4, 5))
    assert "2 are held out" in split.protocol
    # Most samples of every training window are unlabelled.
    assert (split.train.y == -1).all()
    assert len(load_split("hapt", root, include_unlabelled=False).train) == 0
    assert len(load_split("hapt", root, include_unlabelled=False).test) == 5


def test_hapt_windows_follow_the_options(tmp_path: Path) -> None:
    split = load_split("hapt", datasets.write_hapt(tmp_path), window_s=1.0, overlap=0.0)
    assert split.test.x.shape == (8, 50, 6)
    with pytest.raises(ConfigError, match="overlap"):
        load_split("hapt", tmp_path, overlap=1.0)
    with pytest.raises(ConfigError, match="fewer than 4 samples"):
        load_split("hapt", tmp_path, window_s=0.01)


def test_a_complete_hapt_must_meet_the_published_totals(tmp_path: Path) -> None:
    root = tmp_path / "HAPT Data Set"
    for experiment in range(1, 62):
        user = (experiment + 1) // 2 if experiment < 61 else 30
        for sensor in ("acc", "gyro"):
            write_rows(root / f"RawData/{sensor}_exp{experiment:02d}_user{user:02d}.txt", [(0, 0, 0)] * 4)
    write_rows(root / "RawData/labels.txt", [(1, 1, 1, 1, 4)])
    with pytest.raises(DataError, match="all files are there, but samples: 244, published 1,122,772"):
        load_recordings("hapt", root)
    assert len(load_recordings("hapt", root, subjects=[30])) == 3


def test_uci_har_windows_are_read_and_put_together_again(tmp_path: Path) -> None:
    root = datasets.write_uci_har(tmp_path)
    split = load_split("uci-har", root)
    assert split.train.x.shape == (6, 128, 9)
    assert split.train.y.tolist() == [0, 1, 2] * 2
    # The second stretch begins at another value, so its first window does not continue the third one.
    assert split.train.group.tolist() == [0, 0, 0, 1, 1, 1]
    assert split.train.start.tolist() == [0, 64, 128] * 2
    assert split.test.group.tolist() == [2, 2, 2]
    assert split.train.x[0, 0] == pytest.approx([i / 10 for i in range(9)])

    recordings = load_recordings("uci-har", root)
    assert [r.name for r in recordings] == [
        "uci-har-user01-part01", "uci-har-user01-part02", "uci-har-user02-part01",
    ]  # fmt: skip
    assert np.array_equal(recordings[1].samples[:, 0], 1000.0 + np.arange(256, dtype=np.float32))
    assert recordings[0].labels.tolist() == [0] * 128 + [1] * 64 + [2] * 64
    with pytest.raises(ConfigError, match="comes cut into windows of 128 samples every 64"):
        load_split("uci-har", root, overlap=0.75)


def test_motionsense_adds_gravity_and_user_acceleration(tmp_path: Path) -> None:
    recordings = load_recordings("motionsense", datasets.write_motionsense(tmp_path))
    assert [(r.name, r.subject, int(r.labels[0])) for r in recordings] == [
        ("motionsense-dws01-sub01", 1, 0),
        ("motionsense-dws01-sub02", 2, 0),
        ("motionsense-sit05-sub01", 1, 2),
        ("motionsense-sit05-sub02", 2, 2),
    ]
    assert recordings[1].samples[0].tolist() == [0.75, 0.75, 0.75, 2.0, 2.0, 3.0]


def test_wisdm_leaves_out_dirt_and_cuts_where_the_clock_breaks(tmp_path: Path) -> None:
    root = tmp_path / "WISDM_ar_v1.1"
    step = 50_000_000
    clean = [f"7,Walking,{10**12 + i * step},1,2,3;" for i in range(60)]
    lines = [
        *clean,                                             # part 1
        "7,Walking,0,0,0,0;",                               # no clock
        f"7,Walking,{10**12 + 60 * step},1,2,3;",           # goes on with part 1
        f"7,Walking,{10**12 + 60 * step},1,2,3;",           # stored twice
        f"7,Walking,{10**12 + 61 * step},1,2,",             # broken off
        f"7,Walking,{10**12 + 62 * step},1,2,3;7,Walking,{10**12 + 63 * step},1,2,3;",  # two rows on a line
        f"7,Walking,{10**12 + 80 * step},4,5,6;",           # 0.85 s later: part 2
        f"7,Walking,{10**12 + 10 * step},7,8,9;",           # back in time: part 3
        f"7,Jogging,{10**12 + 11 * step},7,8,9;",           # another activity: part 4
        f"8,Jogging,{10**12 + 12 * step},7,8,9;",           # another person
    ]  # fmt: skip
    root.mkdir()
    (root / "WISDM_ar_v1.1_raw.txt").write_text("\n".join(lines) + "\n")
    contents = read_dataset("wisdm", root)
    assert [(r.name, len(r.samples)) for r in contents.recordings] == [
        ("wisdm-user07-part001", 63),
        ("wisdm-user07-part002", 1),
        ("wisdm-user07-part003", 1),
        ("wisdm-user07-part004", 1),
        ("wisdm-user08-part001", 1),
    ]
    assert [(d.rows, d.reason) for d in contents.dropped] == [
        (1, "not of the form user,activity,timestamp,x,y,z"),
        (1, "timestamp 0"),
        (1, "timestamp of the row before"),
    ]
    assert contents.recordings[1].samples.tolist() == [[4.0, 5.0, 6.0]]
    assert contents.recordings[3].labels.tolist() == [1]
    assert contents.checks[0].found == len(lines) + 1, "every row is counted, also those left out"


def test_actrectut_keeps_five_columns_per_sensor_and_null_is_unlabelled(tmp_path: Path) -> None:
    root = datasets.write_actrectut(tmp_path)
    gesture = load_recordings("actrectut", root)[0]
    assert gesture.samples[0].tolist() == list(range(15))
    assert gesture.channels[8].name == "lower_arm_gyro_x"
    assert gesture.labels[[0, 100, 200, 300]].tolist() == [-1, 0, 1, -1]
    assert gesture.label_names[0] == "open_window"
    walk = load_recordings("actrectut-walk", root)[1]
    # Six columns per sensor in the file; the third of the gyroscope is left out.
    assert walk.samples[0].tolist() == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 12, 13, 14, 15, 16, 18, 19, 20, 21, 22]
    assert walk.label_names[walk.labels[100]] == "sitting"


def test_actrectut_is_split_in_time(tmp_path: Path) -> None:
    split = load_split("actrectut", datasets.write_actrectut(tmp_path))
    assert "last 30 %" in split.protocol
    assert set(split.train.subject) == set(split.test.subject) == {1, 2}
    for group in (0, 1):
        last = split.train.start[split.train.group == group].max()
        assert (split.test.start[split.test.group == group] >= last + 64).all()


def test_matlab_files_without_scipy_name_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    savemat(tmp_path / "old.mat", {"data": np.ones((2, 3))}, format="4")
    savemat(tmp_path / "new.mat", {"data": np.ones((2, 3))})
    monkeypatch.setitem(sys.modules, "scipy.io", None)
    with pytest.raises(MissingExtraError, match="reading MATLAB files of version 4 needs the extra 'train'"):
        read_mat(FolderSource(tmp_path), "old.mat", ("data",))
    (matrix,) = read_mat(FolderSource(tmp_path), "new.mat", ("data",))
    assert matrix.shape == (2, 3)


def test_mhealth_drops_the_electrocardiogram(tmp_path: Path) -> None:
    recording = load_recordings("mhealth", datasets.write_mhealth(tmp_path))[1]
    assert recording.name == "mhealth-subject02"
    assert recording.samples[0].tolist() == [0, 1, 2, *range(5, 23)]
    named = dict(zip((c.name for c in recording.channels), recording.samples[0].tolist(), strict=True))
    assert (named["left_ankle_acc_x"], named["left_ankle_mag_z"], named["right_arm_gyro_x"]) == (5, 13, 17)
    assert recording.labels[[0, 150, 300]].tolist() == [-1, 0, 11]


def test_mhealth_partial_cuts_where_the_log_position_jumps(tmp_path: Path) -> None:
    recordings = load_recordings("mhealth-partial", datasets.write_mhealth_partial(tmp_path))
    assert [(r.name, len(r.samples), int(r.labels[0])) for r in recordings] == [
        ("mhealth-partial-subject01-part01", 200, 0),
        ("mhealth-partial-subject01-part02", 200, 3),
        ("mhealth-partial-subject02-part01", 200, 0),
        ("mhealth-partial-subject02-part02", 200, 3),
    ]
    assert recordings[0].samples[0].tolist() == list(range(6))
    assert [c.unit for c in recordings[0].channels] == ["m/s2"] * 3 + ["deg/s"] * 3


def test_skoda_takes_the_calibrated_columns(tmp_path: Path) -> None:
    root = datasets.write_skoda(tmp_path)
    (recording,) = load_recordings("skoda", root)
    # Per sensor of 7 columns: number, calibrated x, y, z, raw x, y, z; the label is column 0.
    assert recording.samples[0, :6].tolist() == [2, 3, 4, 9, 10, 11]
    assert recording.samples[0, -1] == 67
    assert recording.labels[[0, 800, 1600]].tolist() == [-1, 0, 9]
    assert load_recordings("skoda-left", root)[0].name == "skoda-left-subject1-part01"


def test_skoda_is_cut_at_missing_values_and_says_so(tmp_path: Path) -> None:
    matrix = datasets.skoda_matrix()
    matrix[100:110, 3] = np.nan
    matrix[5, 5] = np.nan  # a raw value, which is not read
    datasets.save_mat(tmp_path / "right_classall_clean.mat", right_classall_clean=matrix)
    contents = read_dataset("skoda", tmp_path)
    assert [(r.name, len(r.samples)) for r in contents.recordings] == [
        ("skoda-subject1-part01", 100),
        ("skoda-subject1-part02", len(matrix) - 110),
    ]
    assert [(d.rows, d.reason) for d in contents.dropped] == [(10, "a sensor's value is missing")]
    matrix[:, 3] = np.nan
    datasets.save_mat(tmp_path / "right_classall_clean.mat", right_classall_clean=matrix)
    with pytest.raises(DataError, match="every row has missing values"):
        read_dataset("skoda", tmp_path)


def test_pamap2_bridges_and_cuts_what_is_lost(tmp_path: Path) -> None:
    one, two = load_recordings("pamap2", datasets.write_pamap2(tmp_path), subjects=[101])
    assert (one.name, two.name, one.part_of) == (
        "pamap2-subject101-part01",
        "pamap2-subject101-part02",
        one.part_of,
    )
    assert (len(one.samples), len(two.samples), two.start_us) == (600, 600, 15_000_000)
    assert one.samples[0].tolist() == [
        4, 5, 6, 10, 11, 12, 21, 22, 23, 27, 28, 29, 38, 39, 40, 44, 45, 46,
    ]  # fmt: skip
    assert {one.label_names[n] for n in one.labels} == {"walking"}
    assert {one.label_names[n] for n in two.labels} == {"ironing"}


def test_opportunity_reads_the_units_of_the_jacket(tmp_path: Path) -> None:
    recording = load_recordings("opportunity", datasets.write_opportunity(tmp_path), subjects=[2])[0]
    assert recording.name == "opportunity-subject2-adl1"
    assert recording.samples[0].tolist() == [37, 38, 39, 50, 51, 52, 63, 64, 65, 76, 77, 78, 89, 90, 91]
    assert recording.labels[[0, 250, 599]].tolist() == [0, -1, 3]


def test_realworld_joins_accelerometer_and_gyroscope(tmp_path: Path) -> None:
    recordings = load_recordings("realworld", datasets.write_realworld(tmp_path), subjects=[2])
    names = [f"realworld-user02-{a}-{p}" for a in ("lying", "walking") for p in ("chest", "waist")]
    assert sorted(r.name for r in recordings) == names
    recording = recordings[0]
    assert recording.samples[1][[0, 1, 2, 3, 5]].tolist() == [2, 2, 0, 2, 5]
    assert recording.samples[1, 4] == pytest.approx(1 + 0.75, abs=1e-5), "5 ms later, so a quarter back"
