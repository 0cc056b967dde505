"""Of several people, in several files; and what a person must be asked about."""

# ruff: noqa: E501  (lines of files are as long as they are)
from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np

from tests.support.written.base import (
    HEADER,
    ONE,
    Case,
    Expected,
    G,
    N,
    X,
    acc,
    acc_lines,
    both,
    iso,
    plain,
    put,
    raw,
    seconds,
    table,
)


def _zip(folder: Path) -> None:
    with zipfile.ZipFile(folder / "phone.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for person in ("user01", "user02"):
            archive.writestr(f"{person}/walk.csv", "\n".join(["t," + HEADER, *table(seconds(), X)]) + "\n")
        archive.writestr("__MACOSX/user01/._walk.csv", b"\0\1")


def _alternating(*people: str) -> list[tuple[str, str]]:
    """The same motion of each person, by turns, and whose a line is."""
    return [(line, person) for line in table(seconds(), X) for person in people]


FOLDERS: dict[str, Case] = {
    "other units": Case(
        both(plain(X), plain(np.round(X * ([G] * 3 + [1] * 3), 5), "user02.csv",
                             "t," + HEADER.replace("[g]", "[m/s2]"))),
        Expected([X, X], people=(1, 2), within=2e-6, said=("acc_x from m/s2 to g",)),
    ),
    "another order": Case(
        both(plain(X), plain(X[:, [3, 4, 5, 0, 1, 2]], "user02.csv",
                             "t," + ",".join([*HEADER.split(",")[3:], *HEADER.split(",")[:3]]))),
        Expected([X, X], people=(1, 2)),
    ),
    "a column more": Case(
        both(plain(X), put("user02.csv", ["t," + HEADER + ",light", *(f"{line},{i % 7}" for i, line in
                                                                     enumerate(table(seconds(), X)))])),
        Expected([X, X], people=(1, 2), said=("light, which only 1 of 2",)),
    ),
    "people in a column": Case(
        put("all.csv", [f"t,subject,{HEADER}",
                        *(line.replace(",", f",{person},", 1) for line, person in _alternating("3", "5"))]),
        Expected([X, X], people=(3, 5), said=("person: subject", "'5' in its column 'subject'")),
    ),
    "people in columns of several files": Case(
        both(*(put(f"{name}.csv", [f"t,User,{HEADER}",
                                   *(line.replace(",", f",{name[:3]},", 1) for line in table(seconds(), X))])
               for name in ("ben_walk", "ann_walk", "ann_sit"))),
        Expected([X, X, X], people=(1, 1, 2), said=("'ann' in its column 'User'",)),
    ),
    "people in a column of another name": Case(
        put("all.csv", [f"t,{HEADER},who",
                        *(f"{line},{person}" for line, person in _alternating("ann", "ben", ""))]),
        Expected([X, X], people=(1, 2), said=("240 rows that name no person left out",)),
        maps=("who=person",),
    ),
    "debris": Case(both(plain(X), raw("._user01.csv", b"\0\5\x16\7\xff\xfe"), raw(".DS_Store", b"x")), ONE),
    "subfolders": Case(
        both(plain(X, "user01/walk.csv"), plain(X, "user02/walk.csv")), Expected([X, X], people=(1, 2))
    ),
    "folders without numbers": Case(
        both(plain(X, "anna/walk.csv"), plain(X, "anna/sit.csv"), plain(X, "ben/walk.csv")),
        Expected([X, X, X], people=(1, 1, 2), said=("folder 'anna'",)),
    ),
    "one person in several files": Case(
        both(plain(X, "P01_sit.csv"), plain(X, "P01_walk.csv"), plain(X, "P02_walk.csv")),
        Expected([X, X, X], people=(1, 1, 2), said=("'P01' in its name",)),
    ),
    "gz": Case(raw("user01.csv.gz", gzip.compress("\n".join(["t," + HEADER, *table(seconds(), X), ""]).encode())), ONE),
    "zip": Case(_zip, Expected([X, X], people=(1, 2))),
    "a unit that nobody knows": Case(
        plain(X, head="t," + HEADER.replace("acc_x[g]", "acc_x[furlong]")), ONE,
        refused="unit 'furlong' is not known", maps=("acc_x[furlong]=acc_x[g]",),
    ),
    "no units": Case(
        put("user01.csv", ["t,ax,ay,az", *acc_lines(seconds())]), acc(),
        refused="unit is not said", maps=("ax=acc_x[g]", "ay=acc_y[g]", "az=acc_z[g]"),
    ),
    "a unit that cannot be": Case(
        plain(np.round(X[:, :3] * G, 5), head="t,acc_x[g],acc_y[g],acc_z[g]"), acc("m/s2", G),
        refused="hardly g", maps=("acc_x[g]=acc_x[m/s2]", "acc_y[g]=acc_y[m/s2]", "acc_z[g]=acc_z[m/s2]"),
    ),
    "day or month": Case(
        put("user01.csv", ["time,acc_x[g],acc_y[g],acc_z[g]", *acc_lines([t.replace("2024-05-20", "03/04/2024") for t in iso()])]),
        acc(), refused="day or the month", settings={"dates": "day-first"},
    ),
    "no times": Case(
        put("user01.csv", ["acc_x[g],acc_y[g],acc_z[g]", *(",".join(f"{v:.6f}" for v in r[:3]) for r in X)]), acc(),
        refused="no column of times", settings={"source_rate": 50.0},
    ),
    "a count for a time": Case(
        plain(X, times=list(range(N))), Expected([X], fs=1000.0),
        refused="whether those are seconds", maps=("t=t[ms]",),
    ),
    "a recording without a gyroscope": Case(
        both(plain(X), plain(X, "user02.csv"), plain(X[:, :3], "user03.csv", "t,acc_x[g],acc_y[g],acc_z[g]")),
        Expected([X, X], people=(1, 2)), refused="'user03' has no gyro_x", maps=("user03.csv=-",),
    ),
}  # fmt: skip
