"""MATLAB files of numbers.

Those of version 5, which MATLAB has written since 1996, are read here: scipy's reader of them, which is in C,
ends the process with a bus error at some damaged files (seen with 1.17.1). The older ones are left to scipy,
whose reader of them is in Python. Format: https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from disc_stream.data.readers.source import Source
from disc_stream.errors import DataError, MissingExtraError
from disc_stream.zipfiles import MAX_RATIO

_BROKEN = (
    ValueError, TypeError, KeyError, IndexError, OSError, MemoryError, OverflowError, NotImplementedError,
    struct.error, zlib.error,
)  # fmt: skip
_FREE = 16 << 20  # bytes that any file may expand to
_HEADER_BYTES = 128
_MATRIX, _COMPRESSED = 14, 15
_COMPLEX = 0x0800
_STORED = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
_CLASSES = {
    6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8",
}  # fmt: skip

_Arrays = dict[str, npt.NDArray[Any]]


def read_mat(source: Source, name: str, variables: tuple[str, ...]) -> list[npt.NDArray[Any]]:
    """Variables of a MATLAB file, in the order asked for; each is a matrix of numbers.

    Raises:
        MissingExtraError: if the file is of version 4 and scipy is not installed.
        DataError: if the file is missing or damaged, or a variable is missing or not a matrix.
    """
    data = source.read(name)
    try:
        found = _version_4(data, variables) if 0 in data[:4] else _version_5(data, variables)
    except _BROKEN as error:
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


def _version_4(data: bytes, variables: tuple[str, ...]) -> _Arrays:
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError as error:
        raise MissingExtraError("train", "reading MATLAB files of version 4") from error
    try:
        # Open files are documented as allowed; scipy's type information leaves them out.
        found: _Arrays = loadmat(io.BytesIO(data), variable_names=list(variables))  # type: ignore[arg-type]
    except MatReadError as error:
        raise ValueError(str(error)) from error
    return found


def _version_5(data: bytes, variables: tuple[str, ...]) -> _Arrays:
    """The matrices of numbers of these names; what is of another kind is passed over."""
    order = {b"IM": "<", b"MI": ">"}.get(data[_HEADER_BYTES - 2 : _HEADER_BYTES])
    if order is None:
        raise ValueError("it has no header of MATLAB, or is cut short")
    if struct.unpack_from(f"{order}H", data, _HEADER_BYTES - 4)[0] >> 8 != 1:
        raise ValueError("it is of version 7.3 or later; save it with -v7")
    found: _Arrays = {}
    left = max(_FREE, MAX_RATIO * len(data))
    for kind, content in _elements(memoryview(data)[_HEADER_BYTES:], order):
        if kind == _COMPRESSED:
            unpacked = _unpack(content, left)
            left -= len(unpacked)
            kind, content = next(_elements(memoryview(unpacked), order), (0, content))  # noqa: PLW2901
        if kind == _MATRIX:
            name, matrix = _matrix(content, order)
            if matrix is not None and name in variables:
                found[name] = matrix
    return found


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Type and content of each element; short ones have both in eight bytes.

    Raises:
        ValueError: if the last one is cut short.
    """
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        start, step = at + 8, -(-size // 8) * 8
        if kind >> 16:
            kind, size, start, step = kind & 0xFFFF, kind >> 16, at + 4, 0
        if size > len(data) - start or (start == at + 4 and size > 4):
            raise ValueError("it is cut short, or a size in it is wrong")
        yield kind, data[start : start + size]
        at += 8 + (size if kind == _COMPRESSED else step)


def _unpack(packed: memoryview, most: int) -> bytes:
    """What zlib has packed.

    Raises:
        ValueError: if that is more than ``most`` bytes, or cut short.
    """
    stream = zlib.decompressobj()
    data = stream.decompress(packed, most)
    if stream.unconsumed_tail:
        raise ValueError(f"it would expand to more than {MAX_RATIO} times its size")
    if not stream.eof:
        raise ValueError("a variable is cut short")
    return data


def _matrix(content: memoryview, order: str) -> tuple[str, npt.NDArray[Any] | None]:
    """Name and values of a variable; None if it is no matrix of real numbers.

    Raises:
        ValueError: if its parts do not fit each other.
    """
    parts = _elements(content, order)
    flags, shape, name = (next(parts, (0, memoryview(b"")))[1] for _ in range(3))
    text = bytes(name).decode("latin-1")
    if len(flags) != 8 or len(shape) % 4:
        raise ValueError(f"the variable {text!r:.80} has a broken head")
    said = struct.unpack_from(f"{order}I", flags)[0]
    dims = struct.unpack(f"{order}{len(shape) // 4}i", shape)
    wanted = _CLASSES.get(said & 0xFF)
    if wanted is None or said & _COMPLEX or len(dims) != 2:
        return text, None
    kind, values = next(parts, (0, memoryview(b"")))
    if kind not in _STORED:
        raise ValueError(f"the variable {text!r:.80} holds no numbers")
    stored = np.dtype(f"{order}{_STORED[kind]}")
    if min(dims) < 0 or math.prod(dims) * stored.itemsize != len(values):
        raise ValueError(f"the variable {text!r:.80} claims {dims[0]} × {dims[1]} numbers and has others")
    matrix = np.frombuffer(values, stored).astype(wanted).reshape(dims, order="F")
    return text, matrix
