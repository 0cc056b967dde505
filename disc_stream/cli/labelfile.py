"""The file that ``disc-stream label --out`` writes; its ending says in which form."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from disc_stream.cli.common import require_extras, require_free
from disc_stream.errors import UsageError

COLUMNS = (
    "recording", "window", "start_s", "end_s", "label", "name", "confidence",
    "smoothed_label", "smoothed_name", "smoothed_confidence", "distance", "novelty", "model",
)  # fmt: skip


def require_label_file(path: Path, *, replace: bool) -> None:
    """Check that labels can be written into a file of this name, before any are made.

    Args:
        path: of the file.
        replace: whether one that is there may be replaced.

    Raises:
        UsageError: if the ending is not supported, or the file is there and is not to be replaced.
        MissingExtraError: if the ending is ``.parquet`` and pyarrow is not installed.
    """
    if path.suffix.lower() not in _WRITERS:
        known = ", ".join(_WRITERS)
        raise UsageError(f"--out {str(path)!r} has an ending that is not known", remedy=f"Use one of {known}")
    require_free(path, force=replace)
    if path.suffix.lower() == ".parquet":
        require_extras("disc-stream label --out NAME.parquet", "parquet")


def write_label_file(path: Path, labels: dict[str, Any]) -> None:
    """Write labels in the form that the file's ending asks for.

    Args:
        path: ``.json`` the whole object; ``.jsonl`` or ``.ndjson`` one label a line, in the form of the live
            ones; ``.csv`` or ``.parquet`` one label a row with the columns ``COLUMNS``.
        labels: what ``disc-stream label --json`` prints.

    Raises:
        UsageError: if the file cannot be written.
    """
    try:
        _WRITERS[path.suffix.lower()](path, labels)
    except OSError as error:
        raise UsageError(
            f"cannot write {str(path)!r}: {error.strerror or error}", remedy="Name another file"
        ) from error


def _write_json(path: Path, labels: dict[str, Any]) -> None:
    with _text_file(path) as file:
        json.dump(labels, file, indent=2, allow_nan=False)
        file.write("\n")


def _write_lines(path: Path, labels: dict[str, Any]) -> None:
    with _text_file(path) as file:
        for recording in labels["recordings"]:
            for label in recording["labels"]:
                file.write(json.dumps(label, separators=(",", ":"), ensure_ascii=False, allow_nan=False))
                file.write("\n")


def _write_csv(path: Path, labels: dict[str, Any]) -> None:
    with _text_file(path, newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(_rows(labels))


def _write_parquet(path: Path, labels: dict[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole, text, real = pa.int64(), pa.string(), pa.float64()
    types = (text, whole, real, real, whole, text, real, whole, text, real, real, real, text)
    schema = pa.schema(list(zip(COLUMNS, types, strict=True)))
    pq.write_table(pa.Table.from_pylist(list(_rows(labels)), schema), path)


def _rows(labels: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One flat row a label; times are seconds from the recording's beginning."""
    for recording in labels["recordings"]:
        for label in recording["labels"]:
            smoothed = label["smoothed"]
            yield {
                "recording": recording["name"],
                "window": label["window"],
                "start_s": label["t0"] / 1e6,
                "end_s": label["t1"] / 1e6,
                "label": label["label"],
                "name": label["name"],
                "confidence": label["confidence"],
                "smoothed_label": smoothed["label"],
                "smoothed_name": smoothed["name"],
                "smoothed_confidence": smoothed["confidence"],
                "distance": label["distance"],
                "novelty": label["novelty"],
                "model": label["model"],
            }


def _text_file(path: Path, newline: str | None = None) -> TextIO:
    return path.open("w", encoding="utf-8", newline=newline)


_WRITERS: dict[str, Callable[[Path, dict[str, Any]], None]] = {
    ".json": _write_json,
    ".jsonl": _write_lines,
    ".ndjson": _write_lines,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
