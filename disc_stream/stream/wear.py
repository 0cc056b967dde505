"""Whether a device is worn, window by window: long stillness of every axis.

The published rules look at an hour of samples (see ``disc_stream.signal.nonwear``). Here a stretch of still
windows grows with the stream, in memory that does not grow with it: each axis must have little deviation
within each window, and its level must stay within the published range over the whole stretch.

A body at rest is nearly as still as a table: breath, pulse and muscles move a sensor by a few mg, slowly,
while what a sensor on a table reports is noise, equally strong at all frequencies. So there are two
durations. A stretch whose deviations look like noise is not worn after half an hour; any other only after
more than two hours, since longer stretches lower the number of sleepers taken for a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from disc_stream.signal.nonwear import RANGE_MG, SD_MG
from disc_stream.signal.units import STANDARD_GRAVITY, conversion_factor
from disc_stream.types import Channel

_ACCELERATION, _RATE = ("g", "mg", "m/s2"), ("rad/s", "deg/s", "mdps")
_MG = 1000.0 / STANDARD_GRAVITY
_BLOCKS = 8
_LARGEST_RATIO = 10.0


@dataclass(frozen=True, slots=True)
class WearRule:
    """When a device is not worn.

    Args:
        sd_mg: an axis with less deviation within a window is still (van Hees et al. 2013).
        range_mg: the level of each axis stays within this over a stretch (the same).
        rate_sd: the same for a gyroscope's axis, rad/s; chosen here, several times the noise of such sensors.
        noise_s: stretch after which a sensor with nothing but noise is not worn (van Hees et al. 2011).
        still_s: stretch after which any still sensor is. Longer than in the published rules: longer windows
            lower the false alarms (Syed et al. 2020, doi:10.1038/s41598-020-62821-2).
        noise_ratio: mean ratio of slow to fast deviations up to which they look like noise; 1 for white.
        gap_s: longest gap in a stream that a stretch survives.
    """

    sd_mg: float = SD_MG
    range_mg: float = RANGE_MG
    rate_sd: float = 0.02
    noise_s: float = 1800.0
    still_s: float = 8100.0
    noise_ratio: float = 1.3
    gap_s: float = 60.0


class WearState(msgspec.Struct, array_like=True, frozen=True):
    """What is known of one device; a new one is worn.

    Args:
        boot: of the last window.
        t0_us: device clock at its begin.
        still_us: length of the present stretch of still windows; 0 if the last one moved.
        windows: in the stretch.
        ratio_sum: sum of their ratios of slow to fast deviations.
        low: lowest level of each axis of acceleration in the stretch, mg.
        high: highest.
        worn: whether the device is worn.
        since_us: device clock at the window with which the present state began.
    """

    boot: int = 0
    t0_us: int = 0
    still_us: int = 0
    windows: int = 0
    ratio_sum: float = 0.0
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    worn: bool = True
    since_us: int = 0


class WearDetector:
    """Follows devices of one layout of channels; holds no state of its own.

    Args:
        channels: of the windows.
        hop_s: seconds from window to window.
        rule: durations and thresholds.
    """

    def __init__(self, channels: Sequence[Channel], hop_s: float, rule: WearRule | None = None) -> None:
        self._rule = rule or WearRule()
        self._hop_us = round(hop_s * 1e6)
        self._acc = [k for k, channel in enumerate(channels) if channel.unit in _ACCELERATION]
        self._rate = [k for k, channel in enumerate(channels) if channel.unit in _RATE]
        self._to_mg = np.array([conversion_factor(channels[k].unit, "m/s2") * _MG for k in self._acc])
        self._to_rad = np.array([conversion_factor(channels[k].unit, "rad/s") for k in self._rate])

    @property
    def can_tell(self) -> bool:
        """Whether there is acceleration in a known unit; without, every device counts as worn."""
        return bool(self._acc)

    def update(
        self, state: WearState | None, boot: int, t0_us: int, samples: npt.NDArray[np.floating]
    ) -> WearState:
        """The state after one more window of a device. O(1), deterministic.

        A window that moves ends the stretch: the device is worn at once. So does a new boot, or a gap longer
        than ``gap_s``: who knows what happened meanwhile. The time of a shorter gap is not counted.

        Args:
            state: after the window before; None for a device's first.
            boot: of the device.
            t0_us: device clock at the window's begin, microseconds.
            samples: (T, C), what the encoder reads, in the channels' units; if not all are finite, the state
                stays as it is.
        """
        if not self._acc or not np.isfinite(samples).all():
            return state or WearState(boot, t0_us, since_us=t0_us)
        before = self._continued(state, boot, t0_us)
        acc = samples[:, self._acc].astype(np.float64) * self._to_mg
        if not self._is_still(acc, samples):
            return self._begun(before, boot, t0_us, still_us=0)
        level = acc.mean(0)
        grown = self._grown(before, t0_us, level, _slow_to_fast(acc))
        if grown is None:
            return self._begun(before, boot, t0_us, still_us=self._hop_us, level=level, acc=acc)
        return grown

    def _continued(self, state: WearState | None, boot: int, t0_us: int) -> WearState:
        """The state to go on from: the old one, or a new one behind a boot or a gap."""
        if state is None or state.boot != boot:
            return WearState(boot, t0_us, since_us=t0_us)
        if not 0 < t0_us - state.t0_us <= self._rule.gap_s * 1e6:
            return WearState(boot, t0_us, since_us=t0_us if not state.worn else state.since_us)
        return state

    def _is_still(self, acc: npt.NDArray[np.float64], samples: npt.NDArray[np.floating]) -> bool:
        rule = self._rule
        if (acc.std(0) >= rule.sd_mg).any() or (np.ptp(acc, axis=0) >= rule.range_mg).any():
            return False
        rate = samples[:, self._rate].astype(np.float64) * self._to_rad
        return not (rate.std(0) >= rule.rate_sd).any()

    def _grown(
        self, before: WearState, t0_us: int, level: npt.NDArray[np.float64], ratio: float
    ) -> WearState | None:
        """The stretch with one more still window; None if it begins with this one."""
        if before.windows == 0:
            return None
        low, high = np.minimum(before.low, level), np.maximum(before.high, level)
        if (high - low >= self._rule.range_mg).any():
            return None
        step = t0_us - before.t0_us
        still_us = before.still_us + (step if step <= 1.5 * self._hop_us else self._hop_us)
        windows, ratio_sum = before.windows + 1, before.ratio_sum + ratio
        worn = before.worn and not self._too_long(still_us, ratio_sum / windows)
        return WearState(
            before.boot,
            t0_us,
            still_us,
            windows,
            ratio_sum,
            tuple(low.tolist()),
            tuple(high.tolist()),
            worn,
            t0_us if worn != before.worn else before.since_us,
        )

    def _too_long(self, still_us: int, ratio: float) -> bool:
        rule = self._rule
        needed = rule.noise_s if ratio <= rule.noise_ratio else rule.still_s
        return still_us >= needed * 1e6

    def _begun(
        self,
        before: WearState,
        boot: int,
        t0_us: int,
        still_us: int,
        level: npt.NDArray[np.float64] | None = None,
        acc: npt.NDArray[np.float64] | None = None,
    ) -> WearState:
        """Worn, with a stretch that begins with this window or, if it moves, with none."""
        levels = () if level is None else tuple(level.tolist())
        return WearState(
            boot,
            t0_us,
            still_us,
            windows=0 if acc is None else 1,
            ratio_sum=0.0 if acc is None else _slow_to_fast(acc),
            low=levels,
            high=levels,
            worn=True,
            since_us=before.since_us if before.worn else t0_us,
        )


def _slow_to_fast(acc: npt.NDArray[np.float64]) -> float:
    """Variance of the means of eighths of a window, over what white noise of the same fast part would have.

    The fast part is taken from differences of successive samples, as in von Neumann's ratio (1941,
    doi:10.1214/aoms/1177731677). 1 on average for white noise, more where there is slow motion; 0 if nothing
    varies at all. At most 10, so that one window does not outweigh an hour.

    Args:
        acc: (T, axes).
    """
    length = len(acc) // _BLOCKS
    if length < 2:
        return _LARGEST_RATIO
    fast = float(np.square(np.diff(acc, axis=0)).mean(0).sum()) / 2
    means = acc[: _BLOCKS * length].reshape(_BLOCKS, length, -1).mean(1)
    slow = float(means.var(0, ddof=1).sum()) * length
    return 0.0 if slow == 0.0 else min(_LARGEST_RATIO, slow / max(fast, 1e-12))
