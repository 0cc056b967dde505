"""Acceleration in two parts, gravity and the user's own, added to what an accelerometer measures."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from disc_stream.data.importing.even import Even
from disc_stream.signal.units import conversion_factor
from disc_stream.types import Channel

_REST_LOW_G = 0.5
_WITHOUT = (
    "mind: its acceleration is without gravity, so that postures cannot be told apart; record gravity, too"
)


def add_gravity(
    channels: tuple[Channel, ...], even: Even, *, apart: bool, notes: list[str], rest_g: Mapping[str, float]
) -> tuple[tuple[Channel, ...], Even]:
    """Total acceleration in the place of its parts.

    Args:
        channels: of the samples.
        even: the samples; their columns are exchanged in place.
        apart: whether channels called acc leave gravity out, by their format.
        notes: what is done is told here.
        rest_g: median magnitude of each accelerometer in g.
    """
    names = [c.name for c in channels]
    drop = {n for n, name in enumerate(names) if re.fullmatch(r"(gravity|useracc)_[xyz]", name)}
    user = "useracc" if "useracc_x" in names else "acc" if apart and "acc_x" in names else ""
    has_gravity = "gravity_x" in names
    whole = "acc_x" in names and not (user == "acc" and has_gravity)
    new = list(channels)
    if user and has_gravity and not (user == "useracc" and whole):
        _add(user, new, even, drop)
        notes.append("acceleration: gravity and the user's own acceleration are added")
    elif user == "useracc" and not whole:
        own = [n for n in drop if names[n].startswith("useracc")]
        for n in own:
            new[n] = Channel(f"acc{names[n][-2:]}", channels[n].unit)
        drop -= set(own)
        notes.append(_WITHOUT)
    elif user == "acc" and rest_g.get("acc", 1.0) < _REST_LOW_G:
        notes.append(_WITHOUT)
    keep = [n for n in range(len(channels)) if n not in drop]
    if not keep or not drop:
        return tuple(new), even
    if not (user and has_gravity):
        notes.append(f"left out: {', '.join(names[n] for n in sorted(drop))} (a part of acc)")
    for stretch in even.stretches:
        stretch.values = np.ascontiguousarray(stretch.values[:, keep])
    return tuple(new[n] for n in keep), even


def _add(user: str, channels: list[Channel], even: Even, drop: set[int]) -> None:
    """Add gravity to the user's own acceleration, in place; its columns go on as ``acc``."""
    names = [c.name for c in channels]
    for axis in "xyz":
        if f"{user}_{axis}" not in names or f"gravity_{axis}" not in names:
            continue
        at, gravity = names.index(f"{user}_{axis}"), names.index(f"gravity_{axis}")
        factor = np.float32(conversion_factor(channels[gravity].unit, channels[at].unit))
        for stretch in even.stretches:
            stretch.values[:, at] += stretch.values[:, gravity] * factor
        channels[at] = Channel(f"acc_{axis}", channels[at].unit)
        drop.discard(at)
