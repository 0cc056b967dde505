"""Whether a device is worn, window by window: long stillness of every axis.

The published rules look at an hour of samples (see ``disc_stream.signal.nonwear``). Here stretches of still
windows grow with the stream, in memory that does not grow with it: every axis must have little deviation
within each window, and its level must stay within a range over the whole stretch.

Within a window, a body at rest is nearly as still as a table. What tells them apart is the level: it creeps,
by tens of mg within minutes, as muscles give way and breath comes and goes, where a sensor on a table only
cools down. So there are two kinds of stretch: one with a narrow range, which needs half an hour, and one with
the published range, which needs more than two hours, longer than people usually lie without turning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from disc_stream.signal.nonwear import RANGE_MG, SD_MG
from disc_stream.signal.units import STANDARD_GRAVITY, conversion_factor
from disc_stream.types import Channel

_ACCELERATION, _RATE = ("g", "mg", "m/s2"), ("rad/s", "deg/s", "mdps")
_MG = 1000.0 / STANDARD_GRAVITY

Levels = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Stillness:
    """One way not to be worn.

    Args:
        range_mg: the level of every axis, which is its mean over a window, stays within this.
        seconds: for this long.
    """

    range_mg: float
    seconds: float


@dataclass(frozen=True, slots=True)
class WearRule:
    """When a device is not worn: as soon as one of the ways is fulfilled.

    Args:
        sd_mg: an axis with less deviation within a window is still (van Hees et al. 2013,
            doi:10.1371/journal.pone.0061691).
        rate_sd: the same for a gyroscope's axis, rad/s; chosen here, several times the noise of such sensors.
        ways: the one with the widest range last. By default 6 mg for 30 minutes and 50 mg for 135 minutes.
            The duration of the first and the range of the second are those of van Hees et al. 2011 and 2013.
            The 6 mg are chosen here, from how far the level of resting people moves. The second lasts longer
            than the published hour: longer windows lower the false alarms (Syed et al. 2020,
            doi:10.1038/s41598-020-62821-2).
        gap_s: longest gap in a stream that a stretch survives.
    """

    sd_mg: float = SD_MG
    rate_sd: float = 0.02
    ways: tuple[Stillness, ...] = (Stillness(6.0, 1800.0), Stillness(RANGE_MG, 8100.0))
    gap_s: float = 60.0


class Stretch(msgspec.Struct, array_like=True, frozen=True):
    """Still windows in a row whose levels stay within a range.

    Args:
        still_us: how long they are.
        low: lowest level of each axis of acceleration, mg; empty for no window.
        high: highest.
    """

    still_us: int = 0
    low: Levels = ()
    high: Levels = ()


class WearState(msgspec.Struct, array_like=True, frozen=True):
    """What is known of one device; a new one is worn.

    Args:
        boot: of the last window.
        t0_us: device clock at its begin.
        worn: whether the device is worn.
        since_us: device clock at the begin of the window with which that began.
        stretches: one for each way of the rule.
    """

    boot: int = 0
    t0_us: int = 0
    worn: bool = True
    since_us: int = 0
    stretches: tuple[Stretch, ...] = ()


class Looks(NamedTuple):
    """What is seen of n windows.

    Args:
        still: whether nothing moves in it.
        finite: whether it can be used.
        level: mean of each axis of acceleration, mg.
    """

    still: list[bool]
    finite: list[bool]
    level: list[list[float]]


class WearDetector:
    """Follows devices of one layout of channels; the state of a device is the caller's.

    Args:
        channels: of the windows.
        hop_s: seconds from window to window.
        rule: durations and thresholds.
    """

    def __init__(self, channels: Sequence[Channel], hop_s: float, rule: WearRule | None = None) -> None:
        self._rule = rule or WearRule()
        self._hop_us = round(hop_s * 1e6)
        self._gap_us = round(max(self._rule.gap_s, 1.5 * hop_s) * 1e6)
        self._acc = [k for k, channel in enumerate(channels) if channel.unit in _ACCELERATION]
        self._rate = [k for k, channel in enumerate(channels) if channel.unit in _RATE]
        self._to_mg = np.array([conversion_factor(channels[k].unit, "m/s2") * _MG for k in self._acc])
        self._max_variance = np.full(len(channels), np.inf)  # in the channels' own units
        for k, factor in zip(self._acc, self._to_mg, strict=True):
            self._max_variance[k] = (self._rule.sd_mg / factor) ** 2
        for k in self._rate:
            self._max_variance[k] = (self._rule.rate_sd / conversion_factor(channels[k].unit, "rad/s")) ** 2

    @property
    def can_tell(self) -> bool:
        """Whether there is acceleration in a known unit; without, every device counts as worn."""
        return bool(self._acc)

    def look(self, samples: npt.NDArray[np.floating]) -> Looks:
        """Deviation and level of many windows (n, T, C), in few passes: this is done for every window."""
        first = samples[:, :1]
        offset = samples - first  # small numbers, so that squares lose nothing that counts here
        average = np.full((1, samples.shape[1]), 1 / samples.shape[1], dtype=offset.dtype)
        mean = (average @ offset)[:, 0]  # a product of matrices: several times faster than sums over an axis
        variance = (average @ np.square(offset, out=offset))[:, 0] - np.square(mean)
        level = (first[:, 0] + mean)[:, self._acc].astype(np.float64) * self._to_mg
        still = (variance < self._max_variance).all(axis=1)
        return Looks(still.tolist(), np.isfinite(variance).all(axis=1).tolist(), level.tolist())

    def update(
        self, state: WearState | None, boot: int, t0_us: int, samples: npt.NDArray[np.floating]
    ) -> WearState:
        """The state after one more window of a device. O(1), deterministic.

        A window that moves ends all stretches: the device is worn at once. So does a new boot, or a gap
        longer than ``gap_s``: who knows what happened meanwhile. The time of a shorter gap is not counted.

        Args:
            state: after the window before; None for a device's first, or if a rule with other ways made it.
            boot: of the device.
            t0_us: device clock at the window's begin, microseconds.
            samples: (T, C), what the encoder reads, in the channels' units; if not all are finite, the window
                is passed over.
        """
        looks = self.look(samples[None]) if self._acc else None
        if looks is None or not looks.finite[0]:
            return state or self._new(boot, t0_us)
        if not looks.still[0]:
            before = self._continued(state, boot, t0_us)
            return self._with(before, t0_us, tuple(Stretch() for _ in self._rule.ways), worn=True)
        return self.rest(state, boot, t0_us, tuple(looks.level[0]))

    def rest(self, state: WearState | None, boot: int, t0_us: int, level: Levels) -> WearState:
        """The state after one more window that is still and finite; ``update`` says what the others are.

        Args:
            state: as in ``update``.
            boot: as there.
            t0_us: as there.
            level: mean of each axis of acceleration, mg; see ``look``.
        """
        before = self._continued(state, boot, t0_us)
        step = t0_us - before.t0_us
        counted = step if 0 < step <= 1.5 * self._hop_us else self._hop_us
        stretches = tuple(
            _grown(stretch, level, way.range_mg, counted, self._hop_us)
            for stretch, way in zip(before.stretches, self._rule.ways, strict=True)
        )
        return self._with(before, t0_us, stretches, worn=not self._fulfilled(before, stretches))

    def _fulfilled(self, before: WearState, stretches: tuple[Stretch, ...]) -> bool:
        """Whether it is not worn now: one way is fulfilled, or it was not worn and still lies where it lay.

        A stretch that began anew, because a level left its range, ends what that way had found.
        """
        return any(
            stretch.still_us >= way.seconds * 1e6
            for stretch, way in zip(stretches, self._rule.ways, strict=True)
        ) or (not before.worn and stretches[-1].still_us > before.stretches[-1].still_us > 0)

    def _continued(self, state: WearState | None, boot: int, t0_us: int) -> WearState:
        """The state to go on from: the old one, or a new one behind a boot or a gap."""
        if state is None or state.boot != boot or len(state.stretches) != len(self._rule.ways):
            return self._new(boot, t0_us)
        return state if 0 < t0_us - state.t0_us <= self._gap_us else self._new(boot, t0_us)

    def _new(self, boot: int, t0_us: int) -> WearState:
        return WearState(boot, t0_us, True, t0_us, tuple(Stretch() for _ in self._rule.ways))

    @staticmethod
    def _with(before: WearState, t0_us: int, stretches: tuple[Stretch, ...], *, worn: bool) -> WearState:
        since_us = before.since_us if worn == before.worn else t0_us
        return WearState(before.boot, t0_us, worn, since_us, stretches)


def _grown(stretch: Stretch, level: Levels, range_mg: float, counted_us: int, hop_us: int) -> Stretch:
    """The stretch with one more still window, or a new one that begins with it."""
    if not stretch.low:
        return Stretch(hop_us, level, level)
    low, high = tuple(map(min, stretch.low, level)), tuple(map(max, stretch.high, level))
    if any(top - bottom >= range_mg for bottom, top in zip(low, high, strict=True)):
        return Stretch(hop_us, level, level)
    return Stretch(stretch.still_us + counted_us, low, high)
