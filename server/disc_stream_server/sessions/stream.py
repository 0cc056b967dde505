"""From one device's batches, in order, to windows: clock, gaps, units, rate, windows."""

from __future__ import annotations

import numpy as np

from disc_stream.signal.deviceclock import Verdict
from disc_stream.signal.resampling import StreamResampler
from disc_stream.types import Float32Array, WindowSpec
from disc_stream_server.layout import RATE_TOLERANCE
from disc_stream_server.sessions.device import Anchor, Device, Waiting
from disc_stream_server.sessions.rules import SessionCounts
from disc_stream_server.shards import ReadyInput

# 146,000 years: only a clock at fault is further away. Databases and files hold 64 bits, and what is added to
# it has to fit as well.
_MOST_US = 2**62


def new_resampler(fs: float, model_fs: float, n_channels: int) -> StreamResampler | None:
    """What turns ``fs`` into the model's rate; None where they are the same within the tolerance."""
    if abs(fs - model_fs) <= RATE_TOLERANCE * model_fs:
        return None
    return StreamResampler(fs, model_fs, n_channels)


class Stream:
    """Feeds batches, in order, through a device's clock, layout, resampler and windower.

    Args:
        spec: how streams are cut.
        model_fs: the model's rate in Hz.
        bridge_s: longest gap that is filled, in seconds.
        counts: breaks and bridges are counted here.
    """

    def __init__(self, spec: WindowSpec, model_fs: float, bridge_s: float, counts: SessionCounts) -> None:
        self._spec, self._model_fs, self._bridge_s, self._counts = spec, model_fs, bridge_s, counts

    def feed(self, device: Device, arrival: Waiting, missing: int) -> list[ReadyInput]:
        """Take a batch.

        Args:
            device: whose.
            arrival: the batch.
            missing: number of batches that are missing before it.
        """
        batch = arrival.batch
        verdict = device.clock.observe(batch.t0_us, len(batch.samples), batch.fs, arrival.received_us)
        device.fault = verdict.fault
        samples = device.layout.apply(batch.samples)
        ready: list[ReadyInput] = []
        if missing or not verdict.continuous:
            if not missing:
                self._counts.breaks += 1
            ready = self._mend(device, arrival, verdict, samples)
        if abs(batch.fs - device.fs) > RATE_TOLERANCE * device.fs:
            self.break_grid(device)
            device.fs = batch.fs
            device.resampler = new_resampler(batch.fs, self._model_fs, samples.shape[1])
        device.anchors.append(Anchor(device.index, verdict.t0_us, batch.fs))
        return ready + self._pass_on(device, arrival, samples)

    def break_grid(self, device: Device) -> None:
        """Start windows anew: nothing is cut across this place."""
        device.windower.break_at(0)
        device.index = 0
        device.anchors.clear()
        device.bridged.clear()
        device.segment += 1
        device.last = None
        if device.resampler is not None:
            device.resampler = new_resampler(device.fs, self._model_fs, device.resampler.n_channels)

    def _mend(
        self, device: Device, arrival: Waiting, verdict: Verdict, samples: Float32Array
    ) -> list[ReadyInput]:
        """Bridge a short gap, where that is wanted and its length is known; else break the grid."""
        n = verdict.missing_samples
        if not n and device.anchors:  # batches are missing, but too few for the clock to be sure by itself
            n = round((verdict.t0_us - _time_of(device, device.index)) * arrival.batch.fs / 1e6)
        if device.last is None or not 0 < n <= self._bridge_s * arrival.batch.fs:
            self.break_grid(device)
            return []
        self._counts.bridged += 1
        steps = np.linspace(0.0, 1.0, n + 2, dtype=np.float32)[1:-1, None]
        line = device.last + steps * (samples[0] - device.last)
        device.bridged.append((device.index, device.index + n))
        return self._pass_on(device, arrival, line.astype(np.float32))

    def _pass_on(self, device: Device, arrival: Waiting, samples: Float32Array) -> list[ReadyInput]:
        device.index += len(samples)
        if self._bridge_s:
            device.last = samples[-1].copy()
        resampled = samples if device.resampler is None else device.resampler.push(samples)
        spans = device.windower.push(resampled)
        if not spans:
            return []
        batch = arrival.batch
        ready = []
        for span in spans:
            start = self._input_index(device, span.start)
            t0_us = _time_of(device, start)
            t0_unix_us = device.clock.to_server_us(t0_us)
            ready.append(
                ReadyInput(
                    batch.device, batch.boot, span.window, _bounded(t0_us), batch.seq, device.segment,
                    span.samples, arrival.position, arrival.received_us,
                    None if t0_unix_us is None else _bounded(t0_unix_us),
                    bool(device.bridged) and self._is_bridged(device, span.start),
                )
            )  # fmt: skip
        self._drop_old(device)
        return ready

    def _input_index(self, device: Device, index: int) -> float:
        """Place of a sample of the model's rate among the device's own."""
        return index if device.resampler is None else device.resampler.input_time_of(index)

    def _is_bridged(self, device: Device, start: int) -> bool:
        first = self._input_index(device, start)
        last = self._input_index(device, start + self._spec.input_samples)
        return any(begin < last and end > first for begin, end in device.bridged)

    def _drop_old(self, device: Device) -> None:
        """Forget the anchors and bridges that no open window can reach back to."""
        reach = self._spec.input_samples + max(0, self._spec.hop - self._spec.input_samples)
        oldest = self._input_index(device, max(0, device.windower.next_index - reach))
        anchors = device.anchors
        while len(anchors) > 1 and anchors[1].at <= oldest:
            del anchors[0]
        while device.bridged and device.bridged[0][1] <= oldest:
            del device.bridged[0]


def _bounded(us: int) -> int:
    return max(-_MOST_US, min(us, _MOST_US))


def _time_of(device: Device, index: float) -> int:
    """Device time at a place: t0 of the batch that brought it, plus its distance from there."""
    anchors = device.anchors
    anchor = next((a for a in reversed(anchors) if a.at <= index), anchors[0])
    return anchor.t0_us + round((index - anchor.at) * 1e6 / anchor.fs)
