"""Edge Impulse's JSON: a sample with its sensors, units and interval (the data acquisition format)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from disc_stream.data.importing.columns import Column, channel_order, column_of_sensor
from disc_stream.data.importing.files import Entry
from disc_stream.data.importing.rows import Faults
from disc_stream.data.importing.table import Table, TimeColumn
from disc_stream.data.types import UNLABELLED
from disc_stream.errors import DataError

_MOST_BYTES = 256 << 20


def read_json(entry: Entry) -> Any:
    """The content of a JSON file; None if it is none.

    Raises:
        DataError: if it is too large.
    """
    raw = entry.head(_MOST_BYTES + 1)
    if len(raw) > _MOST_BYTES:
        raise DataError(f"{entry.where!r} has more than {_MOST_BYTES >> 20} MiB of JSON", remedy="Cut it")
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def sample_of(content: Any) -> dict[str, Any] | None:
    """The payload of a sample; None if it is none."""
    payload = content.get("payload") if isinstance(content, dict) else None
    if isinstance(payload, dict) and {"interval_ms", "sensors", "values"} <= payload.keys():
        return payload
    return None


def columns_of(entry: Entry, payload: dict[str, Any]) -> list[Column]:
    """The sensors of a sample as columns.

    Raises:
        DataError: if they are not as they should be.
    """
    sensors = payload["sensors"]
    if not isinstance(sensors, list) or not all(isinstance(s, dict) and "name" in s for s in sensors):
        raise DataError(f"{entry.where!r}: 'sensors' is no list of names and units")
    return [column_of_sensor(n, str(one["name"]), str(one.get("units", ""))) for n, one in enumerate(sensors)]


def table_of(entry: Entry, payload: dict[str, Any], columns: list[Column]) -> Table:
    """The values of a sample.

    Raises:
        DataError: if they are no rows of numbers, or without a rate.
    """
    try:
        interval = float(payload["interval_ms"])
        values = np.array(payload["values"], dtype=np.float32)
        values = values[:, None] if values.ndim == 1 else values
    except (TypeError, ValueError) as error:
        raise DataError(f"{entry.where!r}: 'values' are no rows of numbers: {error}") from None
    if values.ndim != 2 or values.shape[1] != len(columns) or not 0 < interval < 10_000:
        raise DataError(f"{entry.where!r}: 'values' do not have {len(columns)} numbers a row, or no interval")
    channels = sorted((c for c in columns if c.role == "channel"), key=channel_order)
    times = np.rint(np.arange(len(values)) * interval * 1e3).astype(np.int64)
    label = entry.stem.partition(".")[0] if "." in entry.stem else ""
    labels = np.full(len(values), 0 if label else UNLABELLED, dtype=np.int16)
    own = np.ascontiguousarray(values[:, [c.position for c in channels]])
    return Table(times, own, labels, (label,) if label else (), tuple(channels), Faults())


def time_of(payload: dict[str, Any]) -> TimeColumn:
    """Where the times of a sample come from."""
    return TimeColumn(-1, rate=1e3 / float(payload["interval_ms"]))
