"""MATLAB files of numbers, through scipy."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from disc_stream.data.readers.source import Source
from disc_stream.errors import DataError, MissingExtraError
from disc_stream.zipfiles import MAX_RATIO

# What scipy raises on files that are cut short, damaged or of version 7.3.
_BROKEN = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OSError,
    MemoryError,
    OverflowError,
    NotImplementedError,
    struct.error,
    zlib.error,
)


# Of version 5: a header, and elements of (type, bytes), each a variable; most are packed with zlib.
_HEADER_BYTES = 128
_COMPRESSED = 15
_CHUNK = 1 << 20
_FREE = 64 << 20  # bytes that any file may expand to


def _check_expansion(data: bytes) -> None:
    """Unpack the variables once, keeping nothing, so that none is larger than a file of its size can be.

    Raises:
        ValueError: if the file would expand to more than ``MAX_RATIO`` times its size.
        zlib.error: if a variable is damaged.
    """
    order = ">" if data[_HEADER_BYTES - 2 : _HEADER_BYTES] == b"MI" else "<"
    left, at = max(_FREE, MAX_RATIO * len(data)), _HEADER_BYTES
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        at += 8
        if kind == _COMPRESSED:
            left -= _unpacked(data[at : at + size], left)
        at += size if kind == _COMPRESSED else (size + 7) // 8 * 8


def _unpacked(packed: bytes, most: int) -> int:
    """How many bytes it has unpacked.

    Raises:
        ValueError: if there are more than ``most``.
    """
    stream, total = zlib.decompressobj(), 0
    while packed and not stream.eof:
        total += len(stream.decompress(packed, _CHUNK))
        packed = stream.unconsumed_tail
        if total > most:
            raise ValueError(f"it would expand to more than {MAX_RATIO} times its size")
    return total


def read_mat(source: Source, name: str, variables: tuple[str, ...]) -> list[npt.NDArray[Any]]:
    """Variables of a MATLAB file, in the order asked for; each is a matrix of numbers.

    Raises:
        MissingExtraError: if scipy is not installed.
        DataError: if the file is missing or damaged, or a variable is missing or not a matrix.
    """
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError as error:
        raise MissingExtraError("train", "reading MATLAB files") from error
    data = source.read(name)
    try:
        _check_expansion(data)
        # Open files are documented as allowed; scipy's type information leaves them out.
        found = loadmat(io.BytesIO(data), variable_names=list(variables))  # type: ignore[arg-type]
    except (*_BROKEN, MatReadError) as error:
        raise DataError(
            f"{source.where(name)} is not a readable MATLAB file: {error}", remedy="Download it again"
        ) from error
    matrices = []
    for variable in variables:
        matrix = found.get(variable)
        if not isinstance(matrix, np.ndarray) or matrix.ndim != 2 or matrix.dtype.kind not in "iuf":
            raise DataError(f"{source.where(name)} has no matrix of numbers named {variable!r}")
        matrices.append(matrix)
    return matrices
