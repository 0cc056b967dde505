"""Metrics of single devices, for small fleets: so many devices, and no more."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from disc_stream.clock import Clock
from disc_stream.types import Label, Problem, SampleBatch
from disc_stream_server.metrics.snapshot import DeviceFacts

_NEW = DeviceFacts(0, 0, 0, 0)


class DeviceBook:
    """An observer that counts by device, of those that were heard last.

    Each label of a metric is a series of its own in Prometheus, which keeps it for as long as its data. So
    there are none of devices unless somebody asks for them, and never more than ``most``.

    Args:
        most: devices that are counted.
        clock: time.
    """

    def __init__(self, most: int, clock: Clock) -> None:
        self._most, self._clock = most, clock
        self._devices: OrderedDict[str, DeviceFacts] = OrderedDict()
        self._shown: Mapping[str, DeviceFacts] = {}

    def shown(self) -> Mapping[str, DeviceFacts]:
        """As of the last status; from any thread."""
        return self._shown

    def on_batch(self, batch: SampleBatch) -> None:
        """One more batch of its device."""
        facts = self._devices.get(batch.device, _NEW)
        now_us = self._clock.unix_us()
        self._devices[batch.device] = replace(facts, batches=facts.batches + 1, heard_us=now_us)
        self._devices.move_to_end(batch.device)
        if len(self._devices) > self._most:
            self._devices.popitem(last=False)

    def on_label(self, label: Label) -> None:
        """One more label of its device."""
        facts = self._devices.get(label.device)
        if facts is not None:
            now = replace(facts, labels=facts.labels + 1, labelled_us=label.published_us)
            self._devices[label.device] = now

    def on_status(self, _status: dict[str, Any]) -> None:
        """What is shown from now on."""
        self._shown = dict(self._devices)

    def on_problem(self, device: str, problem: Problem | None) -> None:
        """Not counted: ``devices_with_problem`` says how many there are."""

    def on_forget(self, device: str) -> None:
        """Drop a device that was erased."""
        self._devices.pop(device, None)
        self._shown = dict(self._devices)
