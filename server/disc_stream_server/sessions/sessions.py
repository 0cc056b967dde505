"""The sessions of all devices of a process.

Batches are ordered by (boot, seq). A repeated or late one is dropped and counted. One that comes too early
waits for those before it, up to a number of batches and a time; then what is missing is a gap, the window
grid breaks, and nothing is ever cut across it.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from disc_stream.clustering.smoothing import StickyFilter
from disc_stream.errors import StreamMismatchError
from disc_stream.signal.deviceclock import ClockFault
from disc_stream.signal.windowing import StreamWindower
from disc_stream.types import Channel, SampleBatch, WindowSpec
from disc_stream_server.layout import Layout, check_rate, fit_layout
from disc_stream_server.sessions.buffers import WindowBuffers
from disc_stream_server.sessions.device import (
    PAST_BOOTS,
    Device,
    Saved,
    Waiting,
    fill_device,
    load_device,
    renew_device,
    save_device,
)
from disc_stream_server.sessions.rules import STRICT, Align, Archive, Rules, SessionCounts
from disc_stream_server.sessions.stream import Stream, new_resampler
from disc_stream_server.shards import ReadyInput

log = logging.getLogger(__name__)

_SEQ_MODULUS = 2**32
_SUSPICIOUS_REPEATS = 100
_FAR = 4_096  # batches; a jump so far ahead is believed only when the old numbering has ended


class Sessions:
    """The sessions of all devices of this process (a ``Shard``).

    Args:
        channels: the model's, in its order.
        fs: the model's sampling rate in Hz.
        spec: how streams are cut.
        n_clusters: K, for smoothing.
        stay: probability of staying in an activity, for smoothing.
        exponent: power of q that is a likelihood, for smoothing.
        max_devices: with more, the device silent for longest leaves the memory; it is restored through
            the archive when it comes back.
        rules: what to do where batches are missing.
        archive: where devices that are not in memory are.
        align: how many samples to pass over when a boot is joined at a device time.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        fs: float,
        spec: WindowSpec,
        *,
        n_clusters: int,
        stay: float = 0.8,
        exponent: float = 1.0,
        max_devices: int = 20_000,
        rules: Rules = STRICT,
        archive: Archive | None = None,
        align: Align | None = None,
    ) -> None:
        self.counts = SessionCounts()
        self._channels, self._fs, self._spec = tuple(channels), fs, spec
        self._new_filter = partial(StickyFilter, n_clusters, stay, exponent)
        self._model = repr((self._channels, fs, spec, n_clusters, exponent))
        self._max_devices = max_devices
        self._reorder, self._reorder_us = rules.reorder, round(rules.reorder_s * 1e6)
        self._idle_us = round(rules.idle_s * 1e6)
        self._archive, self._align = archive, align
        self._devices: OrderedDict[str, Device] = OrderedDict()  # the one heard last stands last
        self._buffers = WindowBuffers(spec.input_samples, len(self._channels))
        self._stream = Stream(spec, fs, rules.bridge_s, self.counts)
        self._deadlines: OrderedDict[str, int] = OrderedDict()  # devices with batches that wait
        self._changed: set[str] = set()
        self._leaving: dict[str, bytes] = {}  # evicted and not yet on disk

    def __len__(self) -> int:
        return len(self._devices)

    # -- the stream ---------------------------------------------------------------------------------

    def push(self, batch: SampleBatch, received_us: int = 0, position: int = 0) -> list[ReadyInput] | None:
        """Take the next batch of a device.

        Args:
            batch: the batch.
            received_us: server time of its arrival, Unix microseconds.
            position: of its row in the spool.

        Returns:
            The inputs that are complete now, in order; None if it is a repetition or came too late.

        Raises:
            StreamMismatchError: if its rate, channels or units do not fit the model; it then counts as
                missing.
        """
        check_rate(batch.fs, self._fs)
        device = self._find(batch.device)
        layout = (
            device.layout
            if device is not None and (device.channels is batch.channels or device.channels == batch.channels)
            else fit_layout(batch.channels, self._channels)
        )
        self._changed.add(batch.device)
        arrival = Waiting(batch, position, received_us)
        if device is None:
            return self._take(self._start(batch, layout), arrival, layout)
        if device.boot != batch.boot:
            return self._change_boot(device, arrival, layout)
        ahead = (batch.seq - device.next_seq) % _SEQ_MODULUS
        if ahead == 0:
            ready = self._take(device, arrival, layout)
            return ready + self._drain(device) if device.waiting else ready
        if ahead >= _SEQ_MODULUS // 2 or batch.seq in device.waiting:  # seen, or counted as missing
            self._drop(device, batch)
            return None
        if not self._reorder:
            return self._take(device, arrival, layout)
        return self._wait(device, arrival)

    def expire(self, now_us: int) -> list[ReadyInput]:
        """Let time pass: silent devices leave the memory, and missing batches are given up.

        Args:
            now_us: server time, Unix microseconds; the same clock as ``received_us``.

        Returns:
            The inputs that are complete now.
        """
        self._evict_idle(now_us)
        ready: list[ReadyInput] = []
        while self._deadlines:
            name, deadline = next(iter(self._deadlines.items()))
            if (
                0 < deadline - now_us <= self._reorder_us
            ):  # not over, nor set by a clock that was put back since
                break
            device = self._find(name)
            if device is None or not device.waiting:
                self._deadlines.pop(name)
                continue
            self._changed.add(name)
            ready += self._skip(device)
        return ready

    def smooth(self, ready: Sequence[ReadyInput], q: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Filter windows' soft assignments (n, K) over their segments; windows of a device come in order."""
        out = np.empty(q.shape)
        rows = list(range(len(ready)))
        while rows:  # one window of each device at a time
            filters: list[StickyFilter] = []
            now, later, seen = [], [], set()
            for row in rows:
                if ready[row].device in seen:
                    later.append(row)
                    continue
                seen.add(ready[row].device)
                now.append(row)
                filters.append(self._filter_of(ready[row]))
            out[now] = StickyFilter.update_each(filters, q[now])
            rows = later
        return out

    def _filter_of(self, ready: ReadyInput) -> StickyFilter:
        device = self._find(ready.device)
        if device is None or device.boot != ready.boot:  # forgotten, or started anew, since
            return self._new_filter()
        if device.smoothed_segment != ready.segment:
            device.smoothing.reset()
            device.smoothed_segment = ready.segment
        self._changed.add(ready.device)
        return device.smoothing

    def interrupt(self, name: str) -> StickyFilter:
        """Hand out a device's smoothing as it stands; its next window begins a new one."""
        device = self._find(name)
        taken = self._new_filter()
        if device is not None:
            if device.smoothed_segment == device.segment:
                taken.restore(device.smoothing.state())
            device.smoothed_segment = -1
            self._changed.add(name)
        return taken

    def new_filter(self) -> StickyFilter:
        """Smoothing that has seen nothing."""
        return self._new_filter()

    # -- memory and disk ----------------------------------------------------------------------------

    def changes(self) -> dict[str, bytes]:
        """The state of every device that has changed since the last call, to be put on disk."""
        saved = dict(self._leaving)
        for name in self._changed:
            device = self._devices.get(name)
            if device is not None:
                saved[name] = save_device(device, self._model)
        self._changed.clear()
        return saved

    def saved(self, states: dict[str, bytes]) -> None:
        """What ``changes`` gave is on disk now."""
        for name, blob in states.items():
            if self._leaving.get(name) is blob:
                del self._leaving[name]

    def forget(self, name: str) -> None:
        """Drop everything known of a device."""
        device = self._devices.pop(name, None)
        if device is not None:
            self._buffers.give_back(device.buffer)
        self._leaving.pop(name, None)
        self._deadlines.pop(name, None)
        self._changed.discard(name)

    def _find(self, name: str) -> Device | None:
        device = self._devices.get(name)
        if device is not None:
            self._devices.move_to_end(name)
            return device
        blob = self._leaving.get(name)
        if blob is None and self._archive is not None:
            blob = self._archive.session(name)
        return None if blob is None else self._restore_or_begin(name, blob)

    def _restore_or_begin(self, name: str, blob: bytes) -> Device | None:
        """A saved device; None (it begins anew) where another version has saved it in its own way."""
        try:
            saved = load_device(blob)
            return self._restore(name, saved) if saved is not None else None
        except (ValueError, TypeError, KeyError, IndexError, StreamMismatchError) as error:
            log.error("the saved state of device %s cannot be used (%s); it begins anew", name, error)  # noqa: TRY400
            self._leaving.pop(name, None)
            return None

    def _restore(self, name: str, saved: Saved) -> Device | None:
        device = Device(name, saved.boot, saved.next_seq, tuple(saved.past_boots))
        self._equip(device, saved.channels, fit_layout(saved.channels, self._channels), saved.fs)
        (fill_device if saved.model == self._model else renew_device)(device, saved)
        self._admit(device)
        if self._leaving.pop(name, None) is not None:
            self._changed.add(
                name
            )  # it is not on disk yet, and what was about to be written is old from now on
        self.counts.restored += 1
        for waiting in () if self._archive is None else self._archive.waiting(saved.waiting):
            device.waiting[waiting.batch.seq] = waiting
            self._note_deadline(device)
        return device

    def _equip(self, device: Device, channels: tuple[Channel, ...], layout: Layout, fs: float) -> None:
        device.buffer, rows = self._buffers.borrow()
        device.windower = StreamWindower(self._spec, len(self._channels), rows)
        device.smoothing = self._new_filter()
        device.channels, device.layout, device.fs = channels, layout, fs
        device.resampler = new_resampler(fs, self._fs, len(self._channels))

    def _admit(self, device: Device) -> None:
        self._devices[device.name] = device
        if len(self._devices) > self._max_devices:
            self._evict()

    def _evict(self) -> None:
        """Let the device that is silent for longest leave the memory."""
        name, silent = self._devices.popitem(last=False)
        self._leaving[name] = save_device(silent, self._model)
        self._changed.discard(name)
        self._deadlines.pop(name, None)
        self._buffers.give_back(silent.buffer)
        self.counts.evicted += 1

    def _evict_idle(self, now_us: int) -> None:
        while self._devices:
            oldest = next(iter(self._devices.values()))
            if now_us - oldest.last_us <= self._idle_us or oldest.waiting or self._archive is None:
                return
            self._evict()

    # -- order --------------------------------------------------------------------------------------

    def _start(self, batch: SampleBatch, layout: Layout, before: Device | None = None) -> Device:
        """A device's first batch, or the first of a new boot."""
        past: tuple[int, ...] = ()
        if before is not None:
            past = (*before.past_boots, before.boot)[-PAST_BOOTS:]
            self._devices.pop(before.name)
            self._buffers.give_back(before.buffer)
        device = Device(batch.device, batch.boot, batch.seq, past)
        if before is not None:
            device.segment = before.segment + 1
        self._equip(device, batch.channels, layout, batch.fs)
        if self._align is not None:
            device.windower.pass_over(self._align(batch.device, batch.boot, batch.t0_us))
        self._admit(device)
        self.counts.boots += 1
        return device

    def _change_boot(self, device: Device, arrival: Waiting, layout: Layout) -> list[ReadyInput] | None:
        """The device has started anew, or a batch of an earlier boot comes late."""
        if arrival.batch.boot in device.past_boots:
            self.counts.late += 1
            return None
        ready: list[ReadyInput] = []
        while device.waiting:
            ready += self._skip(device)
        return ready + self._take(self._start(arrival.batch, layout, device), arrival, layout)

    def _wait(self, device: Device, arrival: Waiting) -> list[ReadyInput]:
        """A batch is early: those before it may still come."""
        device.waiting[arrival.batch.seq] = arrival
        self.counts.reordered += 1
        self._note_deadline(device)
        ready: list[ReadyInput] = []
        while len(device.waiting) > self._reorder:
            ready += self._skip(device)
        return ready

    def _note_deadline(self, device: Device) -> None:
        if device.waiting and device.name not in self._deadlines:
            oldest = min(one.received_us for one in device.waiting.values())
            self._deadlines[device.name] = oldest + self._reorder_us

    def _skip(self, device: Device) -> list[ReadyInput]:
        """Give up on what is missing before the earliest batch that waits."""
        seq = min(device.waiting, key=lambda seq: (seq - device.next_seq) % _SEQ_MODULUS)
        first = device.waiting.pop(seq)
        self._deadlines.pop(device.name, None)
        ahead = (seq - device.next_seq) % _SEQ_MODULUS
        if ahead > _FAR and device.last_us > first.received_us:
            self.counts.stray += 1
            log.warning(
                "device %s: batch %d is far from the others (%d is next) and is dropped",
                device.name, seq, device.next_seq,
            )  # fmt: skip
            ready = []
        else:
            ready = self._take(device, first, fit_layout(first.batch.channels, self._channels))
        ready += self._drain(device)
        self._note_deadline(device)
        return ready

    def _drain(self, device: Device) -> list[ReadyInput]:
        """Take the batches that had to wait for the one just taken."""
        ready: list[ReadyInput] = []
        while (waiting := device.waiting.pop(device.next_seq, None)) is not None:
            ready += self._take(device, waiting, fit_layout(waiting.batch.channels, self._channels))
        if not device.waiting:
            self._deadlines.pop(device.name, None)
        return ready

    def _drop(self, device: Device, batch: SampleBatch) -> None:
        first, count = device.last_gap
        if (batch.seq - first) % _SEQ_MODULUS < count:
            self.counts.late += 1
        else:
            self.counts.duplicates += 1
        device.repeats += 1
        if device.repeats == _SUSPICIOUS_REPEATS:
            log.warning(
                "device %s: %d batches in a row repeat earlier ones and are dropped; "
                "a device that restarts must use a new boot id",
                batch.device, device.repeats,
            )  # fmt: skip

    def _take(self, device: Device, arrival: Waiting, layout: Layout) -> list[ReadyInput]:
        """Take the next batch in order; whatever is missing before it is a gap."""
        batch = arrival.batch
        ahead = (batch.seq - device.next_seq) % _SEQ_MODULUS
        if ahead:
            self.counts.gaps += 1
            self.counts.missing += ahead
            device.last_gap = (device.next_seq, ahead)
        device.next_seq = (batch.seq + 1) % _SEQ_MODULUS
        device.repeats = 0
        device.last_us = arrival.received_us
        if device.channels is not batch.channels:
            if device.channels != batch.channels:
                self._stream.break_grid(device)
                device.layout = layout
            device.channels = batch.channels
        before = device.fault
        ready = self._stream.feed(device, arrival, ahead)
        if device.fault is not before:
            self._note_fault(device)
        return ready

    def _note_fault(self, device: Device) -> None:
        if device.fault is ClockFault.NONE:
            return
        name = str(device.fault)
        self.counts.clock_faults[name] = self.counts.clock_faults.get(name, 0) + 1
        if self.counts.clock_faults[name] <= _SUSPICIOUS_REPEATS:
            log.warning("device %s: its clock is at fault (%s)", device.name, name)
