"""Every way a dataset can be broken gets an error that names the file, the place and what was expected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from disc_stream.data.readers import load_recordings
from disc_stream.errors import DataError
from tests.support.datasets import WRITERS, mhealth_partial_arrays, save_mat, skoda_matrix

Break = Callable[[Path], object]


def replace_line(file: str, number: int, line: str) -> Break:
    def apply(root: Path) -> None:
        lines = (root / file).read_text().split("\n")
        lines[number - 1] = line
        (root / file).write_text("\n".join(lines))

    return apply


def cut(file: str, characters: int) -> Break:
    return lambda root: (root / file).write_text((root / file).read_text()[:-characters])


def drop_lines(file: str, n: int) -> Break:
    return lambda root: (root / file).write_text(
        "\n".join((root / file).read_text().split("\n")[: -n - 1]) + "\n"
    )


def delete(file: str) -> Break:
    return lambda root: (root / file).unlink()


def write(file: str, text: str) -> Break:
    return lambda root: (root / file).write_text(text)


def gesture(**change: np.ndarray) -> Break:
    variables = {"data": np.zeros((900, 15)), "labels": np.ones((900, 1), dtype=np.uint8)} | change
    return lambda root: save_mat(root / "Data/subject1_gesture/data.mat", **variables)


def partial(**change: np.ndarray) -> Break:
    return lambda root: np.savez(root / "mhealth_partial.npz", **(mhealth_partial_arrays() | change))


def skoda(rows: slice = slice(None), columns: slice = slice(None), **entry: float) -> Break:
    def apply(root: Path) -> None:
        matrix = skoda_matrix()
        for place, value in entry.items():
            row, column = map(int, place.removeprefix("at_").split("_"))
            matrix[row, column] = value
        save_mat(root / "right_classall_clean.mat", right_classall_clean=matrix[rows, columns])

    return apply


def truncated(file: str) -> Break:
    return lambda root: (root / file).write_bytes((root / file).read_bytes()[:300])


ACC, GYRO, LABELS = "RawData/acc_exp01_user01.txt", "RawData/gyro_exp01_user01.txt", "RawData/labels.txt"
UCI_Y, UCI_SUBJECT = "train/y_train.txt", "train/subject_train.txt"
UCI_SIGNAL = "train/Inertial Signals/total_acc_z_train.txt"
SIT = "A_DeviceMotion_data/sit_5/sub_2.csv"
LOG = "mHealth_subject2.log"
WISDM = "WISDM_ar_v1.1_raw.txt"

CASES = [
    ("hapt", delete(GYRO), r"gyro_exp01_user01\.txt is missing"),
    ("hapt", delete(ACC), r"labels\.txt, line 1 names experiment 1 of user 1, but RawData/acc_exp01_user01"),
    (
        "hapt",
        drop_lines(GYRO, 3),
        r"acc_exp01_user01\.txt has 400 rows, but .*gyro_exp01.* has 397",
    ),
    ("hapt", cut(ACC, 6), r"acc_exp01_user01\.txt, line 400: expected 3 numbers, got 2 .*cut short"),
    ("hapt", replace_line(ACC, 7, "1 2"), r"acc_exp01_user01\.txt, line 7: expected 3 numbers, got 2"),
    ("hapt", replace_line(ACC, 7, "1 2 3 4"), r"line 7: expected 3 numbers, got 4"),
    ("hapt", replace_line(ACC, 7, "1 x 3"), r"line 7, column 2: expected a finite number, got 'x'"),
    ("hapt", replace_line(ACC, 7, "1 nan 3"), r"line 7, column 2: expected a finite number, got 'nan'"),
    ("hapt", write(ACC, ""), r"acc_exp01_user01\.txt is empty"),
    ("hapt", lambda r: (r / ACC).write_bytes(b"\xff\xfe\x00\x01"), r"is not a text file"),
    (
        "hapt",
        replace_line(LABELS, 2, "1 1 13 21 30"),
        r"labels\.txt, line 2: activity .* 1\.\.12, got 13",
    ),
    ("hapt", replace_line(LABELS, 2, "1 1 0 21 30"), r"line 2: activity must be 1\.\.12, got 0"),
    (
        "hapt",
        replace_line(LABELS, 2, "1 1 7 21 401"),
        r"line 2: samples 21\.\.401 .* within .* 1\.\.400",
    ),
    ("hapt", replace_line(LABELS, 2, "1 1 7 30 21"), r"line 2: samples 30\.\.21 are not within"),
    ("hapt", replace_line(LABELS, 2, "1 1 7 20 30"), r"line 2: samples 20\.\.30 overlap another span"),
    ("hapt", replace_line(LABELS, 2, "1 1 7 21.5 30"), r"labels\.txt, row 2: expected whole numbers"),
    (
        "hapt",
        replace_line(LABELS, 2, f"1 1 7 {'6' * 40} 4.1"),
        r"labels\.txt, row 2: .* got 6\.66667e\+39\. ",
    ),
    ("uci-har", delete(UCI_SIGNAL), r"total_acc_z_train\.txt is missing"),
    ("uci-har", drop_lines(UCI_SIGNAL, 1), r"total_acc_z_train\.txt has 5 rows, but y_train\.txt has 6"),
    ("uci-har", cut(UCI_SIGNAL, 20), r"total_acc_z_train\.txt, line 6: expected 128 numbers, got 127"),
    ("uci-har", drop_lines(UCI_SUBJECT, 1), r"subject_train\.txt has 5 rows, but y_train\.txt has 6"),
    ("uci-har", replace_line(UCI_Y, 3, "7"), r"y_train\.txt, line 3: activity must be 1\.\.6, got 7"),
    ("uci-har", replace_line(UCI_SUBJECT, 1, "31"), r"subject_train\.txt, line 1: subject must be 1\.\.30"),
    ("motionsense", write(SIT, "a,b\n1,2\n"), r"sub_2\.csv, line 1: expected the columns of DeviceMotion"),
    ("motionsense", cut(SIT, 8), r"sub_2\.csv, line 301: expected 13 numbers, got 12 .*cut short"),
    ("motionsense", replace_line(SIT, 5, ""), r"sub_2\.csv, line 5: expected row number 3, got 4"),
    ("motionsense", lambda r: (r / SIT).parent.rename(r / "A_DeviceMotion_data/swim_5"), r"got 'swim'"),
    ("wisdm", write(WISDM, "1,2,3\n" * 50), r"50 of 50 rows are not of the form user,activity,timestamp"),
    ("actrectut", gesture(data=np.zeros((900, 14))), r"data\.mat: 'data' must have 15 columns, got 14"),
    ("actrectut", gesture(labels=np.ones((899, 1))), r"'labels' must be 900 × 1 to fit 'data', got 899 × 1"),
    ("actrectut", gesture(labels=np.full((900, 1), 13)), r"row 1 of 'labels': must be 1\.\.12, got 13"),
    ("actrectut", gesture(data=np.full((900, 15), np.nan)), r"row 1 of 'data': expected finite numbers"),
    ("actrectut", gesture(labels=np.array(["x"])), r"no matrix of numbers named 'labels'"),
    ("actrectut", truncated("Data/subject1_gesture/data.mat"), r"data\.mat is not a readable MATLAB file"),
    ("actrectut", delete("Data/subject2_gesture/data.mat"), r"subject2_gesture/data\.mat is missing"),
    (
        "mhealth",
        replace_line(LOG, 9, "\t".join("1" * 23)),
        r"subject2\.log, line 9: expected 24 .*, got 23",
    ),
    (
        "mhealth",
        replace_line(LOG, 9, "\t".join(["1"] * 23 + ["13"])),
        r"line 9: label .* 0\.\.12, got 13",
    ),
    ("mhealth", replace_line(LOG, 9, "\t".join(["1"] * 23 + ["1.5"])), r"line 9: label must be .*got 1\.5"),
    ("mhealth-partial", truncated("mhealth_partial.npz"), r"mhealth_partial\.npz is not a readable npz"),
    ("mhealth-partial", partial(win_label=np.full(12, 13)), r"win_label\[0\] must be 1\.\.12, got 13"),
    ("mhealth-partial", partial(win_start=np.full(12, 150)), r"window 0 \(person 1, row 150\) is not in"),
    (
        "mhealth-partial",
        partial(stream=np.zeros((5, 800))),
        r"'stream' .* shape \(6, 800\), got \(5, 800\)",
    ),
    ("mhealth-partial", partial(win_len=np.zeros(3)), r"'win_len' must be 0-dimensional numbers"),
    ("mhealth-partial", partial(win_label=np.array([{}] * 12)), r"not a readable npz: Object arrays"),
    ("skoda", skoda(columns=slice(70)), r"right_classall_clean\.mat: expected 71 columns .*got 70"),
    ("skoda", skoda(at_5_0=33), r"row 6: label must be 32 or 48\.\.58, got 33"),
    ("skoda", skoda(at_5_0=np.nan), r"row 6: label must be 32 or 48\.\.58, got nan"),
    ("skoda", truncated("right_classall_clean.mat"), r"right_classall_clean\.mat is not a readable MATLAB"),
]


@pytest.mark.parametrize(("dataset", "damage", "message"), CASES)
def test_damage_is_named(dataset: str, damage: Break, message: str, tmp_path: Path) -> None:
    root = WRITERS[dataset](tmp_path)
    damage(root)
    with pytest.raises(DataError, match=message):
        load_recordings(dataset, root)
