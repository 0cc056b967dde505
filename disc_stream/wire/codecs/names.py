"""Names of the fields, shared by CBOR and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from disc_stream.errors import PayloadError
from disc_stream.types import Channel, SampleBatch

FIELDS = frozenset({"boot", "seq", "t0", "fs", "channels", "units", "scale", "samples"})
FREE_PREFIX = "x-"


def check_names(message: Mapping[str, Any], allowed: frozenset[str] = FIELDS) -> None:
    """Refuse misspelt fields: a silently ignored ``scales`` would make the samples wrong.

    Raises:
        PayloadError: with reason ``unknown-field``, or ``missing`` for absent samples.
    """
    for name in sorted(message.keys() - allowed):
        if not name.startswith(FREE_PREFIX):
            known = ", ".join(sorted(allowed))
            raise PayloadError("unknown-field", f"the field {name[:80]!r} is not known; known: {known}")
    if "samples" in allowed and "samples" not in message:
        raise PayloadError("missing", "the field 'samples' is missing")


def header_of(batch: SampleBatch, *, describe_channels: bool) -> dict[str, Any]:
    """All fields but the samples, in the order people read them."""
    header: dict[str, Any] = {"boot": batch.boot, "seq": batch.seq, "t0": batch.t0_us, "fs": batch.fs}
    if describe_channels:
        header |= describe(batch.channels)
    return header


def describe(channels: tuple[Channel, ...]) -> dict[str, Any]:
    """The fields ``channels``, ``units`` and ``scale``; one value where all channels share it."""
    units = [c.unit for c in channels]
    scales = [c.scale for c in channels]
    description: dict[str, Any] = {
        "channels": [c.name for c in channels],
        "units": units[0] if len(set(units)) == 1 else units,
    }
    if any(scale != 1.0 for scale in scales):
        description["scale"] = scales[0] if len(set(scales)) == 1 else scales
    return description
