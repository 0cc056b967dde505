"""The Parquet folders of ``disc-stream data export``: their header, and a reader (docs/reference/windows.md).

A folder holds ``part-00000.parquet`` and so on, one row per window, and ``_dataset.json``, which readers of
Parquet folders ignore. The same header is in the metadata of each file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from disc_stream.artifacts.manifest import ChannelInfo, WindowInfo
from disc_stream.data.types import UNLABELLED, Recording
from disc_stream.errors import ConfigError, DataError, InputNotFoundError, MissingExtraError
from disc_stream.types import Float32Array
from disc_stream.zipfiles import MAX_RATIO

SCHEMA = "disc-stream.windows/1"
METADATA_KEY = b"disc-stream"
HEADER_FILE = "_dataset.json"  # pyarrow, pandas and others pass over names that begin with _ or .
OLD_HEADER_FILE = "dataset.json"

_DEFAULT_CLUSTERS = 6
_TOLERANCE = 1e-5  # relative; overlapping windows are copies of the same samples
_VALUE_BYTES = 4  # of a sample
_FREE = 64 << 20  # bytes that any file may expand to
_LONGEST_ID = 256
_ID = re.compile(r"[^A-Za-z0-9_.:-]+")


class ExportedCluster(BaseModel):
    """A cluster of the model that made the labels."""

    model_config = ConfigDict(frozen=True)

    id: int
    name: str


class ExportedModel(BaseModel):
    """The model that made the labels."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    training: dict[str, Any] = Field(default_factory=dict)


class ExportHeader(BaseModel):
    """The facts that hold for every window: in each file's metadata, and in ``_dataset.json``.

    Unknown fields are ignored: a newer program may say more, as long as the schema is the same.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    schema_name: str = Field(SCHEMA, alias="schema", title="Schema", description=f"always {SCHEMA}")
    fs: float = Field(gt=0, allow_inf_nan=False, title="Rate", description="sampling rate in Hz")
    window: WindowInfo = Field(title="Window", description="samples of a window, and between two of them")
    channels: list[ChannelInfo] = Field(min_length=1, title="Channels", description="names and SI units")
    samples: str = "row-major (T, C) float32, in the units of the channels"
    soft: str = "soft assignment to the clusters, in the order of their ids"
    clusters: list[ExportedCluster] = Field(
        default_factory=list, title="Clusters", description="of the model; empty if there was none"
    )
    model: ExportedModel | None = Field(
        None, title="Model", description="that made the labels; null if the windows have none"
    )
    provenance: dict[str, str] = Field(default_factory=dict, title="Provenance")

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return self.model_dump(mode="json", by_alias=True)


@dataclass(frozen=True, slots=True)
class ExportedWindows:
    """The content of an export, as continuous recordings.

    Args:
        header: the facts of all windows.
        recordings: unlabelled, one per continuous segment; each device is a person, numbered from 1 in
            the order of the devices' names.
        n_windows: read.
    """

    header: ExportHeader
    recordings: tuple[Recording, ...]
    n_windows: int

    @property
    def n_clusters(self) -> int:
        """As many as the model has that labelled the windows; 6 without one."""
        return len(self.header.clusters) or _DEFAULT_CLUSTERS

    @property
    def window_s(self) -> float:
        """Length of a window in seconds."""
        return self.header.window.samples / self.header.fs


def is_export(path: Path) -> bool:
    """Whether a folder looks as if ``disc-stream data export`` had written it."""
    if not path.is_dir():
        return False
    return any((path / name).is_file() for name in (HEADER_FILE, OLD_HEADER_FILE)) and bool(_files(path))


def read_export(path: Path, progress: Callable[[int, int], None] | None = None) -> ExportedWindows:
    """Read a folder that ``disc-stream data export`` wrote, or one of its files.

    Windows of a device that overlap, or follow each other without a gap, become one recording again. The
    labels in the files were made by a model, not by people: they are left out.

    Args:
        path: the folder, or a single ``.parquet`` file.
        progress: called with (files read, files in all).

    Raises:
        InputNotFoundError: if there is nothing at ``path``, or no Parquet in it.
        MissingExtraError: if pyarrow is not installed.
        DataError: naming the file that is damaged, of another kind, or differs from the others.
    """
    files = _require_files(path)
    header: ExportHeader | None = None
    parts = []
    for number, file in enumerate(files, start=1):
        own, part = _read_file(file)
        header = own if header is None else header
        _require_same_kind(header, files[0], own, file)
        parts.append(part)
        if progress is not None:
            progress(number, len(files))
    windows = _Part.joined(parts)
    if header is None or not len(windows.t0_us):
        raise DataError(
            f"{str(path)!r} holds no windows",
            remedy="Export again, perhaps with disc-stream data export --all",
        )
    return ExportedWindows(header, tuple(_recordings(windows, header)), len(windows.t0_us))


@dataclass(frozen=True, slots=True)
class _Part:
    """Columns of one or more files.

    Args:
        device: (n,) ids.
        boot: (n,).
        t0_us: (n,) device time of the first sample.
        samples: (n, T, C).
    """

    device: npt.NDArray[Any]
    boot: npt.NDArray[np.int64]
    t0_us: npt.NDArray[np.int64]
    samples: Float32Array

    @classmethod
    def joined(cls, parts: Sequence[_Part]) -> _Part:
        """All of them, one after the other."""
        names = ("device", "boot", "t0_us", "samples")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _files(folder: Path) -> list[Path]:
    found = (f for f in folder.iterdir() if f.suffix == ".parquet" and f.name[0] not in "._")
    return sorted(found)


def _require_files(path: Path) -> list[Path]:
    if not path.exists():
        raise InputNotFoundError(f"{str(path)!r} does not exist", remedy="Check the path")
    files = _files(path) if path.is_dir() else [path]
    if not files:
        raise InputNotFoundError(
            f"{str(path)!r} has no .parquet files",
            remedy="Give a folder that 'disc-stream data export' wrote",
        )
    return files


def _read_file(file: Path) -> tuple[ExportHeader, _Part]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError("parquet", "reading Parquet") from None
    try:
        with pq.ParquetFile(file, read_dictionary=["device"]) as parquet:
            header = _header(parquet.schema_arrow.metadata, file)
            _check_expansion(parquet.metadata.num_rows, header, file)
            table = parquet.read(columns=["device", "boot", "t0_us", "samples"])
        columns = {name: table.column(name).combine_chunks() for name in table.column_names}
        flat = _numbers_of_lists(columns["samples"])
        shape = (table.num_rows, header.window.samples, len(header.channels))
        part = _Part(
            _devices(columns["device"]),
            columns["boot"].to_numpy(zero_copy_only=False).astype(np.int64),
            columns["t0_us"].to_numpy(zero_copy_only=False).astype(np.int64),
            np.asarray(flat, dtype=np.float32).reshape(shape),
        )
    except (pa.ArrowException, OSError, KeyError, IndexError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{str(file)!r} cannot be read as Parquet: {reason}", remedy="Export again"
        ) from error
    if not np.isfinite(part.samples).all():
        raise DataError(f"{str(file)!r} has samples that are not finite", remedy="Export again")
    return header, part


def _numbers_of_lists(column: Any) -> npt.NDArray[Any]:
    """The values of a column of lists, one after the other.

    Raises:
        ValueError: if it is of another type.
    """
    import pyarrow as pa

    if not (pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type)):
        raise ValueError(f"its samples are no lists, but {column.type}")
    flat: npt.NDArray[Any] = column.flatten().to_numpy(zero_copy_only=False)
    return flat


def _check_expansion(rows: int, header: ExportHeader, file: Path) -> None:
    """Check that so many windows fit into a file of this size: equal values take nearly no room.

    It is worked out from the rows alone: pyarrow ends the process when it is asked about the columns of some
    damaged files (seen with 26.0.1).

    Raises:
        ValueError: if they would take more than ``MAX_RATIO`` times its size.
    """
    values = rows * header.window.samples * len(header.channels)
    if _VALUE_BYTES * values > max(_FREE, MAX_RATIO * file.stat().st_size):
        raise ValueError(f"it would expand to more than {MAX_RATIO} times its size")


def _devices(column: Any) -> npt.NDArray[Any]:
    """The device of each row, from a column that holds each name once and its number in every row.

    Raises:
        ValueError: if a name is longer than a device's can be.
    """
    names = [str(name) for name in column.dictionary.to_pylist()]
    if any(len(name) > _LONGEST_ID for name in names):
        raise ValueError(f"a device has a name of more than {_LONGEST_ID} characters")
    found: npt.NDArray[Any] = np.asarray(names, dtype=np.str_)[column.indices.to_numpy(zero_copy_only=False)]
    return found


def _header(metadata: dict[bytes, bytes] | None, file: Path) -> ExportHeader:
    text = (metadata or {}).get(METADATA_KEY)
    if text is None:
        raise DataError(
            f"{str(file)!r} was not written by 'disc-stream data export'",
            remedy="Make CSV files of it and use 'disc-stream data import csv'",
        )
    raw = json.loads(text)
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        found = raw.get("schema") if isinstance(raw, dict) else raw
        raise DataError(
            f"{str(file)!r} has the schema {found!r}, this program reads {SCHEMA!r}",
            remedy="Update disc-stream",
        )
    try:
        return ExportHeader.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError(
            f"{str(file)!r} has a broken header: {where}: {first['msg']}", remedy="Export again"
        ) from error


def _require_same_kind(one: ExportHeader, file: Path, other: ExportHeader, other_file: Path) -> None:
    for name in ("fs", "channels", "window"):
        mine, theirs = getattr(one, name), getattr(other, name)
        if mine != theirs:
            raise DataError(
                f"{file.name!r} and {other_file.name!r} differ in {name}: "
                f"{_words(mine)} and {_words(theirs)}",
                remedy="Give the files of one export",
            )


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(f"{c.name} [{c.unit}]" for c in value)
    return f"{value.samples} samples every {value.hop}" if isinstance(value, WindowInfo) else f"{value:g} Hz"


def _recordings(windows: _Part, header: ExportHeader) -> Iterator[Recording]:
    """One recording per continuous segment, by device, boot and time."""
    devices, person = np.unique(windows.device, return_inverse=True)
    order = np.lexsort((windows.t0_us, windows.boot, person))
    boots = windows.boot[order]
    breaks = np.flatnonzero((np.diff(person[order]) != 0) | (np.diff(boots) != 0)) + 1
    channels = tuple(c.channel() for c in header.channels)
    taken: dict[str, int] = {}
    for rows in np.split(order, breaks):
        device = str(devices[person[rows[0]]])
        for samples in _stretches(windows.samples[rows], windows.t0_us[rows], header):
            yield Recording(
                name=_name(device, taken),
                subject=int(person[rows[0]]) + 1,
                fs=header.fs,
                channels=channels,
                samples=samples,
                labels=np.full(len(samples), UNLABELLED, dtype=np.int16),
                label_names=(),
            )


def _name(device: str, taken: dict[str, int]) -> str:
    """``<device>-part01`` and so on, as a device id can be."""
    stem = _ID.sub("-", device).lstrip("_.:-")[:52] or "device"
    taken[stem] = taken.get(stem, 0) + 1
    return f"{stem}-part{taken[stem]:02d}"


def _stretches(x: Float32Array, t0_us: npt.NDArray[np.int64], header: ExportHeader) -> Iterator[Float32Array]:
    """Samples (n, C) of each continuous segment of windows (m, T, C) of one boot in time order."""
    pieces = [x[0]]
    last = 0
    for row in range(1, len(x)):
        elapsed = float(t0_us[row] - t0_us[last]) * header.fs / 1e6
        if round(elapsed) == 0:
            continue  # the same window, labelled twice
        step = _step(x[last], x[row], elapsed, header.window.hop)
        if step is None:
            yield np.concatenate(pieces)
            pieces = [x[row]]
        else:
            pieces.append(x[row, x.shape[1] - step :])
        last = row
    yield np.concatenate(pieces)


def _step(before: Float32Array, after: Float32Array, elapsed: float, hop: int) -> int | None:
    """Samples between the starts of two windows (T, C) if the second continues the first, else None.

    Timestamps may jitter by a sample or two with the device's clock; the overlapping samples decide.

    Args:
        before: a window.
        after: the next one.
        elapsed: time between their starts, in samples.
        hop: usual step.
    """
    length = len(before)
    for step in dict.fromkeys((round(elapsed), hop)):
        if not 0 < step <= length or abs(step - elapsed) > max(2.0, 0.05 * step):
            continue
        if np.allclose(before[step:], after[: length - step], rtol=_TOLERANCE, atol=_TOLERANCE):
            return step
    return None


def require_export_path(path: Path | None) -> Path:
    """The path that was given.

    Raises:
        ConfigError: if none was.
    """
    if path is None:
        raise ConfigError(
            "where is the Parquet?", remedy="Give --data FOLDER, which 'disc-stream data export' wrote"
        )
    return path
