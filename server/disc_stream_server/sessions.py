"""Per-device state: from batches as they arrive to inputs ready to be encoded.

::

    seq      0     1     2     2     4     5     1        boot 2: 0 ...
             |-----|-----|-----|  x  ?-----|-----|  x     |-----
                                dup  gap        dup       restart
    inputs   [ w0 ][ w1 ][ w2 ]      [ w3 ][ w4 ]         [ w0 ]

Batches are ordered by (boot, seq). A repeated or late one is dropped and counted; where one is missing the
window grid breaks, because a window never spans a gap.
"""

from __future__ import annotations

import itertools
import logging
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from disc_stream.clustering.smoothing import StickyFilter
from disc_stream.signal.windowing import Span, StreamWindower
from disc_stream.types import Channel, SampleBatch, WindowSpec
from disc_stream_server.layout import Layout, check_rate, fit_layout
from disc_stream_server.shards import ReadyInput

log = logging.getLogger(__name__)

_SEQ_MODULUS = 2**32
_SUSPICIOUS_REPEATS = 100
_PAST_BOOTS = 8  # boots of a device that are remembered, to know their late batches


@dataclass(slots=True)
class SessionCounts:
    """What happened to batches.

    Args:
        boots: first batches of a boot, a device's first included.
        gaps: places where batches are missing.
        missing: number of batches missing there.
        duplicates: batches that came again.
        late: batches that came after what follows them; their place counts as a gap.
        evicted: devices forgotten because there were too many.
    """

    boots: int = 0
    gaps: int = 0
    missing: int = 0
    duplicates: int = 0
    late: int = 0
    evicted: int = 0


@dataclass(slots=True)
class _Device:
    """One device in one boot."""

    boot: int
    next_seq: int
    channels: tuple[Channel, ...]
    layout: Layout
    windower: StreamWindower
    smoothing: StickyFilter
    segment: int
    past_boots: deque[int]
    smoothed_segment: int = -1
    repeats: int = 0  # dropped batches since the last good one
    last_gap: tuple[int, int] = (0, 0)  # first missing seq, how many
    anchors: deque[tuple[int, int, float]] = field(default_factory=deque)
    """(index of a batch's first sample, its t0 in µs, fs), as far back as an open window may reach."""


class Sessions:
    """The sessions of all devices of this process (a ``Shard``).

    Args:
        channels: the model's, in its order.
        fs: the model's sampling rate in Hz.
        spec: how streams are cut.
        n_clusters: K, for smoothing.
        stay: probability of staying in an activity, for smoothing.
        exponent: power of q that is a likelihood, for smoothing.
        max_devices: the device silent for longest is forgotten when there would be more.
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
    ) -> None:
        self.counts = SessionCounts()
        self._channels, self._fs, self._spec = tuple(channels), fs, spec
        self._new_filter = partial(StickyFilter, n_clusters, stay, exponent)
        self._max_devices = max_devices
        self._devices: OrderedDict[str, _Device] = OrderedDict()
        self._segments = itertools.count()

    def __len__(self) -> int:
        return len(self._devices)

    def push(self, batch: SampleBatch) -> list[ReadyInput] | None:
        """Take the next batch of a device.

        Returns:
            The inputs that it completes, in order; None if it is a repetition or came too late.

        Raises:
            StreamMismatchError: if its rate, channels or units do not fit the model; it then counts as
                missing.
        """
        check_rate(batch.fs, self._fs)
        device = self._devices.get(batch.device)
        if device is not None:
            self._devices.move_to_end(batch.device)
        layout = (
            device.layout
            if device is not None and device.channels == batch.channels
            else fit_layout(batch.channels, self._channels)
        )
        if device is None or device.boot != batch.boot:
            if device is not None and batch.boot in device.past_boots:
                self.counts.late += 1
                return None
            device = self._start(batch, layout, device)
        elif not self._continue(device, batch, layout):
            return None
        return self._window(device, batch)

    def smooth(self, ready: ReadyInput, q: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Filter a window's soft assignment (K,) over its segment; windows of a device come in order."""
        device = self._devices.get(ready.device)
        if device is None:  # evicted since
            return self._new_filter().update(q)
        if device.smoothed_segment != ready.segment:
            device.smoothing.reset()
            device.smoothed_segment = ready.segment
        return device.smoothing.update(q)

    def _start(self, batch: SampleBatch, layout: Layout, before: _Device | None) -> _Device:
        """A device's first batch, or the first of a new boot."""
        past = before.past_boots if before is not None else deque(maxlen=_PAST_BOOTS)
        if before is not None:
            past.append(before.boot)
        device = _Device(
            boot=batch.boot,
            next_seq=batch.seq,
            channels=batch.channels,
            layout=layout,
            windower=StreamWindower(self._spec, len(self._channels)),
            smoothing=self._new_filter(),
            segment=next(self._segments),
            past_boots=past,
        )
        self._devices[batch.device] = device
        self.counts.boots += 1
        if len(self._devices) > self._max_devices:
            self._devices.popitem(last=False)
            self.counts.evicted += 1
        return device

    def _continue(self, device: _Device, batch: SampleBatch, layout: Layout) -> bool:
        """Put a batch in its place within the boot; False if it is to be dropped."""
        ahead = (batch.seq - device.next_seq) % _SEQ_MODULUS
        if ahead >= _SEQ_MODULUS // 2:  # behind: seen already, or one of those counted as missing
            self._drop(device, batch)
            return False
        if ahead:
            self.counts.gaps += 1
            self.counts.missing += ahead
            device.last_gap = (device.next_seq, ahead)
        if ahead or device.channels != batch.channels:
            self._break(device)
            device.channels, device.layout = batch.channels, layout
        return True

    def _drop(self, device: _Device, batch: SampleBatch) -> None:
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

    def _break(self, device: _Device) -> None:
        device.windower.break_at(device.windower.next_index)
        device.anchors.clear()
        device.segment = next(self._segments)

    def _window(self, device: _Device, batch: SampleBatch) -> list[ReadyInput]:
        device.next_seq = (batch.seq + 1) % _SEQ_MODULUS
        device.repeats = 0
        device.anchors.append((device.windower.next_index, batch.t0_us, batch.fs))
        spans = device.windower.push(device.layout.apply(batch.samples))
        ready = [
            ReadyInput(
                batch.device, batch.boot, span.window, _start_us(device.anchors, span),
                batch.seq, device.segment, span.samples,
            )
            for span in spans
        ]  # fmt: skip
        oldest = device.windower.next_index - self._spec.input_samples
        while len(device.anchors) > 1 and device.anchors[1][0] <= oldest:
            device.anchors.popleft()
        return ready


def _start_us(anchors: deque[tuple[int, int, float]], span: Span) -> int:
    """Device time of a span's first sample: t0 of the batch that brought it, plus its place therein."""
    index, t0_us, fs = next(anchor for anchor in reversed(anchors) if anchor[0] <= span.start)
    return t0_us + round((span.start - index) * 1e6 / fs)
