"""Small datasets in the official layouts, with numbers that tell where they came from.

Every writer makes a dataset's folder inside ``parent`` and returns it. Values encode their place, such
as ``person + column / 10``, so that a test sees which column and which person it reads.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

Writer = Callable[[Path], Path]

HAPT_ROWS = 400
MOTIONSENSE_HEADER = (
    ",attitude.roll,attitude.pitch,attitude.yaw,gravity.x,gravity.y,gravity.z,"
    "rotationRate.x,rotationRate.y,rotationRate.z,"
    "userAcceleration.x,userAcceleration.y,userAcceleration.z"
)


def write_rows(path: Path, rows: Iterable[Iterable[object]], separator: str = " ", end: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(separator.join(map(str, row)) + end + "\n" for row in rows))


def write_hapt(parent: Path) -> Path:
    """Experiments 1 and 2 of user 1, experiment 3 of user 2 (a test person)."""
    root = parent / "HAPT Data Set"
    for experiment, user in ((1, 1), (2, 1), (3, 2)):
        for sensor, offset in (("acc", 0.0), ("gyro", 0.3)):
            rows = [[experiment + offset + axis / 10 for axis in range(3)] for _ in range(HAPT_ROWS)]
            write_rows(root / f"RawData/{sensor}_exp{experiment:02d}_user{user:02d}.txt", rows)
    write_rows(root / "RawData/labels.txt", [(1, 1, 5, 11, 20), (1, 1, 7, 21, 30), (3, 2, 1, 1, HAPT_ROWS)])
    return root


def write_uci_har(parent: Path) -> Path:
    """Two stretches of three windows for person 1 (train), one of three windows for person 2 (test)."""
    root = parent / "UCI HAR Dataset"
    for part, stretches in (("train", ((1, 0.0), (1, 1000.0))), ("test", ((2, 2000.0),))):
        subjects, activities, windows = [], [], []
        for subject, origin in stretches:
            signal = origin + np.arange(128 + 2 * 64, dtype=np.float64)
            for window in range(3):
                windows.append(signal[64 * window : 64 * window + 128])
                subjects.append([subject])
                activities.append([window + 1])
        write_rows(root / f"{part}/subject_{part}.txt", subjects)
        write_rows(root / f"{part}/y_{part}.txt", activities)
        names = [f"{s}_{a}" for s in ("body_acc", "body_gyro", "total_acc") for a in "xyz"]
        for column, name in enumerate(names):
            rows = [[f"{value + column / 10:.7e}" for value in window] for window in windows]
            write_rows(root / f"{part}/Inertial Signals/{name}_{part}.txt", rows)
    return root


def write_motionsense(parent: Path) -> Path:
    """Persons 1 and 2, walking down stairs and sitting; gravity is 0.5, user acceleration 0.25."""
    root = parent / "MotionSense"
    for person in (1, 2):
        for trial in ("dws_1", "sit_5"):
            rows: list[list[object]] = [MOTIONSENSE_HEADER.split(",")]
            rows += [[row, 9, 9, 9, 0.5, 0.5, 0.5, person, 2, 3, 0.25, 0.25, 0.25] for row in range(300)]
            write_rows(root / f"A_DeviceMotion_data/{trial}/sub_{person}.csv", rows, ",")
    return root


def write_wisdm(parent: Path) -> Path:
    """Users 1 and 2, walking then sitting, 120 samples each at 20 Hz."""
    root = parent / "WISDM_ar_v1.1"
    rows: list[list[object]] = []
    for user in (1, 2):
        for activity in ("Walking", "Sitting"):
            start = 10**12 if activity == "Walking" else 2 * 10**12
            rows += [[user, activity, start + 50_000_000 * i, user, 9.5, -0.25] for i in range(120)]
    write_rows(root / "WISDM_ar_v1.1_raw.txt", rows, ",", end=";")
    return root


def save_mat(path: Path, **variables: npt.NDArray[np.generic]) -> None:
    from scipy.io import savemat

    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, variables)


def write_actrectut(parent: Path) -> Path:
    """Both people, both kinds; labels go 1 (null), 2, 3 in turns of 100 rows; column i holds i."""
    root = parent / "ActRecTut"
    for person in (1, 2):
        for kind, columns in (("gesture", 15), ("walk", 24)):
            data = np.tile(np.arange(columns, dtype=np.float64), (900, 1))
            labels = np.tile(np.repeat(np.array([1, 2, 3], dtype=np.uint8), 100), 3)[:, np.newaxis]
            save_mat(root / f"Data/subject{person}_{kind}/data.mat", data=data, labels=labels)
    return root


def write_mhealth(parent: Path) -> Path:
    """Subjects 1 and 2; column i holds i; the label is 0, then 1, then 12."""
    root = parent / "MHEALTHDATASET"
    for subject in (1, 2):
        rows = [[*range(23), label] for label in (0, 1, 12) for _ in range(150)]
        write_rows(root / f"mHealth_subject{subject}.log", rows, "\t")
    return root


def mhealth_partial_arrays() -> dict[str, npt.NDArray[np.generic]]:
    """Persons 1 and 2, each with samples 0..199 (label 1) and 500..699 (label 4) of the log."""
    position = np.concatenate([np.arange(200), np.arange(500, 700)] * 2)
    starts = [0, 50, 100, 500, 550, 600]
    return {
        "stream": np.tile(np.arange(6, dtype=np.float32)[:, np.newaxis], (1, len(position))),
        "stream_pos": position.astype(np.int32),
        "stream_subject": np.repeat([1, 2], 400).astype(np.uint8),
        "win_subject": np.repeat([1, 2], len(starts)).astype(np.uint8),
        "win_start": np.array(starts * 2, dtype=np.int32),
        "win_label": np.array([1, 1, 1, 4, 4, 4] * 2, dtype=np.uint8),
        "win_len": np.array(100, dtype=np.int32),
    }


def write_mhealth_partial(parent: Path) -> Path:
    root = parent / "partial"
    root.mkdir(parents=True)
    np.savez(root / "mhealth_partial.npz", **mhealth_partial_arrays())  # type: ignore[arg-type]
    return root


def skoda_matrix() -> npt.NDArray[np.float64]:
    """3 × 800 rows of null, write on notepad, check steering wheel; column i holds i."""
    matrix = np.tile(np.arange(71, dtype=np.float64), (2400, 1))
    matrix[:, 0] = np.repeat([32, 48, 57], 800)
    return matrix


def write_skoda(parent: Path) -> Path:
    root = parent / "SkodaMiniCP_2015_08"
    for side in ("left", "right"):
        save_mat(root / f"{side}_classall_clean.mat", **{f"{side}_classall_clean": skoda_matrix()})
    return root


def write_pamap2(parent: Path) -> Path:
    """Subjects 101 and 102: column i holds i, walking (4) for 6 s, a second of NaN, then ironing (17)."""
    root = parent / "PAMAP2_Dataset"
    for subject in (101, 102):
        rows: list[list[object]] = []
        for i in range(1300):
            values: list[object] = ["NaN" if 600 <= i < 700 else c + 0.01 * (i % 3) for c in range(54)]
            rows.append([f"{8 + i / 100:.2f}", 4 if i < 650 else 17, *values[2:]])
        write_rows(root / f"Protocol/subject{subject}.dat", rows)
    return root


def write_opportunity(parent: Path) -> Path:
    """Person 1, ADL1 and Drill, and person 2, ADL1: column i holds i; stand, then none, then lie."""
    root = parent / "OpportunityUCIDataset"
    for name in ("S1-ADL1", "S1-Drill", "S2-ADL1"):
        rows = []
        for i in range(600):
            values: list[object] = [c + i % 3 for c in range(250)]
            values[0], values[243] = round(i * 1000 / 30), (1, 0, 5)[i // 200]
            rows.append(values)
        write_rows(root / f"dataset/{name}.dat", rows)
    return root


def write_realworld(parent: Path) -> Path:
    """Persons 1 and 2, walking and lying, at waist and chest; the gyroscope begins 5 ms later."""
    root = parent / "realworld2016_dataset"
    for person in (1, 2):
        for activity in ("walking", "lying"):
            for kind, sensor, late in (("acc", "acc", 0), ("gyr", "Gyroscope", 5)):
                path = root / f"proband{person}/data/{kind}_{activity}_csv.zip"
                path.parent.mkdir(parents=True, exist_ok=True)
                with zipfile.ZipFile(path, "w") as file:
                    for place in ("waist", "chest"):
                        rows = [
                            f"{i},{1435993000000 + 20 * i + late},{person},{i % 5},{late}" for i in range(600)
                        ]
                        text = "\n".join(["id,attr_time,attr_x,attr_y,attr_z", *rows]) + "\n"
                        file.writestr(f"{sensor}_{activity}_{place}.csv", text)
    return root


WRITERS: dict[str, Writer] = {
    "hapt": write_hapt,
    "uci-har": write_uci_har,
    "motionsense": write_motionsense,
    "wisdm": write_wisdm,
    "actrectut": write_actrectut,
    "actrectut-walk": write_actrectut,
    "mhealth": write_mhealth,
    "mhealth-partial": write_mhealth_partial,
    "skoda": write_skoda,
    "skoda-left": write_skoda,
    "pamap2": write_pamap2,
    "opportunity": write_opportunity,
    "realworld": write_realworld,
}


def zip_folder(folder: Path, archive: Path) -> Path:
    """Zip a folder, itself included, as the published archives are."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder.parent))
    return archive


def copy_folder(folder: Path, to: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(folder, to / folder.name))
