"""Whether the motion of a fleet has changed since its model was trained.

Per device. A window says two things: how far it is from its cluster for such a device, and whether it is
unknown. The first is the logarithm of its novelty less the mean of the device's earlier windows in the same
cluster, so that a day with other activities in it is not a change. Consecutive windows resemble one another,
which no detector expects; so both are averaged over blocks, and the averages go to a detector each: ADWIN,
as in ``river`` (Bifet and Gavaldà 2007, doi:10.1137/1.9781611972771.42).

Per fleet. Every device may alarm falsely now and then, and one that is worn in another way is no change of
the fleet's. So the fleet has changed when more devices did within a day than chance explains: chance being
the binomial distribution at the rate of false alarms that is granted to each.
"""

from __future__ import annotations

import importlib.util
import math
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

from disc_stream.errors import MissingExtraError
from disc_stream.types import NOT_WORN, UNKNOWN

MONTH_S = 30 * 86_400.0
_CLIP = 0.25  # of a mean log ratio: squared distances of 28 % above the usual are the end of the scale
_LEAST = 1e-3  # a novelty below that counts as that


class Detector(Protocol):
    """What is asked of a detector; those of ``river.drift`` answer."""

    @property
    def drift_detected(self) -> bool:
        """Whether the last value showed a change."""
        ...

    def update(self, x: float) -> None:
        """A further value, 0 to 1."""
        ...


MakeDetector = Callable[[], Detector]


@dataclass(frozen=True, slots=True)
class DriftRule:
    """How sure it has to be.

    Args:
        block: windows that are averaged.
        min_blocks: blocks of a device before which nothing is said of it.
        delta: confidence of ADWIN, for both signals together.
        unknown: novelty above which a window counts as unknown, too, where its model has no limits for that.
        horizon_s: changes of devices within so many seconds count together.
        false_alarms: granted per device and month.
        fleet_chance: of a false alarm of the fleet within a horizon.
        max_devices: that are watched; of more, the longest silent are forgotten.
    """

    block: int = 256
    min_blocks: int = 30
    delta: float = 2e-4
    unknown: float = 2.0
    horizon_s: float = 86_400.0
    false_alarms: float = 1.0
    fleet_chance: float = 1 / 365
    max_devices: int = 20_000


def require_river() -> None:
    """Check that the detectors are installed, without loading them.

    Raises:
        MissingExtraError: if they are not.
    """
    if importlib.util.find_spec("river") is None:
        raise MissingExtraError("drift", "a retraining on drift")


def adwin(delta: float) -> MakeDetector:
    """Makes ADWIN detectors that look at every value.

    Raises:
        MissingExtraError: if river is not installed.
    """
    require_river()
    from river.drift import ADWIN

    return lambda: ADWIN(delta=delta, clock=1)


@dataclass(slots=True)
class DeviceWatch:
    """What is kept of one device: two numbers per cluster, two sums, and two detectors."""

    rule: DriftRule
    detectors: tuple[Detector, Detector]
    usual: dict[int, tuple[int, float]] = field(default_factory=dict)
    windows: int = 0
    unknown: int = 0
    total: float = 0.0
    blocks: int = 0

    def take(self, cluster: int, novelty: float) -> bool:
        """A further window; whether it completes a block that shows a change.

        Args:
            cluster: public id, or ``UNKNOWN``.
            novelty: of the window.
        """
        value = math.log(max(novelty, _LEAST))
        count, mean = self.usual.get(cluster, (0, value))
        self.usual[cluster] = (count + 1, mean + (value - mean) / (count + 1))
        self.total += value - mean
        self.unknown += cluster == UNKNOWN or novelty > self.rule.unknown
        self.windows += 1
        return self.windows == self.rule.block and self._end_block()

    def _end_block(self) -> bool:
        mean = min(max(self.total / self.windows, -_CLIP), _CLIP)
        share = self.unknown / self.windows
        self.windows, self.unknown, self.total = 0, 0, 0.0
        self.blocks += 1
        changed = False
        for detector, value in zip(self.detectors, (0.5 + mean / (2 * _CLIP), share), strict=True):
            detector.update(value)
            changed |= detector.drift_detected
        return changed and self.blocks >= self.rule.min_blocks


class DriftWatch:
    """Watches the labels of a fleet.

    Args:
        rule: how sure it has to be.
        make: makes the detectors; ADWIN by default.

    Raises:
        MissingExtraError: if river is not installed.
    """

    def __init__(self, rule: DriftRule | None = None, make: MakeDetector | None = None) -> None:
        self.rule = rule or DriftRule()
        self._make = make or adwin(self.rule.delta / 2)  # two signals share what is granted
        self._devices: OrderedDict[str, DeviceWatch] = OrderedDict()
        self._seen_us: dict[str, int] = {}
        self._changed_us: dict[str, int] = {}
        self.changes = 0
        """Changes of devices so far."""

    def feed(self, labels: Iterable[tuple[str, int, float, int]]) -> None:
        """Further windows of any devices: device, cluster, novelty, time in Unix microseconds."""
        for device, cluster, novelty, when_us in labels:
            if cluster == NOT_WORN:
                continue
            watch = self._devices.get(device)
            if watch is None:
                watch = self._begin(device)
            self._seen_us[device] = when_us
            if watch.take(cluster, novelty):
                self.changes += 1
                self._changed_us[device] = when_us
                self._begin(device)  # what is usual for it begins anew

    def anew(self) -> DriftWatch:
        """One that knows nothing yet, by the same rule."""
        return DriftWatch(self.rule, self._make)

    def _begin(self, device: str) -> DeviceWatch:
        watch = self._devices[device] = DeviceWatch(self.rule, (self._make(), self._make()))
        self._devices.move_to_end(device)
        if len(self._devices) > self.rule.max_devices:
            gone = min(self._devices, key=lambda name: self._seen_us.get(name, 0))
            self.forget(gone)
        return watch

    def forget(self, device: str) -> None:
        """Drop a device."""
        self._devices.pop(device, None)
        self._seen_us.pop(device, None)
        self._changed_us.pop(device, None)

    def counts(self, now_us: int) -> tuple[int, int]:
        """Devices that changed within the horizon, and those that were heard and can have changed."""
        since_us = now_us - round(self.rule.horizon_s * 1e6)
        changed = sum(at_us > since_us for at_us in self._changed_us.values())
        heard = sum(
            self._seen_us[device] > since_us
            and (watch.blocks >= self.rule.min_blocks or device in self._changed_us)
            for device, watch in self._devices.items()
        )
        return changed, heard

    def alarm(self, now_us: int) -> str:
        """What has changed, in words; "" if the fleet moves as before."""
        changed, heard = self.counts(now_us)
        if not changed or changed < (needed := devices_needed(heard, self.rule)):
            return ""
        hours = self.rule.horizon_s / 3600
        return (
            f"{changed} of {heard} devices have moved unlike before within {hours:g} h; "
            f"fewer than {needed} could be chance"
        )


@lru_cache(maxsize=4096)
def devices_needed(heard: int, rule: DriftRule) -> int:
    """Fewest devices whose changes within a horizon are more than chance; at least two, where there are two.

    The k for which P(X >= k) is at most ``fleet_chance``, X being binomial with ``heard`` trials of the
    probability that a device alarms falsely within a horizon.
    """
    p = min(1.0, rule.false_alarms * rule.horizon_s / MONTH_S)
    if heard < 2 or p >= 1.0:
        return max(1, heard)
    term = math.exp(heard * math.log1p(-p))  # of X = 0
    below = term
    k = 1
    while 1.0 - below > rule.fleet_chance and k < heard:
        if term == 0.0:  # too many devices for that: their number is normal
            return math.ceil(heard * p + 3.0 * math.sqrt(heard * p * (1 - p)))
        term *= (heard - k + 1) / k * p / (1 - p)
        below += term
        k += 1
    return max(2, k)
