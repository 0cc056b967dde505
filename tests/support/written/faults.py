"""As they are after something went wrong: gaps, lost and double rows, clocks, sensors."""

# ruff: noqa: E501  (lines of files are as long as they are)
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.support.written.base import (
    ACC,
    HEADER,
    ONE,
    START_S,
    Case,
    Expected,
    N,
    Rows,
    X,
    acc,
    both,
    motion,
    plain,
    put,
    raw,
    seconds,
    table,
)


def _without(rows: Rows, gone: slice, line: str) -> list[str]:
    lines = table(seconds(), rows)
    for n in range(*gone.indices(len(lines))):
        lines[n] = lines[n].split(",")[0] + line
    return lines


def _bridged(rows: Rows, gone: Sequence[int], columns: Sequence[int] | None = None) -> Rows:
    """On the line between the neighbours, by another way than the importer's."""
    out = rows.copy()
    left = np.setdiff1d(np.arange(len(rows)), gone)
    for column in range(rows.shape[1]) if columns is None else columns:
        out[gone, column] = np.interp(gone, left, rows[left, column])
    return out


_jitter = np.random.default_rng(4).uniform(-0.006, 0.006, N)
_lost = list(range(7, N - 1, 23))
_uneven_t = np.cumsum(
    np.random.default_rng(5).choice([0.02, 0.021, 0.03, 0.051, 0.019], N, p=[0.6, 0.1, 0.1, 0.1, 0.1])
)
_order = np.arange(N)
_order[50:54] = _order[50:54][::-1]
_dup = np.sort(np.concatenate([np.arange(N), [10, 90]]))


FAULTS: dict[str, Case] = {
    "empty cell": Case(
        put("user01.csv", ["t," + HEADER, *(line.replace(f",{X[50, 4]:.5f},", ",,") if i == 50 else line
                                            for i, line in enumerate(table(seconds(), X)))]),
        Expected([_bridged(X, [50], [4])], said=("1 row without a value",)),
    ),
    "rows of nan": Case(
        put("user01.csv", ["t," + HEADER, *_without(X, slice(70, 73), ",NaN" * 6)]),
        Expected([_bridged(X, [70, 71, 72])]),
    ),
    "nan for too long": Case(
        put("user01.csv", ["t," + HEADER, *_without(X, slice(70, 90), ",NaN" * 6)]),
        Expected([X[:70], X[90:]], people=(1, 1), said=("20 rows without a value, for too long",)),
    ),
    "gyroscope at half the rate": Case(
        put("user01.csv", ["t," + HEADER, *(line if i % 2 == 0 else ",".join(line.split(",")[:4]) + ",,,"
                                            for i, line in enumerate(table(seconds(), X)))]),
        Expected([_bridged(X[:-1], list(range(1, N - 1, 2)), [3, 4, 5])], said=("25 samples/s",)),
    ),
    "last line cut": Case(
        raw("user01.csv", ("\n".join(["t," + HEADER, *table(seconds(), X)])[:-12]).encode()),
        Expected([X[:-1]], said=("last line is cut",)),
    ),
    "zero bytes at the end": Case(
        raw("user01.csv", "\n".join(["t," + HEADER, *table(seconds(), X), "\0" * 512]).encode()),
        Expected([X], said=("zero bytes",)),
    ),
    "zero bytes in the middle": Case(
        raw("user01.csv", "\n".join(["t," + HEADER, *table(seconds()[:99], X[:99]), "\0" * 512,
                                     *table(seconds()[99:], X[99:]), ""]).encode()),
        Expected([X], said=("zero bytes",)),
    ),
    "a gap": Case(
        plain(X, times=[f"{i / 50 + 3 * (i >= 120):.3f}" for i in range(N)]),
        Expected([X[:120], X[120:]], people=(1, 1), said=("1 gap: 3 s before row 121",)),
    ),
    "lost samples": Case(
        put("user01.csv", ["t," + HEADER, *(line for i, line in enumerate(table(seconds(), X)) if i not in _lost)]),
        Expected([_bridged(X, _lost)], said=(f"{len(_lost)} lost samples",)),
    ),
    "several samples under a stamp": Case(
        plain(X, times=[f"{i // 5 / 10:.3f}" for i in range(N)]), Expected([X], said=("5 samples share",))
    ),
    "whole seconds": Case(plain(X, times=[i // 50 for i in range(N)]), ONE),
    "milliseconds since 1970": Case(
        plain(X, head="timestamp," + HEADER, times=[START_S * 1000 + 20 * i for i in range(N)]), ONE
    ),
    "two columns of times": Case(
        plain(X, head="timestamp," + HEADER.replace("acc_x[g]", "t,acc_x[g]"),
              times=[f"{START_S * 1000 + 20 * i},{i / 50:.3f}" for i in range(N)]),
        ONE,
    ),
    "a finer column of times": Case(
        plain(X, head="timestamp,t," + HEADER, times=[f"{START_S + i // 50},{i / 50:.3f}" for i in range(N)]),
        Expected([X], said=("timestamp (the time once more)",)),
    ),
    "clock put back": Case(
        plain(X, times=[f"{i / 50 - 10 * (i >= 120):.3f}" for i in range(N)]),
        Expected([X[:120], X[120:]], people=(1, 1), said=("put back 1 time",)),
    ),
    "rows out of order": Case(
        put("user01.csv", ["t," + HEADER, *(table(seconds(), X)[i] for i in _order)]),
        Expected([X], said=("4 rows out of order",)),
    ),
    "rows that came twice": Case(
        put("user01.csv", ["t," + HEADER, *(table(seconds(), X)[i] for i in _dup)]),
        Expected([X], said=("2 rows that came twice",)),
    ),
    "jitter": Case(
        plain(X, times=[f"{i / 50 + j:.4f}" for i, j in enumerate(_jitter)]), Expected([X], said=("jitter",))
    ),
    "rates a little off": Case(
        both(*(plain(motion(seed=p), f"user0{p}.csv", times=[f"{i / fs:.6f}" for i in range(N)])
               for p, fs in ((1, 49.6), (2, 50.0), (3, 50.4)))),
        Expected([motion(seed=p) for p in (1, 2, 3)], people=(1, 2, 3), said=("taken for 50 Hz",)),
    ),
    "dead gyroscope": Case(
        plain(X * ([1] * 3 + [0] * 3)),
        Expected([X[:, :3]], units=("g",) * 3, names=ACC, said=("never change: gyro_x, gyro_y, gyro_z", "left out: gyro_x, which never changes")),
    ),
    "spike": Case(
        put("user01.csv", ["t," + HEADER, *(line.replace(f",{X[100, 0]:.5f}", ",1e9", 1) if i == 100 else line
                                            for i, line in enumerate(table(seconds(), X)))]),
        Expected([_bridged(X, [100], [0])], said=("1 value beyond any sensor's range",)),
    ),
    "a sensor that is off": Case(
        plain(np.where((np.arange(N) // 40 == 2)[:, None], 0.0, X)),
        Expected([X[:80], X[120:]], people=(1, 1), said=("40 rows of zeros",)),
    ),
    "elapsed seconds": Case(
        put("user01.csv", ["time[ns],seconds_elapsed,acc_z[g],acc_y[g],acc_x[g]",
                           *(f"{START_S * 10**9 + 20_000_000 * i},{i / 50:.4f},{r[2]:.6f},{r[1]:.6f},{r[0]:.6f}"
                             for i, r in enumerate(X))]),
        acc(),
    ),
    "a counter": Case(
        put("user01.csv", ["t," + HEADER + ",packet", *(f"{line},{i // 3}" for i, line in enumerate(table(seconds(), X)))]),
        Expected([X], said=("only rises",)),
    ),
    "labels with nan": Case(
        put("user01.csv", ["t," + HEADER + ",label", *(f"{line},{'nan' if i < 60 else 'walking'}"
                                                       for i, line in enumerate(table(seconds(), X)))]),
        ONE,
    ),
    "uneven by itself": Case(
        plain(X[:, :3].cumsum(axis=0) / 60 + [0, 0, 1], head="t,acc_x[g],acc_y[g],acc_z[g]",
              times=[f"{t:.4f}" for t in _uneven_t]),
        Expected([np.column_stack([np.interp(np.arange(_uneven_t[0], _uneven_t[-1], 0.02), _uneven_t.round(4), c)
                                   for c in np.round(X[:, :3].cumsum(axis=0) / 60 + [0, 0, 1], 5).T])],
                 fs=50.0, units=("g",) * 3, names=ACC, within=1e-4, said=("put on even times",)),
    ),
    # -- what a person must decide -----------------------------------------------------------------------
}  # fmt: skip
