"""As programs write tables: separators, encodings, units, times."""

# ruff: noqa: E501  (lines of files are as long as they are)
from __future__ import annotations

from tests.support.written.base import (
    HEADER,
    NAMES,
    ONE,
    UNITS,
    Case,
    Expected,
    X,
    acc,
    acc_lines,
    plain,
    put,
    seconds,
    table,
)

DIALECTS: dict[str, Case] = {
    "plain": Case(plain(X), ONE),
    "excel's sep line": Case(
        put("user01.csv", ["sep=;", "t;" + HEADER.replace(",", ";"), *table(seconds(), X, ";")]), ONE
    ),
    "decimal commas": Case(
        put("user01.csv", ["t;" + HEADER.replace(",", ";"), *table(seconds(), X, ";", ",")]),
        Expected([X], said=("decimal commas",)),
    ),
    "tabs": Case(put("user01.tsv", ["t\t" + HEADER.replace(",", "\t"), *table(seconds(), X, "\t")]), ONE),
    "spaces": Case(put("user01.csv", ["t " + HEADER.replace(",", " "), *table(seconds(), X, "  ")]), ONE),
    "utf-16": Case(put("user01.csv", ["t," + HEADER, *table(seconds(), X)], "utf-16"), ONE),
    "byte order mark": Case(put("user01.csv", ["t," + HEADER, *table(seconds(), X)], "utf-8-sig"), ONE),
    "latin-1": Case(
        put("user01.csv", ["t," + HEADER.replace("[g]", "[m/s²]").replace("rad/s", "°/s"), *table(seconds(), X)],
            "latin-1"),
        Expected([X], units=("m/s2",) * 3 + ("deg/s",) * 3),
    ),
    "lines of windows": Case(put("user01.csv", ["t," + HEADER, *table(seconds(), X)], end="\r\n"), ONE),
    "lines of an old mac": Case(put("user01.csv", ["t," + HEADER, *table(seconds(), X)], end="\r"), ONE),
    "trailing comma": Case(
        put("user01.csv", ["t," + HEADER + ",", *(line + "," for line in table(seconds(), X))]), ONE
    ),
    "trailing comma in the rows alone": Case(
        put("user01.csv", ["t," + HEADER, *(line + "," for line in table(seconds(), X))]), ONE
    ),
    "row numbers": Case(
        put("user01.csv", [",t," + HEADER, *(f"{i},{line}" for i, line in enumerate(table(seconds(), X)))]),
        Expected([X], said=("only rises",)),
    ),
    "comments": Case(
        put("user01.csv", ["# device 7", "# worn left", "t," + HEADER, *table(seconds()[:9], X[:9]), "# a note",
                           *table(seconds()[9:], X[9:])]),
        ONE,
    ),
    "units in the next line": Case(
        put("user01.csv", ["time," + ",".join(NAMES), "s," + ",".join(UNITS), *table(seconds(), X)]),
        Expected([X], said=("a line of units",)),
    ),
    "units in parentheses": Case(
        put("user01.csv", ["t (s),acc_x (g),acc_y (g),acc_z (g)", *acc_lines(seconds())]), acc()
    ),
    "spellings of units": Case(
        plain(X, head="t,acc_x[G],acc_y[g-force],acc_z[ G ],gyro_x[deg/sec],gyro_y[dps],gyro_z[Degrees/Second]"),
        Expected([X], units=("g",) * 3 + ("deg/s",) * 3),
    ),
}  # fmt: skip
