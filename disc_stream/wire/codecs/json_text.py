"""JSON, for people: one object; the samples are a list of rows. Decodes to float32.

What some writers add around the object is ignored: a byte order mark before it, NUL bytes (the end of a C
string that was sent, too) and white space behind it.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

import numpy as np

from disc_stream.errors import PayloadError
from disc_stream.types import Float32Array, SampleBatch
from disc_stream.wire.codecs.fields import ABSENT, Fields, check_samples, kind_of, read_channels
from disc_stream.wire.codecs.names import check_names, header_of

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
FIRST_BYTES = frozenset(b"{ \t\r\n" + BYTE_ORDER_MARK[:1])  # no CBOR map and no packed header has these


def encode(batch: SampleBatch, *, describe_channels: bool) -> bytes:
    """The batch as one line of JSON; float32 samples keep every bit."""
    message = header_of(batch, describe_channels=describe_channels)
    if batch.samples.dtype.kind == "f":
        # The shortest decimal that names each float32, instead of its 17 digits as a double.
        rows = [[float(text) for text in row] for row in batch.samples.astype("U32").tolist()]
    else:
        rows = batch.samples.tolist()
    message["samples"] = rows
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()


def decode(payload: bytes) -> Fields:
    """Read the object.

    Raises:
        PayloadError: with reason ``malformed``, ``type``, ``shape``, ``range``, ``non-finite``, ``missing``,
            ``channels``, ``text`` or ``unknown-field``.
    """
    message = load_object(payload)
    check_names(message)
    boot, seq, t0, fs = (message.get(name, ABSENT) for name in ("boot", "seq", "t0", "fs"))
    return Fields(boot, seq, t0, fs, read_channels(message), _to_array(message["samples"]))


def trimmed(payload: bytes) -> bytes:
    """JSON without the byte order mark before it, and the NULs and white space behind it."""
    return payload.removeprefix(BYTE_ORDER_MARK).rstrip(b"\0 \t\r\n")


def load_object(payload: bytes) -> dict[str, Any]:
    """Parse bytes as one JSON object.

    Raises:
        PayloadError: with reason ``malformed``, or ``non-finite`` for the constants NaN and Infinity.
    """
    try:
        text = trimmed(payload).decode("utf-8")
        message = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_once)
    except UnicodeDecodeError as error:
        raise PayloadError("malformed", f"not valid JSON: not UTF-8 at byte {error.start}") from None
    except (ValueError, RecursionError) as error:  # JSONDecodeError is a ValueError
        raise PayloadError("malformed", f"not valid JSON: {error}") from None
    if not isinstance(message, dict):
        raise PayloadError("malformed", "the payload is not a JSON object")
    return message


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Readers disagree about which of two equal keys counts; ours would be yet another opinion."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise PayloadError("malformed", "a JSON object has the same key twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise PayloadError("non-finite", f"{name} is not a JSON number")


def _to_array(rows: Any) -> Float32Array:
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        raise PayloadError(
            "type", "samples must be a list of rows, each a list of numbers: [[1,2,3],[1,2,3]]"
        )
    if len({len(row) for row in rows}) != 1 or not rows[0]:
        raise PayloadError("shape", "the rows of samples do not all have the same length")
    if not {type(value) for row in rows for value in row} <= {int, float}:
        raise _not_a_number(rows)
    try:
        values = np.array(rows, dtype=np.float64)
    except OverflowError:
        raise PayloadError("range", "a sample is too large for any number type") from None
    check_samples(values)
    return values.astype(np.float32)


def _not_a_number(rows: list[list[Any]]) -> PayloadError:
    wrong = (
        (value, at, column)
        for at, row in enumerate(rows)
        for column, value in enumerate(row)
        if type(value) not in (int, float)
    )
    value, row, column = next(wrong)
    return PayloadError(
        "type", f"samples must be numbers; row {row}, channel {column} (from 0) is {kind_of(value)}"
    )
