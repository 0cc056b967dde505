"""The sessions of all devices: from their batches to windows that are ready to be encoded."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from disc_stream.errors import StreamMismatchError
from disc_stream.signal.resampling import new_resampler
from disc_stream.signal.windowing import StreamWindower
from disc_stream.stream.boots import Boots
from disc_stream.stream.buffers import WindowBuffers
from disc_stream.stream.cutting import Cutter
from disc_stream.stream.device import MAX_PAST_BOOTS, Candidate, Device, PastBoot
from disc_stream.stream.joinery import Joinery
from disc_stream.stream.layout import check_rate, fit_layout
from disc_stream.stream.order import Order, Ordered
from disc_stream.stream.problems import ProblemBook
from disc_stream.stream.residents import Archive, DeviceStates, StateCodec, no_archive
from disc_stream.stream.rules import STRICT, Align, Rules, StreamCounts
from disc_stream.stream.saved import (
    SavedDevice,
    fill_grid,
    fill_order,
    load_channels,
    load_device,
    save_device,
)
from disc_stream.stream.values import Arrival, ReadyInput
from disc_stream.stream.watermark import Watermark
from disc_stream.types import Channel, SampleBatch, WindowSpec

PROGRESS = ""
"""Name under which what concerns no single device is saved."""


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """What streams are brought to.

    Args:
        channels: the model's, in its order.
        fs: the model's sampling rate in Hz.
        window: how streams are cut.
    """

    channels: tuple[Channel, ...]
    fs: float
    window: WindowSpec

    @property
    def key(self) -> str:
        """Stands for all of it: unfinished windows are of use to the same one only."""
        return repr((self.channels, self.fs, self.window))


@dataclass(frozen=True, slots=True)
class Residence:
    """Where states are.

    Args:
        max_devices: devices in memory; with more, the one silent for longest leaves it until it comes back.
        sessions: archive of the devices that are not in memory.
        parts: archive of the parts that wait for their counterparts.
    """

    max_devices: int = 20_000
    sessions: Archive = no_archive
    parts: Archive = no_archive


class _Progress(msgspec.Struct):
    watermark: tuple[int, int]
    due: list[tuple[int, str]]


def without_device(progress: bytes, device: str) -> bytes:
    """What is saved as ``PROGRESS``, without a device that is erased."""
    saved = msgspec.msgpack.decode(progress, type=_Progress)
    saved.due = [one for one in saved.due if one[1] != device]
    return msgspec.msgpack.encode(saved)


class Sessions:
    """The sessions of all devices.

    Before a batch is pushed, ``advance`` takes the time of its arrival: what has waited for too long is then
    given up first, so that the rows alone decide and not how they are read.

    Args:
        spec: what streams are brought to.
        rules: what to do where batches are missing.
        residence: where the states are.
        problems: what a person must know is told here.
        align: how many samples to pass over when a boot is joined at a device time.
    """

    def __init__(
        self,
        spec: StreamSpec,
        *,
        rules: Rules = STRICT,
        residence: Residence = Residence(),
        problems: ProblemBook | None = None,
        align: Align | None = None,
    ) -> None:
        self.counts = StreamCounts()
        self.problems = ProblemBook() if problems is None else problems
        self.watermark = Watermark()
        self.spec, self._align = spec, align
        self._model = hashlib.blake2b(spec.key.encode(), digest_size=12).hexdigest()  # in each saved device
        self._archived = residence.sessions is not no_archive
        self._buffers = WindowBuffers(spec.window.input_samples, len(spec.channels))
        self.change_rules(rules)
        self.joinery = Joinery(
            spec.channels, self.counts, self.problems,
            max_devices=residence.max_devices, archive=residence.parts,
        )  # fmt: skip
        self._states: DeviceStates[Device] = DeviceStates(
            StateCodec(
                lambda device: save_device(device, self._model),
                self._load,
                lambda device: self._buffers.give_back(device.buffer),
            ),
            residence.max_devices,
            residence.sessions,
        )
        self._due: list[tuple[int, str]] = []  # heap; entries that no device has any more are ignored

    def change_rules(self, rules: Rules) -> None:
        """From here on other rules hold."""
        spec = self.spec
        self._idle_us = round(rules.idle_s * 1e6)
        self._order = Order(rules, self.counts, self.problems)
        self._boots = Boots(rules, self.counts, self.problems)
        self._cutter = Cutter(spec.window, spec.fs, rules.bridge_s, self.counts, self.problems)

    def break_grids(self) -> None:
        """All devices in memory begin new windows at their next batch."""
        for device in self._states:
            self._cutter.break_grid(device, "")
            self._states.changed(device.name)

    def __len__(self) -> int:
        return len(self._states)

    @property
    def evicted(self) -> int:
        """Devices moved from memory to the archive so far."""
        return self._states.evicted

    @property
    def restored(self) -> int:
        """Devices that came back from the archive so far."""
        return self._states.restored

    # -- the stream -------------------------------------------------------------------------------------

    def advance(self, received_us: int) -> list[ReadyInput]:
        """Let time pass up to a row's arrival, before the row is taken.

        Args:
            received_us: server time of its arrival, Unix microseconds.

        Returns:
            The windows that are complete now, since what was missing is given up.
        """
        now_us = self.watermark.advance(received_us)
        if not self._due or self._due[0][0] > now_us:
            return []
        return self._expire(now_us)

    def finish(self) -> list[ReadyInput]:
        """Nothing comes any more: give up on everything that is missing."""
        return self._expire(2**63)

    def push(self, batch: SampleBatch, received_us: int = 0, position: int = 0) -> list[ReadyInput] | None:
        """Take the next batch of a device.

        Args:
            batch: the batch.
            received_us: server time of its arrival, Unix microseconds.
            position: of its row in the spool.

        Returns:
            The windows that are complete now, in order; None if it is a repetition or came too late.

        Raises:
            StreamMismatchError: if its rate, channels or units do not fit the model; it then counts as
                missing.
        """
        arrival = Arrival(batch, position, received_us, self.watermark.now_us)
        if self.joinery.is_whole(batch):
            return self._take(arrival)
        ready: list[ReadyInput] = []
        for joined in self.joinery.push(batch, arrival.at_us):
            ready += self._take(msgspec.structs.replace(arrival, batch=joined)) or []
        return ready

    def _take(self, arrival: Arrival) -> list[ReadyInput] | None:
        batch = arrival.batch
        check_rate(batch.fs, self.spec.fs)
        device = self._states.find(batch.device)
        if device is None:
            return self._cut(self._start(arrival), [Ordered(arrival, 0)])
        if device.channels is not batch.channels and device.channels != batch.channels:
            fit_layout(batch.channels, self.spec.channels)  # any order will do, if all are there
        self._states.changed(batch.device)
        if device.boot != batch.boot:
            return self._other_boot(device, arrival)
        if device.candidates:
            self._boots.current_heard(device, arrival)
        ordered = self._order.take(device, arrival)
        if ordered is None:
            return None
        if device.waiting or device.due_us:
            self._schedule(device)
        return self._cut(device, ordered)

    def _cut(self, device: Device, ordered: Sequence[Ordered]) -> list[ReadyInput]:
        ready: list[ReadyInput] = []
        for one in ordered:
            batch = one.arrival.batch
            if device.channels is not batch.channels:
                if device.channels != batch.channels:
                    device.layout = fit_layout(batch.channels, self.spec.channels)
                device.channels = batch.channels
            ready += self._cutter.feed(device, one)
        return ready

    # -- boots ------------------------------------------------------------------------------------------

    def _start(self, arrival: Arrival) -> Device:
        """A device's first batch."""
        batch = arrival.batch
        device = Device(batch.device, batch.boot, batch.seq)
        self._equip(device, batch)
        self._join_boot(device, arrival)
        self._states.put(batch.device, device)
        device.next_seq = (batch.seq + 1) % 2**32
        return device

    def _join_boot(self, device: Device, arrival: Arrival) -> None:
        batch = arrival.batch
        device.heard_us = arrival.at_us
        device.arrived = (batch.seq, batch.t0_us, len(batch.samples) * 1e6 / batch.fs)
        if self._align is not None:
            device.windower.pass_over(self._align(batch.device, batch.boot, batch.t0_us))
        self.counts.boots += 1

    def _other_boot(self, device: Device, arrival: Arrival) -> list[ReadyInput]:
        believed = self._boots.other_heard(device, arrival)
        ready: list[ReadyInput] = []
        for candidate in believed:
            ready += self._change_boot(device.name, candidate)
        self._schedule(self._current(device.name))
        return ready

    def _change_boot(self, name: str, candidate: Candidate) -> list[ReadyInput]:
        """The device has started anew, or goes on with a boot that was left."""
        before = self._current(name)
        ready = self._cut(before, self._order.flush(before))
        device = self._renew(before, candidate)
        self._states.put(name, device)
        for arrival in candidate.arrivals:
            ready += self._cut(device, self._order.take(device, arrival) or [])
        return ready

    def _renew(self, before: Device, candidate: Candidate) -> Device:
        """The same device in another boot."""
        first = min(
            candidate.arrivals,
            key=lambda one: (one.batch.seq - candidate.arrivals[0].batch.seq + 2**31) % 2**32,
        )
        past = [one for one in before.past_boots if one.boot != candidate.boot]
        was_here = next((one for one in before.past_boots if one.boot == candidate.boot), None)
        left = PastBoot(before.boot, before.next_seq, before.windower.windows)
        device = Device(before.name, candidate.boot, first.batch.seq)
        self._buffers.give_back(before.buffer)
        self._equip(device, first.batch)
        device.windower.number_from(0 if was_here is None else was_here.next_window)
        device.past_boots = [*past, left][-MAX_PAST_BOOTS:]
        device.candidates, device.distrust = before.candidates, before.distrust
        device.segment = before.segment + 1
        device.due_us = before.due_us
        self._join_boot(device, first)
        return device

    def _current(self, name: str) -> Device:
        device = self._states.find(name)
        assert device is not None, name  # noqa: S101 - it was found just now
        return device

    # -- time -------------------------------------------------------------------------------------------

    def _schedule(self, device: Device) -> None:
        """Note when something of the device is to be given up."""
        dues = [due for due in (self._order.due_us(device), self._boots.due_us(device)) if due]
        due_us = min(dues, default=0)
        if due_us and due_us != device.due_us:
            heapq.heappush(self._due, (due_us, device.name))
        device.due_us = due_us

    def _expire(self, now_us: int) -> list[ReadyInput]:
        ready: list[ReadyInput] = []
        while self._due and self._due[0][0] <= now_us:
            due_us, name = heapq.heappop(self._due)
            device = self._states.find(name)
            if device is None or device.due_us != due_us:
                continue
            self._states.changed(name)
            ready += self._cut(device, self._order.expire(device, now_us))
            for candidate in self._boots.expire(device, now_us):
                ready += self._change_boot(name, candidate)
            self._schedule(self._current(name))
        return ready

    def evict_idle(self) -> None:
        """Devices that have been silent for long leave the memory; this has no influence on any label."""
        now_us = self.watermark.now_us
        while self._archived and (oldest := self._states.oldest()) is not None:
            if now_us - oldest[1].heard_us <= self._idle_us:
                return
            self._states.evict()

    # -- saving -----------------------------------------------------------------------------------------

    def capture(self) -> dict[str, bytes]:
        """The state of every device that has changed since the last call, and the progress of all."""
        self.evict_idle()
        progress = _Progress(self.watermark.state(), sorted(set(self._due)))
        return {**self._states.capture(), PROGRESS: msgspec.msgpack.encode(progress)}

    def committed(self, taken: Mapping[str, bytes]) -> None:
        """What ``capture`` gave is on disk."""
        self._states.committed(taken)

    def resume(self, progress: bytes | None) -> None:
        """Continue where a progress was captured, with the devices of the archive."""
        if progress:
            saved = msgspec.msgpack.decode(progress, type=_Progress)
            self.watermark.restore(saved.watermark)
            self._due = saved.due
            heapq.heapify(self._due)

    def forget(self, name: str) -> None:
        """Drop everything known of a device."""
        self._states.forget(name)
        self._due = [one for one in self._due if one[1] != name]
        heapq.heapify(self._due)

    def _equip(self, device: Device, batch: SampleBatch) -> None:
        self._equip_as(device, batch.channels, batch.fs)

    def _equip_as(self, device: Device, channels: tuple[Channel, ...], fs: float) -> None:
        spec = self.spec
        layout = fit_layout(channels, spec.channels)
        device.buffer, rows = self._buffers.borrow()
        device.windower = StreamWindower(spec.window, len(spec.channels), rows)
        device.channels, device.layout, device.fs = channels, layout, fs
        device.resampler = new_resampler(fs, spec.fs, len(spec.channels))

    def _load(self, name: str, blob: bytes) -> Device:
        saved = load_device(blob)
        device = Device(name, saved.order.boot, saved.order.next_seq)
        try:
            self._equip_as(device, load_channels(saved.channels), saved.fs)
        except StreamMismatchError as error:
            raise ValueError(error.message) from None
        self._fill(device, saved)
        return device

    def _fill(self, device: Device, saved: SavedDevice) -> None:
        fill_order(device, saved)
        if saved.model == self._model:
            fill_grid(device, saved)
        else:  # another model cuts other windows; order and clock go on
            device.windower.number_from(saved.next_window)
            device.segment = saved.segment + 1
        self._schedule(device)
