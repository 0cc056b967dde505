"""Labels and episodes as files, read page by page: no read of the store is longer than a page.

Rows come by device and time. CSV goes out as it is read; Parquet, which is written from behind, goes through
a temporary file.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import IO, Any

from starlette.responses import StreamingResponse

from disc_stream.errors import MissingExtraError
from disc_stream_server.api.context import Context
from disc_stream_server.api.problems import ApiError
from disc_stream_server.api.schemas.devices import EpisodeOut, LabelOut
from disc_stream_server.storage.history import History

MEDIA = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}
AT_A_TIME = 2
"""Exports that run at a time."""
_TOGETHER = 1_000  # rows of a page
_GROUP = 50_000  # rows of a row group in Parquet
_BLOCK = 256 * 1024
_running = threading.BoundedSemaphore(AT_A_TIME)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be exported.

    Args:
        what: ``labels`` or ``episodes``.
        format: ``csv`` or ``parquet``.
        device: its id; None for all.
        since_us: begin, in Unix microseconds; None for none.
        until_us: end; None for none.
    """

    what: str
    format: str
    device: str | None
    since_us: int | None
    until_us: int | None

    @property
    def columns(self) -> list[str]:
        """Their names, those of the JSON."""
        return list((LabelOut if self.what == "labels" else EpisodeOut).model_fields)


def export(context: Context, wanted: Wanted) -> StreamingResponse:
    """The answer with the file.

    Raises:
        MissingExtraError: if Parquet is wanted and pyarrow is not installed.
        ApiError: 503 if too many exports run, or nothing is stored yet.
    """
    if wanted.format == "parquet" and importlib.util.find_spec("pyarrow") is None:
        raise MissingExtraError("parquet", "an export as Parquet")
    with context.reader():
        pass  # the answer if there is nothing yet
    if not _running.acquire(blocking=False):
        raise ApiError(
            503, f"{AT_A_TIME} exports are running already", "Wait for them", headers={"retry-after": "5"}
        )
    name = f"{wanted.what}.{wanted.format}"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(_content(context, wanted), media_type=MEDIA[wanted.format], headers=headers)


def _content(context: Context, wanted: Wanted) -> Iterator[bytes]:
    try:
        with closing(History(context.state, context.config.models)) as history:
            rows = _rows(history, wanted)
            yield from (
                _csv(rows, wanted.columns) if wanted.format == "csv" else _parquet(rows, wanted.columns)
            )
    finally:
        _running.release()


def _rows(history: History, wanted: Wanted) -> Iterator[list[Any]]:
    """Pages of rows, each a tuple of the columns."""
    for device in [wanted.device] if wanted.device is not None else _devices(history):
        after: str | None = None
        while True:
            read = history.labels if wanted.what == "labels" else history.episodes
            page = read(device, wanted.since_us, wanted.until_us, limit=_TOGETHER, after=after)
            yield [tuple(getattr(one, name) for name in wanted.columns) for one in page.items]
            after = page.after
            if after is None:
                break


def _devices(history: History) -> Iterator[str]:
    after: str | None = None
    while True:
        page = history.devices(limit=_TOGETHER, after=after)
        yield from (one.device for one in page.items)
        after = page.after
        if after is None:
            return


def _csv(pages: Iterator[list[Any]], columns: list[str]) -> Iterator[bytes]:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for page in pages:
        writer.writerows([[_cell(value) for value in row] for row in page])
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()
    yield text.getvalue().encode()


def _cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula: people choose the names of clusters."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t"):
        return f"'{value}"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return value


def _parquet(pages: Iterator[list[Any]], columns: list[str]) -> Iterator[bytes]:
    with tempfile.TemporaryFile() as file:
        _write_parquet(file, pages, columns)
        file.seek(0)
        while block := file.read(_BLOCK):
            yield block


def _write_parquet(file: IO[bytes], pages: Iterator[list[Any]], columns: list[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    lists = "windows" in columns  # of episodes `was` is a list
    was = pa.list_(pa.int64()) if lists else pa.int64()
    schema = pa.schema([(name, was if name == "was" else _arrow_type(pa, name)) for name in columns])
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        waiting: list[Any] = []
        for page in pages:
            waiting += page
            if len(waiting) >= _GROUP:
                writer.write_table(_table(pa, schema, waiting))
                waiting = []
        writer.write_table(_table(pa, schema, waiting))


def _table(pa: Any, schema: Any, rows: list[Any]) -> Any:
    cells = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    arrays = [pa.array(list(values), type=field.type) for values, field in zip(cells, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _arrow_type(pa: Any, name: str) -> Any:
    if name.endswith("_us"):
        return pa.timestamp("us", tz="UTC")
    texts, floats = {"device", "name", "model"}, {"confidence", "best_confidence", "distance", "novelty"}
    if name in texts:
        return pa.string()
    if name in floats:
        return pa.float64()
    return pa.bool_() if name in ("goes_on", "deferred", "bridged") else pa.int64()
