"""Episodes as CSV and Parquet."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TextIO

from disc_stream.errors import StorageError
from disc_stream_server.storage.history import MAX_LIMIT, Episode, History

COLUMNS = (
    "device", "begin", "end", "seconds", "cluster", "name", "goes_on", "windows", "confidence", "begin_us",
    "end_us",
)  # fmt: skip
"""Of both kinds of files; times are UTC."""

_AT_ONCE = 10_000  # rows of a Parquet row group
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_of(unix_us: int) -> datetime:
    """A moment in UTC, exact to the microsecond."""
    return _EPOCH + timedelta(microseconds=unix_us)


def all_episodes(
    history: History, devices: Iterable[str], since_us: int | None, until_us: int | None
) -> Iterator[Episode]:
    """The episodes of devices, one after the other, each in the order of time."""
    for device in devices:
        after: str | None = None
        while True:
            page = history.episodes(device, since_us, until_us, limit=MAX_LIMIT, after=after)
            yield from page.items
            if (after := page.after) is None:
                break


def all_devices(history: History) -> Iterator[str]:
    """The ids of all devices that have labels."""
    after: str | None = None
    while True:
        page = history.devices(limit=MAX_LIMIT, after=after)
        yield from (one.device for one in page.items)
        if (after := page.after) is None:
            return


def write_csv(episodes: Iterable[Episode], file: TextIO) -> int:
    """Write a header and a line for each; returns how many."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    count = 0
    for one in episodes:
        writer.writerow((
            one.device, _text(one.begin_us), _text(one.end_us), f"{one.seconds:.3f}", one.cluster, one.name,
            str(one.goes_on).lower(), one.windows, one.confidence, one.begin_us, one.end_us,
        ))  # fmt: skip
        count += 1
    return count


def write_csv_file(episodes: Iterable[Episode], path: Path) -> int:
    """The same into a file, which appears once it is whole.

    Raises:
        StorageError: if it cannot be written.
    """
    with _whole(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        return write_csv(episodes, file)


def write_parquet(episodes: Iterable[Episode], path: Path) -> int:
    """Write a Parquet file, which appears once it is whole; returns how many rows it has.

    Raises:
        StorageError: if it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    moment = pa.timestamp("us", tz="UTC")
    schema = pa.schema([
        ("device", pa.string()), ("begin", moment), ("end", moment), ("seconds", pa.float64()),
        ("cluster", pa.int64()), ("name", pa.string()), ("goes_on", pa.bool_()), ("windows", pa.int64()),
        ("confidence", pa.float64()), ("begin_us", pa.int64()), ("end_us", pa.int64()),
    ])  # fmt: skip
    count, left = 0, iter(episodes)
    with _whole(path) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        while part := list(islice(left, _AT_ONCE)):
            rows = [
                (one.device, one.begin_us, one.end_us, one.seconds, one.cluster, one.name, one.goes_on,
                 one.windows, one.confidence, one.begin_us, one.end_us)
                for one in part
            ]  # fmt: skip
            columns = zip(*rows, strict=True)
            arrays = [
                pa.array(column, type=field.type) for column, field in zip(columns, schema, strict=True)
            ]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            count += len(part)
    return count


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A file beside it that takes its place once it is written."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise StorageError(
            f"cannot write {str(path)!r}: {error.strerror or error}", remedy="Check space and permissions"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _text(unix_us: int) -> str:
    return time_of(unix_us).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
