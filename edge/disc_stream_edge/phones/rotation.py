"""Do acceleration and angular rate belong together? In the phone's frame gravity turns as the phone does.

Where the phone turns with angular rate w, gravity g in its own frame changes as dg/dt = -w x g. So the
gyroscope predicts how the acceleration changes, whatever the sign of that; the slope of the prediction tells
degrees from radians, and the permutation of the gyroscope's axes that predicts best tells whose
frame it measures in.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
import numpy.typing as npt

_Floats = npt.NDArray[np.float64]

STEP_S = 0.1
_MIN_TURN = 3.0  # m/s³, root mean square: 18 degrees a second
_MIN_STEPS = 20
_GOOD, _BETTER = 0.8, 0.3


@dataclass(frozen=True, slots=True)
class Agreement:
    """How the gyroscope predicts the acceleration.

    Args:
        slope: change of the acceleration over the predicted one; 1 is right.
        correlation: of the two, -1 to 1.
        axes: the gyroscope's readings as they should be, such as ``("y", "-x", "z")``.
    """

    slope: float
    correlation: float
    axes: tuple[str, str, str]


def agreement(acc: _Floats, gyro: _Floats) -> Agreement | None:
    """Compare both sensors.

    Args:
        acc: (n, 3) means over steps of ``STEP_S``, m/s².
        gyro: (n, 3) the same of the angular rate.

    Returns:
        None where the phone was turned too little to tell, or nothing fits: other acceleration hides gravity.
    """
    if len(acc) < _MIN_STEPS:
        return None
    change = np.diff(acc, axis=0) / STEP_S
    if float(np.sqrt((change**2).sum(axis=1).mean())) < _MIN_TURN:
        return None
    middle, rate = (acc[1:] + acc[:-1]) / 2, (gyro[1:] + gyro[:-1]) / 2
    scores = {}
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            predicted = -np.cross(rate[:, order] * signs, middle)
            scores[order, signs] = _fit(predicted, change)
    straight = scores[(0, 1, 2), (1.0, 1.0, 1.0)]
    best = max(scores, key=lambda key: scores[key][1])
    if scores[best][1] < _GOOD:
        return None
    if straight[1] > scores[best][1] - _BETTER:
        best = (0, 1, 2), (1.0, 1.0, 1.0)
    axes = [("" if sign > 0 else "-") + "xyz"[axis] for axis, sign in zip(*best, strict=True)]
    return Agreement(scores[best][0], straight[1], (axes[0], axes[1], axes[2]))


def _fit(predicted: _Floats, observed: _Floats) -> tuple[float, float]:
    """Slope and correlation, without an offset."""
    both, own = float((predicted * observed).sum()), float((predicted**2).sum())
    other = float((observed**2).sum())
    return (0.0, 0.0) if own == 0 or other == 0 else (both / own, both / float(np.sqrt(own * other)))
