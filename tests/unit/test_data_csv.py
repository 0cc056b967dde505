from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from disc_stream.data.csvfile import read_csv, read_csv_folder
from disc_stream.data.windows import WindowPlan, window_recordings
from disc_stream.errors import ConfigError, DataError, InputNotFoundError
from disc_stream.types import Channel


def save(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_file_with_everything(tmp_path: Path) -> None:
    path = save(
        tmp_path / "walk user03.csv",
        "t,acc_x[g],gyro_x[deg/s],label",
        "0.00,0.5,10,",
        "0.02,0.6,-11,walking",
        "0.04,0.7,1.5e1,standing",
    )
    recording = read_csv(path)
    assert recording.name == "walk-user03"
    assert recording.subject == 3
    assert recording.fs == 50.0
    assert recording.channels == (Channel("acc_x", "g"), Channel("gyro_x", "deg/s"))
    assert np.array_equal(recording.samples, np.array([[0.5, 10], [0.6, -11], [0.7, 15]], dtype=np.float32))
    assert recording.label_names == ("walking", "standing")
    assert recording.labels.tolist() == [-1, 0, 1]


def test_columns_may_come_in_any_order_with_other_separators_and_spellings(tmp_path: Path) -> None:
    path = save(
        tmp_path / "a.csv",
        "﻿acc_x [m/s^2];activity;TimeStamp[ms];free",
        "1;rest;1000;7",
        "",
        "2;rest;1010;8",
    )
    recording = read_csv(path)
    assert recording.channels == (Channel("acc_x", "m/s2"), Channel("free", "1"))
    assert recording.samples.tolist() == [[1, 7], [2, 8]]
    assert recording.fs == 100.0


def test_a_rate_near_a_whole_number_is_that_number(tmp_path: Path) -> None:
    times = np.arange(500) / 50.04
    times[::7] += 0.004  # jitter
    times[0] = 0.0
    path = save(tmp_path / "a.csv", "t,a", *(f"{t:.4f},1" for t in times))
    assert read_csv(path).fs == 50.0
    path = save(tmp_path / "b.csv", "t,a", *(f"{i / 51.2:.6f},1" for i in range(500)))
    assert read_csv(path).fs == pytest.approx(51.2, abs=1e-3)


def test_without_times_the_rate_must_be_given(tmp_path: Path) -> None:
    path = save(tmp_path / "a.csv", "acc_x[g]", "1", "2")
    with pytest.raises(ConfigError, match="no column 't'"):
        read_csv(path)
    assert read_csv(path, fs=25.0).fs == 25.0


BAD = [
    ([""], "is empty"),
    (["t,a[g]"], "has a header but no samples"),
    (["t,label", "0,x"], "line 1 names no channels"),
    (["t,a,a", "0,1,1"], "line 1 names a channel twice"),
    (["t,[g]", "0,1"], r"line 1: column 2 is named '\[g\]'"),
    (["0.0,1.5", "0.1,1.6"], "has no header"),
    (["t,a[furlong]", "0,1"], r"line 1: unit 'furlong' of 'a' is not known"),
    (["t[h],a", "0,1"], "line 1: time unit 'h' is not one of s, ms, us, ns"),
    (["t,a,b", "0,1,2", "1,1"], "line 3: expected 3 fields as in the header, got 2"),
    (["t,a", "0,1", "0.1,1,1"], "line 3: expected 2 fields as in the header, got 3"),
    (["t,a", "0,1", "0.1,1,1"], "may be cut short"),
    (["t,a", "0,1", "", "0.1,one"], "line 4: expected a finite number, got 'one'"),
    (["t,a", "0,1", "0.1,nan"], "line 3: expected a finite number, got 'nan'"),
    (["t,a", "0,1", "0.1,"], "line 3: expected a finite number, got ''"),
    (["t,a", "0,1", "0.1,1e999"], "line 3: expected a finite number, got 'inf'"),
    (["t,a,activity", *(f"{i},1,{i / 7}" for i in range(32_768))], "32,768 different labels.*another name"),
    (["t,a", "0,1", "0.1,1", "0.05,1"], "line 4: time goes back"),
    (["t,a", "0,1", "0.1,1", "0.2,1", "0.3,1", "1.3,1"], "line 6: a pause of 1 s"),
    (["t,a", "0,1"], "one sample"),
    (["t,a", "0,1", "20,1", "40,1"], r"20 s apart.*t\[ms\]"),
    (["t,a", "5,1", "5,1", "5,1"], "0 s apart"),
]


@pytest.mark.parametrize(("lines", "message"), BAD)
def test_a_broken_file_is_named_with_its_line(lines: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"(?s){message}") as raised:
        read_csv(save(tmp_path / "broken.csv", *lines))
    assert "broken.csv" in str(raised.value)


def test_a_file_that_is_no_text_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "binary.csv"
    path.write_bytes(b"t,a\n\xff\xfe\x00,1\n")
    with pytest.raises(DataError, match="not a CSV in UTF-8"):
        read_csv(path)
    with pytest.raises(InputNotFoundError, match=r"'.*gone\.csv' does not exist"):
        read_csv(tmp_path / "gone.csv")


def test_a_folder_of_files_shares_its_label_names(tmp_path: Path) -> None:
    save(tmp_path / "b_subject02.csv", "t,a,label", "0,1,walk", "0.1,1,run")
    save(tmp_path / "a.csv", "t,a,label", "0,1,run", "0.1,1,")
    save(tmp_path / "c.csv", "t,a,label", "0,1,rest", "0.1,1,walk")
    recordings = read_csv_folder(tmp_path)
    assert {r.label_names for r in recordings} == {("rest", "run", "walk")}
    assert [r.labels.tolist() for r in recordings] == [[1, -1], [2, 1], [0, 2]]
    assert [r.subject for r in recordings] == [1, 2, 3], "files that name no person get a number of their own"
    (tmp_path / "none").mkdir()
    with pytest.raises(InputNotFoundError, match=r"has no \.csv files"):
        read_csv_folder(tmp_path / "none")


def test_files_whose_recordings_would_have_one_name_are_told_apart_or_refused(tmp_path: Path) -> None:
    save(tmp_path / "walk 1.CSV", "t,a", "0,1", "0.1,1")
    save(tmp_path / "walk_1.csv", "t,a", "0,1", "0.1,1")
    assert [r.name for r in read_csv_folder(tmp_path)] == ["walk-1", "walk_1"]
    save(tmp_path / "walk-1.csv", "t,a", "0,1", "0.1,1")
    with pytest.raises(DataError, match=r"walk-1\.csv' and 'walk 1\.CSV' would both be 'walk-1'.*Rename"):
        read_csv_folder(tmp_path)


def test_people_may_have_long_numbers(tmp_path: Path) -> None:
    for name in ("user100234", "user100235a", "user100235b", f"subject{10**18 - 1}", "user1" + "0" * 20):
        save(tmp_path / f"{name}.csv", "t,a", *(f"{i / 10},1" for i in range(8)))
    recordings = read_csv_folder(tmp_path)
    numbers = [100234, 100235, 100235, 10**18 - 1]
    assert sorted(r.subject for r in recordings) == [1, *numbers], "one with 21 digits is no number of ours"
    windows = window_recordings(recordings, WindowPlan(4, 4))
    assert sorted(windows.subject.tolist()) == sorted([1, *numbers] * 2)
