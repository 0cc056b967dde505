"""Binary recordings of ActiGraph (.gt3x), Axivity (.cwa) and GENEActiv (.bin), read by actfast (MIT)."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from disc_stream.data.importing.columns import Column
from disc_stream.data.importing.files import Entry
from disc_stream.data.importing.rows import Faults
from disc_stream.data.importing.table import Table
from disc_stream.data.types import UNLABELLED
from disc_stream.errors import DataError, MissingExtraError

_SENSORS = (("acceleration", "acc", "g"), ("gyroscope", "gyro", "deg/s"))


def columns_of_binary() -> list[Column]:
    """What such files may hold; which of it is there shows when one is read."""
    return [
        Column(3 * n + axis, f"{series} {'xyz'[axis]}", "channel", f"{name}_{'xyz'[axis]}", unit)
        for n, (series, name, unit) in enumerate(_SENSORS)
        for axis in range(3)
    ]


def read_binary(entry: Entry) -> Table:
    """Read one file.

    Raises:
        MissingExtraError: if actfast is not installed.
        DataError: if it cannot be read.
    """
    if importlib.util.find_spec("actfast") is None:
        raise MissingExtraError("recordings", f"reading {entry.suffix} files")
    if entry.member or entry.name.lower().endswith(".gz"):
        raise DataError(
            f"{entry.where!r} is packed", remedy="Unpack it: binary recordings are read from disk"
        )
    import actfast

    try:
        found: Any = actfast.read(str(entry.root), lenient=True)
    except (ValueError, OSError) as error:
        raise DataError(
            f"{entry.where!r} cannot be read: {error}", remedy="Write it as text with the maker's program"
        ) from error
    series = max(
        (one for one in found["timeseries"].values() if "acceleration" in one),
        key=lambda one: len(one["datetime"]),
        default=None,
    )
    if series is None or not len(series["datetime"]):
        raise DataError(f"{entry.where!r} holds no acceleration")
    times = np.asarray(series["datetime"], dtype=np.int64) // 1_000
    n = len(times)
    there = [place for place, (name, _, _) in enumerate(_SENSORS) if name in series]
    columns = [c for c in columns_of_binary() if c.position // 3 in there]
    values = np.concatenate(
        [np.asarray(series[_SENSORS[place][0]], dtype=np.float32).reshape(n, 3) for place in there], axis=1
    )
    faults = Faults()
    faults.rows = len(found.get("warnings", ()))
    return Table(times, values, np.full(n, UNLABELLED, dtype=np.int16), (), tuple(columns), faults)
