"""Random motion that is smooth: white noise through three equal low-pass stages.

Muscles move limbs with continuous acceleration. The process is twice differentiable, so that the angular
rate and acceleration derived from it stay finite however small the time step is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_STAGES = 3


class SmoothNoise:
    """Independent smooth random processes of unit variance, computed in blocks.

    Args:
        rng: source of randomness, used for nothing else.
        time_constants_s: one per process; each stage follows its input with this delay.
        fs: samples per second.
    """

    def __init__(self, rng: np.random.Generator, time_constants_s: Floats, fs: float) -> None:
        self._rng = rng
        self._pole = np.exp(-1.0 / (time_constants_s * fs))
        self._gain = np.array([_unit_gain(pole) for pole in self._pole])
        self._state = np.zeros((_STAGES, len(time_constants_s)))

    def block(self, n: int) -> Floats:
        """The next ``n`` values of every process, (n, n_processes)."""
        white = self._rng.standard_normal((n, len(self._pole))) * self._gain
        out: Floats = np.empty_like(white)
        first, second, third = self._state
        follow = 1.0 - self._pole
        for k in range(n):
            first += follow * (white[k] - first)
            second += follow * (first - second)
            third += follow * (second - third)
            out[k] = third
        return out


def _unit_gain(pole: float) -> float:
    """Factor that brings the output of the three stages to variance one."""
    k = np.arange(int(40 / -np.log(pole)) + 2)
    impulse = (1 - pole) ** 3 * (k + 1) * (k + 2) / 2 * pole**k
    return float(1.0 / np.sqrt(np.sum(impulse**2)))
