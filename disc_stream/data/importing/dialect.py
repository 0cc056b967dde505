"""How a text file is written: encoding, separator, decimal sign, preamble, header and units lines."""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from disc_stream.data.importing.unitnames import time_unit_of, unit_of
from disc_stream.errors import DataError

HEAD = 1 << 16
"""Bytes that are looked at."""

_SEPARATORS = (",", ";", "\t", "|", " ")
_NUMBER = re.compile(r"\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\s*")
_COMMA_NUMBER = re.compile(r"\s*[-+]?\d+,\d+(?:[eE][-+]?\d+)?\s*")
_DATE = re.compile(r"\s*\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[ T]|$)|\s*\d{1,2}:\d{2}:\d{2}")
MISSING = ("", "nan", "na", "n/a", "null", "none", "inf", "-inf", "+inf", "infinity", "-infinity", "-nan",
           "?", "-", "--", "#n/a")  # fmt: skip
"""What stands for no value, in lower case."""

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_SEP_LINE = re.compile(r'\ufeff?"?sep=(.|\\t)"?\s*', re.IGNORECASE)
_MOST_HEADER_LINES = 4


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file is written.

    Args:
        encoding: as Python names it.
        bom: bytes of the mark at its beginning.
        separator: between fields; a space stands for any number of spaces.
        decimal: ``.`` or ``,``.
        width: fields of a row.
        data_line: number of the first row of numbers, from 0.
        names: of the columns; empty if the file has no header.
        units: of the columns, where a line of its own says so; empty if none does.
        preamble: the lines before the header.
        rows: the first rows, as fields.
    """

    encoding: str
    bom: int
    separator: str
    decimal: str
    width: int
    data_line: int
    names: tuple[str, ...]
    units: tuple[str, ...]
    preamble: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def words(self) -> list[str]:
        """What of it a person may want to know."""
        found = [] if self.encoding == "utf-8" and not self.bom else [self.encoding.upper()]
        if self.separator != ",":
            kinds = {";": "semicolons", "\t": "tabs", " ": "spaces", "|": "bars"}
            found.append(f"separated by {kinds[self.separator]}")
        if self.decimal == ",":
            found.append("decimal commas")
        if self.preamble:
            found.append(f"{len(self.preamble)} lines before the header")
        if not self.names:
            found.append("no header")
        if self.units:
            found.append("a line of units")
        return found


def is_number(field: str, decimal: str = ".") -> bool:
    """Whether a field is a finite number."""
    return bool((_COMMA_NUMBER if decimal == "," and "," in field else _NUMBER).fullmatch(field))


def split_line(line: str, separator: str) -> list[str]:
    """The fields of a line."""
    if separator == " ":
        return line.split()
    return next(csv.reader([line], delimiter=separator), [])


def read_dialect(head: bytes, where: str, *, complete: bool) -> Dialect:
    """Find out how a file is written.

    Args:
        head: its first bytes.
        where: its name for messages.
        complete: whether ``head`` is all of it; otherwise its last line is cut and not looked at.

    Raises:
        DataError: if it is empty, or no table of numbers.
    """
    encoding, bom = _encoding(head)
    text = head[bom:].decode(encoding, errors="replace")
    lines = re.split(r"\r\n|\n|\r", text.replace("\0", ""))
    if not complete and len(lines) > 1:
        del lines[-1]
    if not any(line.strip() for line in lines):
        raise DataError(f"{where!r} is empty")
    forced = _SEP_LINE.fullmatch(lines[0])
    separator, decimal, width = _separator(lines, forced[1].replace("\\t", "\t") if forced else None, where)
    first = next(
        (n for n, line in enumerate(lines) if _is_row(split_line(line, separator), width, decimal)), None
    )
    if first is None:
        raise _no_rows(lines, separator, where)
    names, units, above = _header(lines, first, separator, width)
    fields = (split_line(line, separator) for line in lines[first:] if line.strip())
    rows = tuple(tuple(row) for row in fields if abs(len(row) - width) <= 1)
    if names and len(names) == width - 1:
        trailing = all(not row[-1].strip() for row in rows if len(row) == width)
        names = (*names, "") if trailing else ("", *names)  # a separator at the end, or numbers of rows
    preamble = tuple(line for line in lines[:above] if line.strip() and not _SEP_LINE.fullmatch(line))
    return Dialect(encoding, bom, separator, decimal, width, first, names, units, preamble, rows)


def _encoding(head: bytes) -> tuple[str, int]:
    """The encoding and the bytes of its mark."""
    for mark, name in _BOMS:
        if head.startswith(mark):
            return name, len(mark)
    sample = head[:4096]
    if len(sample) > 3 and sample[1::2].count(0) > len(sample) // 3 > sample[::2].count(0):
        return "utf-16-le", 0
    if len(sample) > 3 and sample[::2].count(0) > len(sample) // 3 > sample[1::2].count(0):
        return "utf-16-be", 0
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "cp1252" if _is_cp1252(head) else "latin-1", 0
    return "utf-8", 0


def _is_cp1252(head: bytes) -> bool:
    try:
        head.decode("cp1252")
    except UnicodeDecodeError:
        return False
    return True


def _separator(lines: Sequence[str], forced: str | None, where: str) -> tuple[str, str, int]:
    """Separator, decimal sign and fields of a row: those that make most fields of most lines numbers."""
    body = [line for line in lines if line.strip()]
    body = body[max(1, len(body) // 2) :][-200:] or body
    best: tuple[float, str, str, int] | None = None
    for separator in (forced,) if forced else _SEPARATORS:
        rows = [split_line(line, separator) for line in body]
        width = Counter(map(len, rows)).most_common(1)[0][0]
        fields = [field for row in rows if len(row) == width for field in row if field.strip()]
        if not fields or (width < 2 and separator != ","):
            continue
        share = len([row for row in rows if len(row) == width]) / len(rows)
        for decimal in (".", ",") if separator != "," else (".",):
            good = sum(is_number(f, decimal) or _is_other(f) for f in fields) / len(fields)
            score = good * share + (0.001 if decimal == "." else 0.0) + 0.01 * (width > 1)
            if best is None or score > best[0] + 1e-9:
                best = score, separator, decimal, width
    if best is None:
        raise _no_rows(lines, ",", where)
    return best[1], best[2], best[3]


def _is_other(field: str) -> bool:
    """What a row may have beside numbers: a date, or no value."""
    return bool(_DATE.match(field)) or field.strip().lower() in MISSING


def _is_row(fields: Sequence[str], width: int, decimal: str) -> bool:
    if len(fields) != width:
        return False
    numbers = sum(is_number(field, decimal) or bool(_DATE.match(field)) for field in fields)
    filled = sum(bool(field.strip()) for field in fields)
    return numbers > 0 and 2 * numbers >= filled


def _header(
    lines: Sequence[str], first: int, separator: str, width: int
) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """Names, units, and the number of the line where the header begins."""
    group: list[tuple[int, list[str]]] = []
    for number in range(first - 1, max(-1, first - 1 - _MOST_HEADER_LINES), -1):
        if not lines[number].strip():
            continue
        fields = split_line(lines[number].lstrip("#% ") if number == first - 1 else lines[number], separator)
        if not width - 1 <= len(fields) <= width or _SEP_LINE.fullmatch(lines[number]):
            break
        if any(is_number(f) for f in fields) and not any(f.strip() and not is_number(f) for f in fields):
            break
        group.append((number, fields))
    if not group:
        return (), (), first
    above, names = group[-1]
    units = next((f for _, f in group[:-1] if _are_units(f)), None)
    if units is None and len(group) > 1:  # no line of units: what stands right above the numbers names them
        above, names = group[0]
    return tuple(f.strip() for f in names), tuple(f.strip() for f in units or ()), above


def _are_units(fields: Sequence[str]) -> bool:
    filled = [field for field in fields if field.strip()]
    known = [f for f in filled if _unit_in(f) or time_unit_of(f.strip("[]() "))]
    return bool(filled) and 2 * len(known) >= len(filled)


def _unit_in(field: str) -> str | None:
    return unit_of(field.strip()) or unit_of(field.strip("[]() "))


def _no_rows(lines: Sequence[str], separator: str, where: str) -> DataError:
    filled = [line for line in lines if line.strip()]
    if len(filled) == 1 and len(split_line(filled[0], separator)) > 1:
        return DataError(f"{where!r} has a header but no samples")
    return DataError(
        f"{where!r} has no table of numbers that can be made out",
        remedy="Give recordings as text with one row a sample, like t,acc_x[g],acc_y[g],acc_z[g]",
    )
