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

# What scipy raises on files that are cut short, damaged or of version 7.3.
_BROKEN = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OSError,
    NotImplementedError,
    struct.error,
    zlib.error,
)


def read_mat(source: Source, name: str, variables: tuple[str, ...]) -> list[npt.NDArray[Any]]:
    """Variables of a MATLAB file, in the order asked for; each is a matrix of numbers.

    Raises:
        MissingExtraError: if scipy is not installed.
        DataError: if the file is missing or damaged, or a variable is missing or not a matrix.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise MissingExtraError("train", "reading MATLAB files") from error
    data = source.read(name)
    try:
        # Open files are documented as allowed; scipy's type information leaves them out.
        found = loadmat(io.BytesIO(data), variable_names=list(variables))  # type: ignore[arg-type]
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
