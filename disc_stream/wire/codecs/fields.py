"""The checks that all encodings share: from decoded fields to a ``SampleBatch`` within the limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from disc_stream.errors import PayloadError
from disc_stream.types import Channel, DeviceMeta, SampleBatch
from disc_stream.wire.limits import (
    MAX_CHANNELS,
    MAX_FS,
    MAX_NAME,
    MAX_SAMPLES,
    MAX_SCALE,
    MAX_T0_US,
    MAX_UINT32,
    MAX_UNIT,
    MAX_VALUE,
    MIN_SCALE,
)

REASONS: dict[str, str] = {
    "empty": "no bytes at all",
    "oversized": "more bytes than the limit",
    "encoding": "the content type or the first byte names no known encoding",
    "malformed": "not valid CBOR or JSON, nested too deeply, or bytes after the end",
    "truncated": "a packed message ends inside its header or inside a row of samples",
    "version": "a packed message of a version or sample type that is not known",
    "missing": "a required field is absent",
    "unknown-field": "a field that the contract does not have; names starting with x- are free",
    "type": "a field or a sample has the wrong type",
    "range": "a number is outside its limits",
    "channels": "names, units and scales are repeated, of unequal number, or incomplete",
    "text": "a name, a unit or a description is empty, too long or not printable",
    "shape": "the samples do not divide into rows of one value per channel",
    "no-meta": "no channels in the message and no retained meta of the device",
    "meta-mismatch": "the number of channels differs from the device's meta",
    "non-finite": "a sample is NaN or infinite",
}
"""Every ``PayloadError.reason`` of the codecs; names never change, they label counters and dead letters."""

_SAMPLE_TYPES = (np.dtype("<i2"), np.dtype("<i4"), np.dtype("<f4"))


ABSENT: Any = object()
"""Stands in ``Fields`` for a field that the message does not have."""


class Fields(msgspec.Struct, frozen=True, gc=False):
    """What a decoder found: of any type and size, but for the channels and the samples' type.

    Args:
        boot: as found, or ``ABSENT``; so are seq, t0 and fs.
        seq: see boot.
        t0: see boot.
        fs: see boot.
        channels: the message's own, checked; None if it describes none.
        samples: row-major; one-dimensional, or (n_samples, n_channels) where the encoding knows the rows.
        fs_is_float32: the rate was written as float32 and stands for the meta's rate if that rounds to it.
    """

    boot: Any
    seq: Any
    t0: Any
    fs: Any
    channels: tuple[Channel, ...] | None
    samples: npt.NDArray[np.generic]
    fs_is_float32: bool = False


def build_batch(fields: Fields, device: str, meta: DeviceMeta | None) -> SampleBatch:
    """Check the fields and assemble the batch.

    Raises:
        PayloadError: naming the first thing that is wrong.
    """
    boot, seq, t0_us, fs, described = fields.boot, fields.seq, fields.t0, fields.fs, fields.channels
    if not (
        type(boot) is type(seq) is type(t0_us) is int
        and 0 <= boot <= MAX_UINT32
        and 0 <= seq <= MAX_UINT32
        and 0 <= t0_us <= MAX_T0_US
    ):
        boot = _check_int(boot, "boot", MAX_UINT32)
        seq = _check_int(seq, "seq", MAX_UINT32)
        t0_us = _check_int(t0_us, "t0", MAX_T0_US)
    if type(fs) is not float or not 0.0 < fs <= MAX_FS:
        fs = _check_rate(fs)
    if described is not None:
        channels = described
    elif meta is not None:
        channels = meta.channels
        if fields.fs_is_float32 and fs != meta.fs and np.float32(meta.fs) == fs:
            fs = meta.fs
    else:
        raise PayloadError("no-meta", "the message describes no channels and the device has sent no meta")
    samples = _rows(fields.samples, len(channels), from_meta=described is None)
    check_samples(samples)
    return SampleBatch(device, boot, seq, t0_us, fs, channels, samples)


def check_batch(batch: SampleBatch) -> None:
    """Check a batch that is about to be encoded.

    Raises:
        PayloadError: naming the first thing that is wrong.
    """
    header = {"boot": batch.boot, "seq": batch.seq, "t0": batch.t0_us, "fs": batch.fs}
    read_int(header, "boot", MAX_UINT32)
    read_int(header, "seq", MAX_UINT32)
    read_int(header, "t0", MAX_T0_US)
    read_rate(header)
    check_channels(batch.channels)
    if batch.samples.ndim != 2 or batch.samples.shape[1] != len(batch.channels):
        raise PayloadError(
            "shape", f"samples are {batch.samples.shape}, there are {len(batch.channels)} channels"
        )
    if batch.samples.dtype not in _SAMPLE_TYPES:
        raise PayloadError("type", f"samples are {batch.samples.dtype}, not int16, int32 or float32")
    check_samples(batch.samples)


def read_int(header: Mapping[str, Any], name: str, maximum: int) -> int:
    """An integer field in 0..maximum; a float without a fraction is one, too."""
    return _check_int(header.get(name, ABSENT), name, maximum)


def read_rate(header: Mapping[str, Any]) -> float:
    """The field ``fs``, in Hz."""
    return _check_rate(header.get("fs", ABSENT))


def _check_int(value: Any, name: str, maximum: int) -> int:
    if value is ABSENT:
        raise _missing(name)
    if type(value) is float and value.is_integer():  # of writers that know no integers, as in 3.0 or 1.5e6
        value = int(value)
    if type(value) is not int:
        raise PayloadError("type", f"{name} must be an integer, got {kind_of(value)}{_advice(value, name)}")
    if not 0 <= value <= maximum:
        raise PayloadError("range", f"{name} must be 0..{maximum}, got {_shown(value)}")
    return value


def _advice(value: Any, name: str) -> str:
    if isinstance(value, str) and value.strip().lstrip("+-").isdecimal():
        return "; send it without quotes"
    if isinstance(value, float) and name == "t0":
        return "; send whole microseconds of the device's clock"
    return ""


def _check_rate(value: Any) -> float:
    if value is ABSENT:
        raise _missing("fs")
    if type(value) not in (int, float):
        raise PayloadError("type", f"fs must be a number, got {kind_of(value)}")
    if not 0 < value <= MAX_FS:  # also refuses NaN
        raise PayloadError("range", f"fs must be above 0 and at most {MAX_FS:g} Hz, got {_shown(value)}")
    return float(value)


def read_channels(header: Mapping[str, Any]) -> tuple[Channel, ...] | None:
    """The fields ``channels``, ``units`` and ``scale``, or None where the message has no channels."""
    if "channels" not in header:
        if "units" in header or "scale" in header:
            raise PayloadError("channels", "units and scale say nothing without channels")
        return None
    names = _list_of(header["channels"], "channels", (str,))
    units = _per_channel(header.get("units", ABSENT), "units", (str,), len(names))
    scales = _per_channel(header.get("scale", 1.0), "scale", (int, float), len(names))
    try:
        channels = tuple(map(Channel, names, units, map(float, scales)))
    except OverflowError:
        raise PayloadError("range", "a scale is too large") from None
    check_channels(channels)
    return channels


def check_channels(channels: tuple[Channel, ...]) -> None:
    """Check number, names, units and scales of channels."""
    if not 1 <= len(channels) <= MAX_CHANNELS:
        raise PayloadError("range", f"1 to {MAX_CHANNELS} channels are allowed, got {len(channels)}")
    if len({c.name for c in channels}) != len(channels):
        raise PayloadError("channels", "two channels have the same name")
    for channel in channels:
        check_text(channel.name, "channel name", MAX_NAME)
        check_text(channel.unit, "unit", MAX_UNIT)
        if not MIN_SCALE <= abs(channel.scale) <= MAX_SCALE:
            raise PayloadError(
                "range",
                f"scale of {channel.name!r} must be {MIN_SCALE:g} to {MAX_SCALE:g}, got {channel.scale!r}",
            )


def check_text(text: str, what: str, longest: int, *, may_be_empty: bool = False) -> str:
    """Return ``text`` if it is printable and not too long."""
    if not (text or may_be_empty) or len(text) > longest or not text.isprintable():
        least = 0 if may_be_empty else 1
        raise PayloadError(
            "text", f"{what} must have {least} to {longest} printable characters, got {text[:80]!r}"
        )
    return text


def check_samples(samples: npt.NDArray[np.generic]) -> None:
    """Check the number of rows, and float samples for NaN, infinity and absurd size."""
    if not 1 <= len(samples) <= MAX_SAMPLES:
        raise PayloadError("range", f"1 to {MAX_SAMPLES} samples are allowed, got {len(samples)}")
    if samples.dtype.kind == "f":
        flat = samples.ravel()
        # A third of the time of np.abs(…).max(); both places are that of a NaN if there is one.
        peak = max(flat.item(flat.argmax()), -flat.item(flat.argmin()))
        if peak <= MAX_VALUE:
            return
        if not math.isfinite(peak):
            raise PayloadError("non-finite", "a sample is NaN or infinite")
        raise PayloadError("range", f"a sample of magnitude {peak:g} is above {MAX_VALUE:g}")


def _rows(samples: npt.NDArray[np.generic], n_channels: int, *, from_meta: bool) -> npt.NDArray[np.generic]:
    if samples.ndim == 2:
        if samples.shape[1] == n_channels:
            return samples
        reason = "meta-mismatch" if from_meta else "shape"
        raise PayloadError(reason, f"rows have {samples.shape[1]} values for {n_channels} channels")
    if samples.size % n_channels:
        reason = "meta-mismatch" if from_meta else "shape"
        raise PayloadError(reason, f"{samples.size} values do not make rows of {n_channels} channels")
    return samples.reshape(-1, n_channels)


def _missing(name: str) -> PayloadError:
    return PayloadError("missing", f"the field {name!r} is missing")


def _list_of(value: Any, name: str, types: tuple[type, ...]) -> list[Any]:
    if not isinstance(value, list) or not set(map(type, value)) <= set(types):
        wanted = "texts" if str in types else "numbers"
        raise PayloadError("type", f"{name} must be a list of {wanted}")
    return value


def _per_channel(value: Any, name: str, types: tuple[type, ...], n_channels: int) -> list[Any]:
    """One value for all channels, or a list with one for each."""
    if value is ABSENT:
        raise _missing(name)
    if type(value) in types:
        return [value] * n_channels
    values = _list_of(value, name, types)
    if len(values) != n_channels:
        raise PayloadError("channels", f"{len(values)} {name} for {n_channels} channels")
    return values


def kind_of(value: Any) -> str:
    """What a value is, in words for whoever wrote the sender.

    Examples:
        >>> kind_of("7"), kind_of(1.5), kind_of(None), kind_of([])
        ("the text '7'", '1.5', 'null', 'list')
    """
    if value is None:
        return "null"
    if isinstance(value, str):
        return f"the text {value[:40]!r}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return _shown(value)
    return type(value).__name__


def _shown(value: int | float) -> str:
    """A number for an error message, however many digits it has."""
    return "a very large number" if abs(value) > 1e30 else repr(value)
