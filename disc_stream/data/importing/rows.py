"""Rows of a text table as arrays: by pyarrow where it is installed, else by Python's own reader.

Both take the same blocks of whole lines and give the same numbers; pyarrow is about eight times as fast. A
block that pyarrow refuses, for a cell that is no number, goes to Python's reader, which says where it is.
"""

from __future__ import annotations

import codecs
import csv
import importlib.util
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from disc_stream.data.importing.dialect import MISSING, Dialect
from disc_stream.data.importing.files import Entry

Floats = npt.NDArray[np.float64]
Texts = tuple[npt.NDArray[np.int64], list[str]]
_NULLS = sorted({form for word in MISSING for form in (word, word.upper(), word.title(), word.capitalize())}
                | {"NaN", "nan", "-NaN"})  # fmt: skip
_TOLD = 3


@dataclass(slots=True)
class Faults:
    """Lines of a file that could not be used as they are.

    Args:
        rows: with too few or too many fields, left out.
        first: number of the first of those in the file, from 1.
        cells: that are no numbers, taken as missing.
        examples: what some of them hold, and in which line.
        cut: whether the last line was cut.
        empty: lines of zero bytes, left out.
    """

    rows: int = 0
    first: int = 0
    cells: int = 0
    examples: list[str] = field(default_factory=list)
    cut: bool = False
    empty: int = 0

    def bad_row(self, line: int) -> None:
        """Count a row that is left out."""
        self.first = self.first or line
        self.rows += 1

    def bad_cell(self, line: int, text: str) -> None:
        """Count a cell that is no number."""
        self.cells += 1
        if len(self.examples) < _TOLD:
            self.examples.append(f"{text.strip()[:20]!r} in line {line}")


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows.

    Args:
        numbers: (n, len(wanted)) of the columns of numbers, NaN where there is none.
        texts: of each column of text, (n,) indices and the texts that they stand for.
    """

    numbers: Floats
    texts: list[Texts]


def read_blocks(
    entry: Entry, dialect: Dialect, numbers: Sequence[int], texts: Sequence[int], faults: Faults
) -> Iterator[Block]:
    """The rows of a table, in blocks.

    Args:
        entry: the file.
        dialect: how it is written.
        numbers: positions of the columns of numbers.
        texts: positions of the columns of text.
        faults: what could not be used is counted here.

    Raises:
        DataError: if the file cannot be read.
    """
    for number, (text, last) in enumerate(_lines(entry, dialect)):
        clean = _clean(text, dialect, last, faults)
        if clean and not clean.isspace():
            where = _Where(entry, dialect, number)
            yield _parse(clean, dialect, numbers, texts, faults, where)


@dataclass(frozen=True, slots=True)
class _Where:
    """Where a block of lines begins; it is only counted when somebody must be told."""

    entry: Entry
    dialect: Dialect
    number: int

    def first_line(self) -> int:
        before = islice(_lines(self.entry, self.dialect), self.number)
        return self.dialect.data_line + 1 + sum(text.count(b"\n") for text, _ in before)


def _lines(entry: Entry, dialect: Dialect) -> Iterator[tuple[bytes, bool]]:
    """Whole lines in UTF-8, from the first row on, and whether they are the last ones."""
    skip = dialect.data_line
    rest = b""
    for block in _utf8(entry, dialect):
        text = rest + block
        if b"\r" in text and b"\n" not in text and len(text) > 1:
            text = text.replace(b"\r", b"\n")
        end = text.rfind(b"\n") + 1
        rest = text[end:]
        text = text[:end]
        while skip and text:
            at = text.find(b"\n") + 1
            text = text[at:]
            skip -= 1
        if text:
            yield text, False
    while skip and rest:
        at = rest.find(b"\n") + 1
        rest = rest[at:] if at else b""
        skip -= 1
    if rest:
        yield rest, True


def _utf8(entry: Entry, dialect: Dialect) -> Iterator[bytes]:
    if dialect.encoding == "utf-8":
        for number, block in enumerate(entry.blocks()):
            yield block[dialect.bom :] if number == 0 else block
        return
    decoder = codecs.getincrementaldecoder(dialect.encoding)(errors="replace")
    for number, block in enumerate(entry.blocks()):
        yield decoder.decode(block[dialect.bom :] if number == 0 else block).encode()
    yield decoder.decode(b"", final=True).encode()


def _clean(text: bytes, dialect: Dialect, last: bool, faults: Faults) -> bytes:
    """Without zero bytes, comments and the spaces between; each line keeps its number."""
    if b"\0" in text:
        faults.empty += len(re.findall(rb"(?m)^\0[\0 ]*\r?$", text))
        text = text.replace(b"\0", b"")
    if b"#" in text:
        text = re.sub(rb"(?m)^[ \t]*[#%].*\n?", b"\n", text)
    if dialect.separator == " ":
        text = re.sub(rb"(?m)^ +| +(?=\r?$)", b"", re.sub(rb"[ \t]+", b" ", text))
    if last and text.strip():  # no line break at the end: the line may have been cut
        fields = next(csv.reader([text.decode(errors="replace")], delimiter=dialect.separator), [])
        if len(fields) < dialect.width:
            faults.cut = True
            return b""
    return text


@lru_cache(maxsize=1)
def has_arrow() -> bool:
    """Whether pyarrow is installed."""
    return importlib.util.find_spec("pyarrow") is not None


def _parse(
    text: bytes,
    dialect: Dialect,
    numbers: Sequence[int],
    texts: Sequence[int],
    faults: Faults,
    where: _Where,
) -> Block:
    if has_arrow():
        block = _by_arrow(text, dialect, numbers, texts, faults, where)
        if block is not None:
            return block
    return _by_python(text, dialect, numbers, texts, faults, where)


def _by_arrow(
    text: bytes,
    dialect: Dialect,
    numbers: Sequence[int],
    texts: Sequence[int],
    faults: Faults,
    where: _Where,
) -> Block | None:
    """None where a cell is no number."""
    import pyarrow as pa
    from pyarrow import csv as pc

    names = [f"c{n}" for n in range(dialect.width)]
    bad: list[int] = []

    def skip(row: Any) -> str:
        bad.append(row.number or 0)
        return "skip"

    types: dict[str, Any] = {f"c{n}": pa.float64() for n in numbers}
    types |= {f"c{n}": pa.dictionary(pa.int32(), pa.string()) for n in texts}
    try:
        table = pc.read_csv(
            pa.BufferReader(text),
            read_options=pc.ReadOptions(column_names=names, use_threads=False, block_size=len(text) + 1),
            parse_options=pc.ParseOptions(delimiter=dialect.separator, invalid_row_handler=skip),
            convert_options=pc.ConvertOptions(
                column_types=types,
                include_columns=[f"c{n}" for n in (*numbers, *texts)],
                null_values=_NULLS,
                decimal_point=dialect.decimal,
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid:
        return None
    first = where.first_line() if bad else 0
    for number in bad:
        faults.bad_row(first + max(0, number - 1))
    out = np.empty((table.num_rows, len(numbers)), dtype=np.float64)
    for place in range(len(numbers)):
        out[:, place] = table.column(place).to_numpy(zero_copy_only=False)
    out[~np.isfinite(out)] = np.nan
    return Block(out, [_dictionary(table.column(len(numbers) + k)) for k in range(len(texts))])


def _dictionary(column: Any) -> Texts:
    """A column of pyarrow's as indices and texts; the last text stands for no value."""
    chunk = column.combine_chunks()
    chunk = chunk.chunk(0) if hasattr(chunk, "chunk") else chunk
    words = ["" if word is None else word for word in chunk.dictionary.to_pylist()]
    at = chunk.indices.fill_null(len(words)).to_numpy(zero_copy_only=False).astype(np.int64)
    return at, [*words, ""]


def _by_python(
    text: bytes,
    dialect: Dialect,
    numbers: Sequence[int],
    texts: Sequence[int],
    faults: Faults,
    where: _Where,
) -> Block:
    reader = csv.reader(io.StringIO(text.decode(errors="replace"), newline=""), delimiter=dialect.separator)
    first = where.first_line()
    out: list[list[float]] = []
    words: list[dict[str, int]] = [{} for _ in texts]
    at_words: list[list[int]] = [[] for _ in texts]
    for row in reader:
        at = first + reader.line_num - 1
        if not row or not any(f.strip() for f in row):
            continue
        if len(row) != dialect.width:
            faults.bad_row(at)
            continue
        out.append([_number(row[n], dialect.decimal, at, faults) for n in numbers])
        for place, n in enumerate(texts):
            at_words[place].append(words[place].setdefault(row[n], len(words[place])))
    table = np.array(out, dtype=np.float64).reshape(len(out), len(numbers))
    found = zip(at_words, words, strict=True)
    return Block(table, [(np.array(indices, dtype=np.int64), list(known)) for indices, known in found])


def _number(text: str, decimal: str, line: int, faults: Faults) -> float:
    plain = text.strip()
    try:
        value = float(plain.replace(",", ".") if decimal == "," else plain)
    except ValueError:
        if plain.lower() not in MISSING:
            faults.bad_cell(line, text)
        return np.nan
    return value if np.isfinite(value) else np.nan
