"""The published rule for times in which an accelerometer is not worn, on whole recordings: a reference.

``disc_stream.stream.wear`` is the form for live streams.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SD_MG = 13.0
"""Standard deviation of an axis below which nothing moves it: noise of the sensors that the rule is from."""

RANGE_MG = 50.0
"""Difference of the largest and the smallest value of an axis."""

_BLOCK_S = 900.0


def van_hees_nonwear(
    acceleration: npt.NDArray[np.floating], fs: float, *, hours: float = 1.0, axes: int = 2
) -> npt.NDArray[np.bool_]:
    """Blocks of 15 minutes in which the sensor is not worn.

    A block is not worn if, in the window of 60 minutes around it, the standard deviation of at least two axes
    is below 13 mg and their range below 50 mg (van Hees et al. 2013, doi:10.1371/journal.pone.0061691; with
    30 minutes van Hees et al. 2011, doi:10.1371/journal.pone.0022922). The recording's ends use what there
    is.

    Args:
        acceleration: (n_samples, 3) in mg.
        fs: samples per second.
        hours: length of the window; 0.5 for the rule of 2011.
        axes: how many of the three must be still.

    Returns:
        (n_blocks,) complete blocks.
    """
    block = round(_BLOCK_S * fs)
    reach = round((hours * 3600.0 * fs - block) / 2)
    out = []
    for start in range(0, len(acceleration) - block + 1, block):
        around = acceleration[max(0, start - reach) : start + block + reach]
        quiet = (around.std(0) < SD_MG) & (np.ptp(around, axis=0) < RANGE_MG)
        out.append(int(quiet.sum()) >= axes)
    return np.array(out, dtype=np.bool_)
