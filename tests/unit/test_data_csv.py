"""Plain CSV files: names, people, labels, rates, and refusals that name the line or the remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from disc_stream.data.importing.front import import_recordings, read_recordings
from disc_stream.data.importing.settings import Settings
from disc_stream.data.windows import WindowPlan, window_recordings
from disc_stream.errors import DataError, InputNotFoundError
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
    (recording,) = read_recordings(path)
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
    (recording,) = read_recordings(path)
    assert recording.channels == (Channel("acc_x", "m/s2"), Channel("free", "1"))
    assert recording.samples.tolist() == [[1, 7], [2, 8]]
    assert recording.fs == 100.0


def test_a_rate_near_a_whole_number_is_that_number_and_its_own_clock_is_kept(tmp_path: Path) -> None:
    times = np.arange(500) / 50.04
    times[3::7] += 0.004  # jitter
    path = save(tmp_path / "a.csv", "t,a", *(f"{t:.4f},{i % 9}" for i, t in enumerate(times)))
    (recording,) = read_recordings(path)
    assert recording.fs == 50.0
    assert recording.clock_fs == pytest.approx(50.04, abs=0.02)
    path = save(tmp_path / "b.csv", "t,a", *(f"{i / 51.2:.6f},{i % 9}" for i in range(500)))
    assert read_recordings(path)[0].fs == pytest.approx(51.2, abs=1e-3)


def test_without_times_the_rate_must_be_given(tmp_path: Path) -> None:
    path = save(tmp_path / "a.csv", "acc_x[g]", "1", "2")
    with pytest.raises(DataError, match=r"no column of times.*--source-rate"):
        read_recordings(path)
    assert read_recordings(path, Settings(source_rate=25.0))[0].fs == 25.0


MANY = [f"{i / 50:.2f},{i % 7}" for i in range(100)]
BAD = [
    ([""], "is empty"),
    (["t,a[g]"], "has a header but no samples"),
    (["t,label", "0,x", "0.02,y"], "has no channels"),
    (["t,acc_x[g],acc_x[g]", "0,1,1", "0.1,1,1"], "has channel 'acc_x' twice"),
    (["t,a[furlong]", "0,1", "0.1,2"], r"unit 'furlong' is not known.*--map"),
    (["t[h],a", "0,1", "0.1,2"], r"time unit 'h' is not known.*--map"),
    (["t,a", *MANY, *(f"9.{i},1,1" for i in range(9))], "line 102: expected 2 fields.*9 lines"),
    (["t,a", *MANY, *(f"2.{i},one" for i in range(9))], "expected numbers, got 'one' in line 102"),
    (["t,a,activity", *(f"{i / 50},1,x{i}" for i in range(32_768))], "more than 32,767 different labels"),
    (["t,a", "0,1"], "one sample"),
    (["t,a", "5,1", "5,1", "5,1"], "is not said|one time"),
    (["t,n,m", *(f"{i / 50},{i},{2 * i}" for i in range(60))], "has no channels.*only rises"),
]


@pytest.mark.parametrize(("lines", "message"), BAD)
def test_a_broken_file_is_named_with_what_to_do(lines: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"(?s){message}") as raised:
        read_recordings(save(tmp_path / "broken.csv", *lines))
    assert "broken" in str(raised.value)


def test_a_few_lines_that_cannot_be_used_are_left_out_and_told(tmp_path: Path) -> None:
    path = save(tmp_path / "a.csv", "t,a", *MANY[:50], "x", *MANY[50:70], "1.40,one", *MANY[71:])
    plan, (recording,) = import_recordings(path)
    assert len(recording.samples) == 100
    said = "\n".join(plan.lines())
    assert "1 line with too few or too many fields left out, the first is line 52" in said
    assert "'one' in line 73" in said


def test_a_file_that_is_no_text_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "binary.csv"
    path.write_bytes(bytes(range(1, 256)) * 40)
    with pytest.raises(DataError, match="no table of numbers"):
        read_recordings(path)
    with pytest.raises(InputNotFoundError, match=r"'.*gone\.csv' does not exist"):
        read_recordings(tmp_path / "gone.csv")


def test_a_folder_of_files_shares_its_label_names(tmp_path: Path) -> None:
    save(tmp_path / "b_subject02.csv", "t,a,label", "0,1,walk", "0.1,2,run")
    save(tmp_path / "a.csv", "t,a,label", "0,1,run", "0.1,2,")
    save(tmp_path / "c.csv", "t,a,label", "0,1,rest", "0.1,2,walk")
    _, recordings = import_recordings(tmp_path)
    assert {r.label_names for r in recordings} == {("rest", "run", "walk")}
    assert [r.labels.tolist() for r in recordings] == [[1, -1], [2, 1], [0, 2]]
    assert [r.subject for r in recordings] == [1, 2, 3], "files that name no person get a number of their own"
    (tmp_path / "none").mkdir()
    with pytest.raises(InputNotFoundError, match="has no recordings"):
        import_recordings(tmp_path / "none")


def test_files_whose_recordings_would_have_one_name_are_told_apart_or_refused(tmp_path: Path) -> None:
    save(tmp_path / "walk 1.CSV", "t,a", "0,1", "0.1,2")
    save(tmp_path / "walk_1.csv", "t,a", "0,1", "0.1,2")
    assert [r.name for r in import_recordings(tmp_path)[1]] == ["walk-1", "walk_1"]
    save(tmp_path / "walk-1.csv", "t,a", "0,1", "0.1,2")
    with pytest.raises(DataError, match=r"would both be 'walk-1'.*Rename"):
        import_recordings(tmp_path)


def test_people_may_have_long_numbers(tmp_path: Path) -> None:
    for name in ("user100234", "user100235a", "user100235b", f"subject{10**18 - 1}", "user1" + "0" * 20):
        save(tmp_path / f"{name}.csv", "t,a", *(f"{i / 10},{i % 3}" for i in range(8)))
    _, recordings = import_recordings(tmp_path)
    numbers = [100234, 100235, 100235, 10**18 - 1]
    assert sorted(r.subject for r in recordings) == [1, *numbers], "one with 21 digits is no number of ours"
    windows = window_recordings(recordings, WindowPlan(4, 4))
    assert sorted(windows.subject.tolist()) == sorted([1, *numbers] * 2)
