"""JSON, for people: one object; the samples are a list of rows. Decodes to float32."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import numpy as np

from disc_stream.errors import PayloadError
from disc_stream.types import Float32Array, SampleBatch
from disc_stream.wire.codecs.fields import ABSENT, Fields, check_samples, read_channels
from disc_stream.wire.codecs.names import check_names, header_of

FIRST_BYTES = frozenset(b"{ \t\r\n")


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


def load_object(payload: bytes) -> dict[str, Any]:
    """Parse bytes as one JSON object.

    Raises:
        PayloadError: with reason ``malformed``, or ``non-finite`` for the constants NaN and Infinity.
    """
    try:
        message = json.loads(
            payload.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_once
        )
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
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
        raise PayloadError("type", "samples must be a list of rows, each a list of numbers")
    if len({len(row) for row in rows}) != 1 or not rows[0]:
        raise PayloadError("shape", "the rows of samples do not all have the same length")
    if not {type(value) for row in rows for value in row} <= {int, float}:
        raise PayloadError("type", "samples must be numbers")
    try:
        values = np.array(rows, dtype=np.float64)
    except OverflowError:
        raise PayloadError("range", "a sample is too large for any number type") from None
    check_samples(values)
    return values.astype(np.float32)
