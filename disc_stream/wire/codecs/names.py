"""Names of the fields, shared by CBOR and JSON."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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
    for name in () if message.keys() <= allowed else sorted(message.keys() - allowed):
        if not name.startswith(FREE_PREFIX):
            known = ", ".join(sorted(allowed))
            meant = meant_by(name, allowed)
            guess = f"; is {meant!r} meant?" if meant else ""
            raise PayloadError(
                "unknown-field", f"the field {name[:80]!r} is not known{guess}; known: {known}"
            )
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


def meant_by(name: str, known: Collection[str]) -> str | None:
    """Which known field a name is a misspelling of: other case, hyphens, or one letter off.

    Examples:
        >>> meant_by("scales", ["fs", "scale"]), meant_by("FS", ["fs"]), meant_by("battery", ["fs", "scale"])
        ('scale', 'fs', None)
    """
    plain = name.lower().replace("_", "").replace("-", "")
    for field in sorted(known):
        if plain == field or (len(field) >= 4 and _one_edit_apart(plain, field)):
            return field
    return None


def _one_edit_apart(a: str, b: str) -> bool:
    """Whether one letter was added, left out, replaced, or exchanged with the next."""
    same = next((at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    rest_a, rest_b = a[same:], b[same:]
    return (
        rest_a[1:] == rest_b
        or rest_a == rest_b[1:]
        or rest_a[1:] == rest_b[1:]
        or (rest_a[:2] == rest_b[1::-1] and rest_a[2:] == rest_b[2:])
    )
