"""What a sensor that is turned, or worn on the other side, does to the labels.

A method learns from the people of the training part as they wore their sensors. The windows of the test
people are then labelled as they are, and once more as if every sensor had been turned, or its motion
mirrored. Two arms: windows as worn, and windows that are first turned by device until gravity and the main
direction of motion lie along fixed axes, which no turn can change, in training too. The second shows what
robustness costs where nobody turns anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from disc_stream.benchmarks.cells import hardware
from disc_stream.benchmarks.continuity_cells import settings_of
from disc_stream.benchmarks.protocols import Part, in_time_order
from disc_stream.clustering.metrics import accuracy, nmi
from disc_stream.data.types import Split
from disc_stream.errors import DataError
from disc_stream.training.fitting import infer
from disc_stream.training.recipes import get_recipe
from disc_stream.training.task import FitOptions, Task
from disc_stream.training.windows import check_training_windows
from disc_stream.types import Channel, Float32Array, IntArray

DEGREES = (10, 30, 90, 180)
ARMS = ("as worn", "aligned")
_AXES = "xyz"
_TURNING = ("rad/s", "deg/s", "mdps")  # units of turning rates

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Turn:
    """What happens to a sensor.

    Args:
        kind: ``10`` to ``180``, degrees, or ``other side``.
        axis: of the sensor, about which it is turned, or along which motion is mirrored.
        matrix: (3, 3), applied to accelerations.
    """

    kind: str
    axis: str
    matrix: Matrix = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sensor:
    """Three channels that are the axes of one sensor.

    Args:
        first: of them; the others follow it.
        turns: whether it measures turning rates, which mirroring changes otherwise than accelerations.
    """

    first: int
    turns: bool


def all_turns() -> list[Turn]:
    """Every angle about every axis, and worn on the other side for each axis that may lie across the body."""
    found = [Turn(str(angle), axis, _rotation(axis, angle)) for angle in DEGREES for axis in _AXES]
    mirrors = [np.diag([-1.0 if one == axis else 1.0 for one in _AXES]) for axis in _AXES]
    return found + [Turn("other side", axis, m) for axis, m in zip(_AXES, mirrors, strict=True)]


def sensors_of(channels: Sequence[Channel]) -> list[Sensor]:
    """The sensors among channels: names that differ in a last x, y, z, in that order.

    Raises:
        DataError: if there is none.
    """
    names = [channel.name.lower() for channel in channels]
    found = [
        Sensor(k, channels[k].unit in _TURNING or names[k].startswith("gyr"))
        for k in range(len(names) - 2)
        if [name[-1:] for name in names[k : k + 3]] == list(_AXES)
        and len({name[:-1] for name in names[k : k + 3]}) == 1
    ]
    if not found:
        raise DataError(
            f"no three of the channels {', '.join(names)} are the axes of a sensor",
            remedy="Use a dataset whose channels are called like acc_x, acc_y, acc_z",
        )
    return found


def turned(x: Float32Array, sensors: Sequence[Sensor], matrix: Matrix) -> Float32Array:
    """Windows (n, T, C) as sensors give them that are all turned, or mirrored, by a matrix (3, 3)."""
    out, axial = x.copy(), np.linalg.det(matrix) * matrix  # turning rates are axial vectors
    for sensor in sensors:
        part = slice(sensor.first, sensor.first + 3)
        out[..., part] = x[..., part] @ (axial if sensor.turns else matrix).T.astype(np.float32)
    return out


def aligned(x: Float32Array, devices: npt.NDArray[np.integer], sensors: Sequence[Sensor]) -> Float32Array:
    """Windows (n, T, C) turned by device: mean acceleration along x, most of the rest along y.

    A sensor of turning rates goes with the accelerometer before it. The way that y points is the one with
    the positive third moment.
    """
    out = x.copy()
    for device in np.unique(devices):
        rows = devices == device
        turn = np.eye(3)
        for sensor in sensors:
            part = slice(sensor.first, sensor.first + 3)
            values = x[rows][..., part].astype(np.float64)
            if not sensor.turns:
                turn = _upright(values.reshape(-1, 3))
            out[rows, :, part] = values @ turn.T
    return out


def measure(
    name: str,
    split: Split,
    method: str,
    seed: int = 0,
    *,
    settings: Mapping[str, Any] | None = None,
    on_step: Callable[[str], None] = lambda _what: None,
) -> dict[str, Any]:
    """Measure one dataset with one method.

    Args:
        name: of the dataset.
        split: its windows.
        method: name of a recipe.
        seed: of the training.
        settings: that replace the method's.
        on_step: told what comes next.

    Returns:
        For each arm NMI and ACC of the test windows as they were worn, and for each kind of turn the mean
        over the axes of NMI, ACC and ``same``, the share of windows that keep their label.

    Raises:
        DataError: if the channels have no three axes.
    """
    sensors = sensors_of(split.train.channels)
    arms = {}
    for arm in ARMS:
        on_step(f"{name}, {method}, {arm}")
        arms[arm] = _arm(split, method, seed, settings or {}, sensors, align=arm == "aligned")
    return {
        "dataset": name, "method": method, "seed": seed, "n_clusters": split.n_clusters,
        "sensors": len(sensors), "arms": arms, "hardware": hardware(),
    }  # fmt: skip


def _arm(
    split: Split,
    method: str,
    seed: int,
    settings: Mapping[str, Any],
    sensors: Sequence[Sensor],
    *,
    align: bool,
) -> dict[str, Any]:
    def seen(part: Part, x: Float32Array) -> Float32Array:
        return aligned(x, part.devices, sensors) if align else x

    train, test = in_time_order(split.train), in_time_order(split.test)
    recipe = get_recipe(method)
    config = recipe.resolve("small" if recipe.presets else "", settings_of(method, dict(settings)))
    x = check_training_windows(seen(train, train.x), split.n_clusters)
    task = Task(x, split.n_clusters, seed, devices=train.devices)
    learned = recipe.fit(task, config, FitOptions())

    def rows(x: Float32Array) -> IntArray:
        q = infer(learned.net, np.ascontiguousarray(seen(test, x)[:, : learned.n_input]))[1]
        found: IntArray = q.argmax(1).astype(np.int64)
        return found

    y, plain = test.y, rows(test.x)
    found: dict[str, list[dict[str, Any]]] = {}
    for turn in all_turns():
        label = rows(turned(test.x, sensors, turn.matrix))
        scores = {"same": float((label == plain).mean()), "nmi": nmi(y, label), "acc": accuracy(y, label)}
        found.setdefault(turn.kind, []).append({"axis": turn.axis, **scores})
    return {
        "nmi": nmi(y, plain),
        "acc": accuracy(y, plain),
        "turns": {
            kind: {
                **{m: float(np.mean([one[m] for one in axes])) for m in ("same", "nmi", "acc")},
                "axes": axes,
            }
            for kind, axes in found.items()
        },
    }


def _rotation(axis: str, degrees: float) -> Matrix:
    angle, k = np.radians(degrees), _AXES.index(axis)
    i, j = (k + 1) % 3, (k + 2) % 3
    out = np.eye(3)
    out[i, i] = out[j, j] = np.cos(angle)
    out[j, i], out[i, j] = np.sin(angle), -np.sin(angle)
    return out


def _upright(acceleration: Matrix) -> Matrix:
    """The rotation (3, 3) that brings the mean of accelerations (n, 3) to x, their main direction to y."""
    mean = acceleration.mean(0)
    up = mean / max(float(np.linalg.norm(mean)), 1e-12)
    across = acceleration - acceleration @ up[:, None] * up
    direction = np.linalg.eigh(across.T @ across)[1][:, -1]
    if (np.power(across @ direction, 3)).sum() < 0.0:
        direction = -direction
    return np.stack([up, direction, np.cross(up, direction)])
