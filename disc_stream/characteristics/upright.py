"""Which way is up for the wearer: the sensor's direction of gravity while its wearer walks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from disc_stream.characteristics.measures import MODERATE_MG, Measures, angle_between
from disc_stream.characteristics.sensors import Floats

WALKING_HZ = (1.2, 2.4)
"""Steps per second from slow to fast walking, chosen here around the ranges of Öberg, Karsznia and Öberg 1993
(J Rehabil Res Dev 30:210)."""

_HARDEST_MG = 700.0  # people who walk stay below
_REGULAR = 0.5
_FEWEST = 5  # windows
_SPREAD_DEG = 30.0
_AGREE = 0.95  # mean resultant length from which directions agree: about 18° of angular deviation


def upright_directions(measures: Measures, device: npt.NDArray[np.intp], n_devices: int) -> Floats:
    """For every device the direction that is up in its axes while its wearer walks.

    People walk upright, so this is the reference from which the tilt of a posture is taken (Vähä-Ypyä et al.
    2018, doi:10.1111/sms.13017). A device whose wearer was not seen to walk has the fleet's direction, if the
    others agree on one.

    Args:
        measures: of n windows.
        device: (n,) number of the device.
        n_devices: how many there are.

    Returns:
        (n_devices, 3) unit vectors; NaN where nothing is known.
    """
    walks = _walks(measures)
    out = np.full((n_devices, 3), np.nan)
    for number in range(n_devices):
        out[number] = _common_direction(measures.gravity[walks & (device == number)])
    known = np.isfinite(out[:, 0])
    if known.any() and not known.all():
        out[~known] = _agreed(out[known])
    return out


def tilts(measures: Measures, device: npt.NDArray[np.intp], upright: Floats) -> Floats:
    """Angle of each window's gravity from its device's upright direction, in degrees: (n,)."""
    return angle_between(measures.gravity, upright[device])


def relative_to_walking(values: Floats, measures: Measures, device: npt.NDArray[np.intp]) -> Floats:
    """Values of windows (n,) over their median while the same device's wearer walks.

    Walkers differ more from each other than a staircase does from the level, so what clusters have in common
    is seen in such ratios. NaN for a device whose wearer was not seen to walk.
    """
    walks, out = _walks(measures), np.full(len(values), np.nan)
    for number in np.unique(device):
        mine = device == number
        if (walks & mine).sum() >= _FEWEST:
            usual = float(np.median(values[walks & mine]))
            out[mine] = values[mine] / usual if usual > 0 else np.nan
    return out


def _walks(measures: Measures) -> npt.NDArray[np.bool_]:
    """Which windows are walking, on the level or on stairs."""
    walks: npt.NDArray[np.bool_] = (
        (measures.regularity >= _REGULAR)
        & (measures.mad >= MODERATE_MG)
        & (measures.mad <= _HARDEST_MG)
        & (measures.hz >= WALKING_HZ[0])
        & (measures.hz <= WALKING_HZ[1])
    )
    return walks


def _common_direction(vectors: Floats) -> Floats:
    """The direction that most of some unit vectors (n, 3) have; NaN if they have none in common."""
    nothing = np.full(3, np.nan)
    if len(vectors) < _FEWEST:
        return nothing
    centre = np.median(vectors, axis=0)
    for _ in range(2):
        length = float(np.linalg.norm(centre))
        if length < 1e-9:
            return nothing
        near = angle_between(vectors, centre / length) <= _SPREAD_DEG
        if near.sum() < max(_FEWEST, len(vectors) // 2):
            return nothing
        centre = vectors[near].mean(0)
    out: Floats = centre / np.linalg.norm(centre)
    return out


def _agreed(directions: Floats) -> Floats:
    mean: Floats = directions.mean(0)
    length = float(np.linalg.norm(mean))
    return mean / length if length >= _AGREE else np.full(3, np.nan)
