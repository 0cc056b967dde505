"""From one device's batches, in order, to windows: clock, rate, gaps, units, windows."""

from __future__ import annotations

import numpy as np

from disc_stream.errors import StreamMismatchError
from disc_stream.signal.deviceclock import FAULT_WORDS, ClockFault, Verdict
from disc_stream.signal.rate import RateVerdict
from disc_stream.signal.resampling import RATE_TOLERANCE, new_resampler
from disc_stream.stream.device import Anchor, Device, release_grid
from disc_stream.stream.layout import FASTEST, SLOWEST, check_rate
from disc_stream.stream.order import Ordered
from disc_stream.stream.problems import ProblemBook
from disc_stream.stream.rules import StreamCounts
from disc_stream.stream.values import Arrival, ReadyInput
from disc_stream.types import Float32Array, WindowSpec

# 146,000 years: only a clock at fault is further away. Databases and files hold 64 bits, and what is added to
# it has to fit as well.
_MAX_US = 2**62

_PATIENCE_WINDOWS, _PATIENCE_BATCHES = 4, 8  # without a window, until it is told
_CAUSES = {
    "": ("fewer samples have come than a window needs", "Send longer or more batches"),
    "gap": (
        "batches are missing again and again, and no window is cut across a gap",
        "Check the connection, and that seq goes up by one from batch to batch",
    ),
    "clock-gap": (
        "its times say that samples are missing between its batches",
        "Check that t0 is the time of the first sample, and that fs is the rate at which it samples",
    ),
    "clock-jump": ("its clock jumps", "Let t0 go on evenly within a boot"),
    "rate": ("its times contradict the rate that it declares", "Check fs and t0"),
}


class Cutter:
    """Feeds batches, in order, through a device's clock, rate, layout, resampler and windower.

    Args:
        spec: how streams are cut.
        model_fs: the model's rate in Hz.
        bridge_s: longest gap that is filled, in seconds.
        counts: breaks and bridges are counted here.
        problems: what a person must know is told here.
    """

    def __init__(
        self, spec: WindowSpec, model_fs: float, bridge_s: float, counts: StreamCounts, problems: ProblemBook
    ) -> None:
        self._spec, self._model_fs, self._bridge_s = spec, model_fs, bridge_s
        self._counts, self._problems = counts, problems
        self._slowest, self._fastest = SLOWEST * model_fs, FASTEST * model_fs
        self._reach = max(spec.input_samples, spec.hop)
        self._patience_s = _PATIENCE_WINDOWS * spec.input_samples / model_fs

    def feed(self, device: Device, ordered: Ordered) -> list[ReadyInput]:
        """Take the next batch and return the windows that it completes."""
        arrival = ordered.arrival
        batch = arrival.batch
        rate = self._measure(device, arrival, ordered.missing)
        before = device.fault
        verdict = device.clock.observe(batch.t0_us, len(batch.samples), rate.fs, arrival.received_us)
        device.fault = verdict.fault
        if verdict.fault is not before:
            self._tell_fault(device, arrival)
        end_us = verdict.t0_us + round(len(batch.samples) * 1e6 / rate.fs)
        device.wall.observe(verdict.t0_us, end_us, arrival.received_us)
        device.last_us = arrival.received_us
        ready: list[ReadyInput] = []
        if rate.contested or not (
            self._slowest <= rate.fs <= self._fastest or self._can_convert(device, arrival, rate.fs)
        ):
            self._counts.contested += 1
            self.break_grid(device, "rate")
        else:
            ready = self._cut(device, ordered, rate, verdict)
        self._watch(device, arrival, ready)
        return ready

    def _cut(self, device: Device, ordered: Ordered, rate: RateVerdict, verdict: Verdict) -> list[ReadyInput]:
        arrival, missing = ordered.arrival, ordered.missing
        samples = device.layout.apply(arrival.batch.samples)
        ready: list[ReadyInput] = []
        if abs(rate.fs - device.fs) > RATE_TOLERANCE * device.fs:
            device.fs = rate.fs
            self.break_grid(device, "rate")
            device.resampler = new_resampler(rate.fs, self._model_fs, samples.shape[1])
        elif missing or not verdict.continuous:
            if not missing:
                self._counts.breaks += 1
            ready = self._mend(device, arrival, verdict, samples)
        device.anchors.append(Anchor(device.index, verdict.t0_us, device.fs))
        cut = self._pass_on(device, arrival, samples)
        return ready + cut if ready else cut

    def break_grid(self, device: Device, cause: str) -> None:
        """Start windows anew: nothing is cut across this place."""
        release_grid(device)
        device.cause = cause
        if device.resampler is not None:
            device.resampler = new_resampler(device.fs, self._model_fs, device.resampler.n_channels)

    # -- rate and clock ---------------------------------------------------------------------------------

    def _measure(self, device: Device, arrival: Arrival, missing: int) -> RateVerdict:
        """One rate for the device, from what it declares and from its times."""
        batch = arrival.batch
        step_us = None
        if not missing and device.last_raw_us is not None:
            step_us = (batch.t0_us - device.last_raw_us) * device.clock.unit_us
        device.last_raw_us = batch.t0_us
        verdict = device.rate.observe(batch.fs, len(batch.samples), step_us)
        if verdict.differs:
            words = (
                f"it declares {batch.fs:g} samples/s and sends {verdict.fs:.4g} by its clock, which counts"
            )
            remedy = "Declare the rate at which it samples (fs)"
            self._problems.report(device.name, "rate-differs", words, arrival.received_us, remedy)
        elif verdict.changed:
            self._problems.resolve(device.name, "rate-differs")
        return verdict

    def _can_convert(self, device: Device, arrival: Arrival, fs: float) -> bool:
        """Whether the model's rate can be made of the rate in use."""
        try:
            check_rate(fs, self._model_fs)
        except StreamMismatchError as error:
            self._problems.report(device.name, "rate", error.message, arrival.received_us, error.remedy or "")
            return False
        return True

    def _tell_fault(self, device: Device, arrival: Arrival) -> None:
        fault = device.fault
        if fault is ClockFault.NONE:
            self._problems.resolve(device.name, "clock")
            return
        name = str(fault)
        self._counts.clock_faults[name] = self._counts.clock_faults.get(name, 0) + 1
        words, remedy = FAULT_WORDS[fault]
        self._problems.report(device.name, "clock", words, arrival.received_us, remedy)

    # -- gaps -------------------------------------------------------------------------------------------

    def _mend(
        self, device: Device, arrival: Arrival, verdict: Verdict, samples: Float32Array
    ) -> list[ReadyInput]:
        """Bridge a short gap, where that is wanted and its length is known; else break the grid."""
        n = verdict.missing_samples
        if not n and device.anchors:  # batches are missing, but too few for the clock to be sure by itself
            n = round((verdict.t0_us - _time_of(device, device.index)) * device.fs / 1e6)
        if device.last is None or not 0 < n <= self._bridge_s * device.fs:
            jump = verdict.fault in (ClockFault.JUMP_BACK, ClockFault.JUMP_FORWARD)
            self.break_grid(
                device, "clock-jump" if jump else "clock-gap" if verdict.missing_samples else "gap"
            )
            return []
        self._counts.bridged += 1
        steps = np.linspace(0.0, 1.0, n + 2, dtype=np.float32)[1:-1, None]
        line = device.last + steps * (samples[0] - device.last)
        device.bridged.append((device.index, device.index + n))
        return self._pass_on(device, arrival, line.astype(np.float32))

    # -- windows ----------------------------------------------------------------------------------------

    def _pass_on(self, device: Device, arrival: Arrival, samples: Float32Array) -> list[ReadyInput]:
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
            t0_unix_us = device.wall.at(t0_us, device.clock.to_server_us(t0_us))
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
        oldest = self._input_index(device, max(0, device.windower.next_index - self._reach))
        anchors = device.anchors
        while len(anchors) > 1 and anchors[1].at <= oldest:
            del anchors[0]
        while device.bridged and device.bridged[0][1] <= oldest:
            del device.bridged[0]

    # -- devices without windows ------------------------------------------------------------------------

    def _watch(self, device: Device, arrival: Arrival, ready: list[ReadyInput]) -> None:
        """Tell why a device that sends has no windows."""
        if ready:
            if device.batches_since:
                device.batches_since, device.since_s = 0, 0.0
                self._problems.resolve(device.name, "no-window")
            device.cause = ""
            return
        device.batches_since += 1
        device.since_s += len(arrival.batch.samples) / arrival.batch.fs
        if device.batches_since >= _PATIENCE_BATCHES and device.since_s >= self._patience_s:
            seconds = self._spec.input_samples / self._model_fs
            cause, remedy = _CAUSES[device.cause]
            words = f"no window of {seconds:.3g} s has been complete: {cause}"
            self._problems.report(device.name, "no-window", words, arrival.received_us, remedy)


def _bounded(us: int) -> int:
    return us if -_MAX_US <= us <= _MAX_US else max(-_MAX_US, min(us, _MAX_US))


def _time_of(device: Device, index: float) -> int:
    """Device time at a place: t0 of the batch that brought it, plus its distance from there."""
    for anchor in reversed(device.anchors):  # down to the first one
        if anchor.at <= index:
            break
    return anchor.t0_us + round((index - anchor.at) * 1e6 / anchor.fs)
