"""Our own data files: one npz with a JSON header, written at once or not at all, read without pickles."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from disc_stream.errors import DataError, InputNotFoundError
from disc_stream.zipfiles import BROKEN, ZipLimits, read_npz

_HEADER = "header"
_NPY = b"\x93NUMPY"  # how a single array begins
# What numpy raises on files that are cut short, damaged, pickled or of another kind, or say they are huge.
UNREADABLE = (*BROKEN, ValueError, KeyError, MemoryError, RecursionError)
# An array of ours is not compressed, so a file may be as large as its disk; members are few.
NPZ_LIMITS = ZipLimits(members=256, total_bytes=1 << 40)

Arrays = dict[str, npt.NDArray[Any]]


class ArchiveHeader(BaseModel):
    """What every header begins with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_name: str
    schema_version: int = Field(ge=1)


Header = TypeVar("Header", bound=ArchiveHeader)


def write_archive(path: Path, header: ArchiveHeader, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write header and arrays to ``path``; an existing file is replaced only when all is written.

    Raises:
        DataError: if the folder does not exist or cannot be written to.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    text = np.array(header.model_dump_json())
    try:
        with part.open("wb") as file:
            # numpy's type information takes the file's keyword arguments for its own options.
            np.savez(file, **{_HEADER: text, **arrays})  # type: ignore[arg-type]
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise DataError(
            f"{str(path)!r} cannot be written: {error.strerror}", remedy="Choose another --out"
        ) from error


def schema_of(path: Path) -> str:
    """The kind of a file of ours, such as ``disc-stream.recordings``.

    Raises:
        InputNotFoundError: if there is no such file.
        DataError: if it is not a file of ours.
    """
    raw = _load(path, only_header=True)[0]
    return str(raw.get("schema_name"))


def read_archive(path: Path, kind: type[Header], schema: str, version: int) -> tuple[Header, Arrays]:
    """Header and arrays of a file of ours.

    Args:
        path: the file.
        kind: model of the header.
        schema: the ``schema_name`` it must have.
        version: the newest ``schema_version`` that is understood.

    Raises:
        InputNotFoundError: if there is no such file.
        DataError: if it is damaged, of another kind, or from a newer version.
    """
    raw, arrays = _load(path, only_header=False)
    if raw.get("schema_name") != schema:
        raise DataError(f"{str(path)!r} is {raw.get('schema_name')!r}, expected {schema!r}")
    if not isinstance(raw.get("schema_version"), int) or raw["schema_version"] > version:
        raise DataError(
            f"{str(path)!r} has schema version {raw.get('schema_version')}, "
            f"this program reads up to {version}",
            remedy="Update disc-stream",
        )
    try:
        return kind.model_validate(raw), arrays
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise DataError(f"{str(path)!r} has a broken header: {field}: {first['msg']}") from error


def _load(path: Path, *, only_header: bool) -> tuple[dict[str, Any], Arrays]:
    if not path.is_file():
        raise InputNotFoundError(f"file {str(path)!r} does not exist", remedy="Check the path")
    try:
        with path.open("rb") as file:
            is_npy = file.read(len(_NPY)) == _NPY
            arrays = (
                {} if is_npy else read_npz(file, NPZ_LIMITS, frozenset({_HEADER}) if only_header else None)
            )
            if _HEADER not in arrays:
                raise DataError(
                    f"{str(path)!r} was not written by disc-stream: it has no header",
                    remedy="Write it with 'disc-stream data import' or 'disc-stream data windows'",
                )
            header = json.loads(str(arrays.pop(_HEADER)))
    except UNREADABLE as error:
        raise DataError(
            f"{str(path)!r} is not a readable npz, or is cut short: {error}", remedy="Write it again"
        ) from error
    if not isinstance(header, dict):
        raise DataError(f"{str(path)!r} has a broken header")
    return header, arrays
