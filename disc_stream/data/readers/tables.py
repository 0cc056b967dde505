"""Fast reading of number tables, with errors that name the line."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from disc_stream.data.readers.source import Source
from disc_stream.errors import DataError

_LARGEST_WHOLE = 2**31  # of a count, a label or a position in a file


def read_text(source: Source, name: str) -> str:
    """A text file of a dataset.

    Raises:
        DataError: if it is missing, empty or not text.
    """
    try:
        text = source.read(name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{source.where(name)} is not a text file") from error
    if not text or text.isspace():
        raise DataError(f"{source.where(name)} is empty", remedy="Download the dataset again")
    return text


def read_table(
    source: Source,
    name: str,
    columns: int,
    *,
    delimiter: str | None = None,
    skip: int = 0,
    dtype: npt.DTypeLike = np.float32,
) -> npt.NDArray[Any]:
    """A table of finite numbers.

    Args:
        source: the dataset.
        name: file within it.
        columns: how many numbers every line must have.
        delimiter: between two numbers; None for any white space.
        skip: header lines.
        dtype: of the result.

    Returns:
        (rows, columns) array.

    Raises:
        DataError: naming file and line if a line is short, long or not numeric, or a value not finite.
    """
    text = read_text(source, name)
    try:
        # Through float64, so that the rounding to float32 is the nearest one.
        table = np.loadtxt(io.StringIO(text), np.float64, None, delimiter, skiprows=skip, ndmin=2)
    except ValueError as error:
        raise _explain(text, source.where(name), columns, delimiter, skip) from error
    if len(table) == 0:
        raise DataError(f"{source.where(name)} has no rows", remedy="Download the dataset again")
    if table.shape[1] != columns or not np.isfinite(table).all():
        raise _explain(text, source.where(name), columns, delimiter, skip)
    if np.issubdtype(np.dtype(dtype), np.integer):
        wrong = (table != np.rint(table)) | (np.abs(table) > _LARGEST_WHOLE)
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise DataError(
                f"{source.where(name)}, row {row + 1}: expected whole numbers, got {table[row, column]:g}"
            )
    return table.astype(dtype)


def _explain(text: str, where: str, columns: int, delimiter: str | None, skip: int) -> DataError:
    """Find the first bad line of a table that could not be parsed."""
    lines = text.splitlines()
    for number, line in enumerate(lines[skip:], start=skip + 1):
        if not line.strip():
            continue
        fields = line.split(delimiter)
        last = " (the last line: the file looks cut short)" if number == len(lines) else ""
        if len(fields) != columns:
            return DataError(f"{where}, line {number}: expected {columns} numbers, got {len(fields)}{last}")
        for column, value in enumerate(fields, start=1):
            if not _is_number(value):
                return DataError(
                    f"{where}, line {number}, column {column}: expected a finite number, "
                    f"got {value.strip()[:20]!r}{last}"
                )
    return DataError(f"{where} is not a table of {columns} numbers per line")


def _is_number(value: str) -> bool:
    try:
        return math.isfinite(float(value))
    except ValueError:
        return False
