"""What sensors do that no motion does: zeros while off, spikes beyond any range, dead channels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from disc_stream.data.importing.columns import Column
from disc_stream.data.importing.unitnames import QUANTITY
from disc_stream.signal.units import STANDARD_GRAVITY, conversion_factor
from disc_stream.types import Float32Array

# Beyond what wearables' sensors measure: 64 g, 8,000 °/s, 10 mT.
_LIMITS = {"acc": (64.0, "g"), "gyro": (8_000.0, "deg/s"), "mag": (10_000.0, "uT")}
_ENOUGH = 50  # rows, before a channel is called dead
_SAMPLE = 20_000


@dataclass(slots=True)
class SensorFaults:
    """What was found in one table.

    Args:
        spikes: values beyond any sensor's range, taken as missing.
        largest: the largest of them, and its channel.
        zeros: rows in which an accelerometer says exactly nothing, taken as missing.
        dead: channels that never change.
        rest_g: by sensor, the median magnitude of acceleration in g.
    """

    spikes: int = 0
    largest: tuple[float, str] = (0.0, "")
    zeros: int = 0
    dead: list[str] = field(default_factory=list)
    rest_g: dict[str, float] = field(default_factory=dict)


def mark_faults(values: Float32Array, columns: Sequence[Column]) -> SensorFaults:
    """Take out what no motion does.

    Args:
        values: (n, C) float32; what is taken out becomes NaN in place.
        columns: its C channels.
    """
    found = SensorFaults()
    low, high = np.fmin.reduce(values, axis=0), np.fmax.reduce(values, axis=0)  # NaN only where nothing is
    for place, column in enumerate(columns):
        kind = QUANTITY.get(column.unit)
        if kind and np.isfinite(low[place]):
            _mark_spikes(values[:, place], max(-low[place], high[place]), column, kind, found)
    for sensor, axes in triads(columns).items():
        if QUANTITY.get(columns[axes[0]].unit) != "acc" or re.search(r"useracc|gravity", sensor):
            continue
        factor = conversion_factor(columns[axes[0]].unit, "m/s2") / STANDARD_GRAVITY
        step = max(1, len(values) // _SAMPLE)
        magnitude = np.sqrt(np.square(values[::step, axes].astype(np.float64)).sum(axis=1)) * factor
        if not np.isfinite(magnitude).any():
            continue
        typical = float(np.nanmedian(magnitude[magnitude > 0])) if (magnitude > 0).any() else 0.0
        found.rest_g[sensor] = typical
        if typical > 0.5:
            off = (values[:, axes[0]] == 0) & (values[:, axes[1]] == 0) & (values[:, axes[2]] == 0)
            if off.any() and _varies(values[:, axes], off):
                found.zeros += int(off.sum())
                values[off] = np.nan
    if len(values) >= _ENOUGH:
        found.dead = [c.name for c, a, b in zip(columns, low, high, strict=True) if not a < b]
    return found


def _varies(values: Float32Array, off: npt.NDArray[np.bool_]) -> bool:
    """Whether a sensor that is on has noise: one that is made up may well stay at zero."""
    on = values[~off]
    return float((on[1:] == on[:-1]).all(axis=1).mean()) < 0.5 if len(on) > 1 else False


def triads(columns: Sequence[Column]) -> dict[str, list[int]]:
    """Sensors with three axes: their places in x, y, z."""
    by_sensor: dict[str, dict[str, int]] = {}
    for place, column in enumerate(columns):
        if column.sensor != column.name:
            by_sensor.setdefault(column.sensor, {})[column.name[-1]] = place
    return {s: [at["x"], at["y"], at["z"]] for s, at in by_sensor.items() if len(at) == 3}


def _mark_spikes(
    one: npt.NDArray[np.float32], largest: float, column: Column, kind: str, found: SensorFaults
) -> None:
    limit, unit = _LIMITS[kind]
    most = limit * conversion_factor(unit, column.unit)
    if largest <= most:
        return
    with np.errstate(invalid="ignore"):
        beyond = np.abs(one) > most
    worst = float(np.max(np.abs(one[beyond])))
    found.spikes += int(beyond.sum())
    if worst > found.largest[0]:
        found.largest = worst, column.name
    one[beyond] = np.nan
