"""Says in the log who is heard and labelled for the first time, so that a first start is not silent."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from disc_stream.clock import Clock, SystemClock
from disc_stream.types import Label, Problem, SampleBatch

log = logging.getLogger(__name__)

MAX_NAMED = 5
"""Devices that are named one by one; of the others there is only the number."""

SUMMARY_S = 60.0
"""Seconds between two lines that say how many devices there are, if their number has grown."""


class Announcements:
    """An observer that logs the first batch and the first label of the first devices, then numbers alone.

    Its memory does not grow with the number of devices.

    Args:
        clock: time.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._labelled: dict[str, bool] = {}  # of the devices that are named, whether a label was announced
        self._unlabelled = 0
        self._told = 0
        self._next_summary = float("-inf")

    def on_batch(self, batch: SampleBatch) -> None:
        """Announce a device that is new."""
        if len(self._labelled) >= MAX_NAMED or batch.device in self._labelled:
            return
        self._labelled[batch.device] = False
        self._unlabelled += 1
        channels = ", ".join(channel.name for channel in batch.channels)
        log.info("first samples of %s: %s at %g Hz", batch.device, channels, batch.fs)
        if len(self._labelled) == MAX_NAMED:
            log.info("further devices are only counted; disc-stream watch shows all of them")

    def on_label(self, label: Label) -> None:
        """Announce the first label of a device."""
        if not self._unlabelled or self._labelled.get(label.device, True):
            return
        self._labelled[label.device] = True
        self._unlabelled -= 1
        log.info(
            "first label of %s: %s (confidence %.2f)", label.device, label.best.name, label.best.confidence
        )

    def on_problem(self, device: str, problem: Problem | None) -> None:
        """Not announced: the page, ``watch`` and the device's own problem topic say it."""

    def on_forget(self, device: str) -> None:
        """Drop its name; if it comes back it is announced as a new one."""
        if self._labelled.pop(device, True) is False:
            self._unlabelled -= 1

    def on_status(self, status: dict[str, Any]) -> None:
        """Say how many devices there are, once more than those named have come.

        A server that only collects knows no devices: it says how many messages it has stored.
        """
        counters = status["counters"]
        if "devices" not in counters:
            self._summarise(_stored(counters), "%d messages stored so far")
        elif counters["devices"] > MAX_NAMED:
            self._summarise(counters["devices"], f"%d devices, {counters.get('labels', 0)} labels so far")

    def _summarise(self, number: int, text: str) -> None:
        """Log a number that has grown, at most once a minute."""
        if number > self._told and self._clock.monotonic() >= self._next_summary:
            self._told = number
            self._next_summary = self._clock.monotonic() + SUMMARY_S
            log.info(text, number)


def _stored(counters: Mapping[str, int]) -> int:
    """Messages that were kept since the start; not the spool's rows, some of which only tell the time."""
    return counters.get("received", 0) - counters.get("over_quota", 0) - counters.get("empty", 0)
