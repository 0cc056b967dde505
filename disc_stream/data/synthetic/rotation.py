"""Rotation matrices over time, vectorised."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def euler_matrix(yaw: Floats, pitch: Floats, roll: Floats) -> Floats:
    """Rz(yaw) Ry(pitch) Rx(roll), from segment to world.

    Args:
        yaw: (n,) radians about up.
        pitch: (n,) radians about left.
        roll: (n,) radians about forward.

    Returns:
        (n, 3, 3).
    """
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
    rows = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def rotation_vectors(matrices: Floats) -> Floats:
    """Axis times angle of rotations by less than half a turn (the logarithm of SO(3)).

    Args:
        matrices: (n, 3, 3).

    Returns:
        (n, 3) radians.
    """
    skew = np.stack(
        [
            matrices[:, 2, 1] - matrices[:, 1, 2],
            matrices[:, 0, 2] - matrices[:, 2, 0],
            matrices[:, 1, 0] - matrices[:, 0, 1],
        ],
        axis=1,
    ) / 2  # axis * sin(angle)  # fmt: skip
    sine = np.linalg.norm(skew, axis=1)
    angle = np.arctan2(sine, (np.trace(matrices, axis1=1, axis2=2) - 1) / 2)
    small = sine < 1e-9
    factor = np.where(small, 1.0, angle / np.where(small, 1.0, sine))
    return skew * factor[:, None]
