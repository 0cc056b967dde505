"""From the order of arrival to the order of recording, within one boot.

Batches are ordered by ``seq``. A repeated or late one is dropped and counted. One that comes too early waits
for those before it, up to a number of batches and a time of the watermark; then what is missing is a gap.

Where the numbers are no numbers of batches (they count samples, or stay the same), times tell: a batch that
begins where the one before it ended follows it, whatever its number. After a few of these the device is
taken as unnumbered: its batches are taken in the order of arrival, and gaps are seen by its clock alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import msgspec

from disc_stream.sparselog import SparseLog
from disc_stream.stream.device import Device
from disc_stream.stream.problems import ProblemBook
from disc_stream.stream.rules import Rules, StreamCounts
from disc_stream.stream.values import Arrival

log = logging.getLogger(__name__)

SEQ_MODULUS = 2**32
_REPEATS_TOLD = 20
_FAR = 4_096  # batches; a jump so far ahead is believed only when the old numbering has ended
MOST_SAMPLES = 100_000
"""Samples of a device that may wait in batches, whatever the rules allow: half an hour at 50 Hz."""

_ODD = 3  # batches in a row, after which numbers are not believed any more
_FOLLOWS = 0.1  # of a batch: how far from its expected time one that follows may begin
_STALE_US = 60_000_000  # an unnumbered batch this much older is a new start of the clock, not a repetition


class Ordered(msgspec.Struct, frozen=True, gc=False):
    """The next batch in order.

    Args:
        arrival: the batch.
        missing: number of batches that are missing before it.
    """

    arrival: Arrival
    missing: int


def seq_ahead(seq: int, next_seq: int) -> int:
    """How many batches lie between the next one and this one, modulo 2^32."""
    return (seq - next_seq) % SEQ_MODULUS


def _samples(arrivals: Iterable[Arrival]) -> int:
    return sum(len(one.batch.samples) for one in arrivals)


class Order:
    """Puts a device's batches in order.

    Args:
        rules: how long and how many may wait.
        counts: what happened is counted here.
        problems: what a person must know is told here.
    """

    def __init__(self, rules: Rules, counts: StreamCounts, problems: ProblemBook) -> None:
        self._reorder, self._reorder_us = rules.reorder, rules.reorder_us
        self._counts, self._problems = counts, problems
        self._log = SparseLog(log)

    def take(self, device: Device, arrival: Arrival) -> list[Ordered] | None:
        """The batches that can be passed on now; None if this one is dropped."""
        batch = arrival.batch
        device.heard_us = arrival.at_us
        if not device.numbered:
            return self._take_unnumbered(device, arrival)
        if self._contradicts(device, arrival):
            held = self._stop_numbering(device, arrival)
            return held + (self._take_unnumbered(device, arrival) or [])
        ahead = seq_ahead(batch.seq, device.next_seq)
        if ahead == 0:
            ordered = [self._pass(device, arrival)]
            return ordered + self._drain(device) if device.waiting else ordered
        if ahead >= SEQ_MODULUS // 2 or batch.seq in device.waiting:  # seen, or counted as missing
            self._drop(device, arrival)
            return None
        if not self._reorder:
            return [self._pass(device, arrival)]
        return self._wait(device, arrival)

    def expire(self, device: Device, now_us: int) -> list[Ordered]:
        """Give up on what is missing for longer than the rules allow."""
        ordered: list[Ordered] = []
        while (
            device.waiting and min(one.at_us for one in device.waiting.values()) + self._reorder_us <= now_us
        ):
            ordered += self._skip(device)
        return ordered

    def flush(self, device: Device) -> list[Ordered]:
        """Give up on everything that is missing: the boot has ended."""
        ordered: list[Ordered] = []
        while device.waiting:
            ordered += self._skip(device)
        return ordered

    def due_us(self, device: Device) -> int:
        """Watermark at which ``expire`` has something to do; 0 for never."""
        if not device.waiting:
            return 0
        return min(one.at_us for one in device.waiting.values()) + self._reorder_us

    # -- one batch ------------------------------------------------------------------------------------

    def _pass(self, device: Device, arrival: Arrival) -> Ordered:
        """The next batch in order; whatever is missing before it is a gap."""
        seq = arrival.batch.seq
        missing = seq_ahead(seq, device.next_seq) if device.numbered else 0
        if missing:
            self._counts.gaps += 1
            self._counts.missing += missing
            device.last_gap = (device.next_seq, missing)
        device.next_seq = (seq + 1) % SEQ_MODULUS
        if device.repeats:
            device.repeats = 0
            self._problems.resolve(device.name, "repeats")
        return Ordered(arrival, missing)

    def _wait(self, device: Device, arrival: Arrival) -> list[Ordered]:
        """A batch is early: those before it may still come."""
        device.waiting[arrival.batch.seq] = arrival
        self._counts.reordered += 1
        ordered: list[Ordered] = []
        while len(device.waiting) > self._reorder or _samples(device.waiting.values()) > MOST_SAMPLES:
            ordered += self._skip(device)
        return ordered

    def _skip(self, device: Device) -> list[Ordered]:
        """Give up on what is missing before the earliest batch that waits."""
        seq = min(device.waiting, key=lambda seq: seq_ahead(seq, device.next_seq))
        first = device.waiting.pop(seq)
        if seq_ahead(seq, device.next_seq) > _FAR and device.last_us > first.received_us:
            self._counts.stray += 1
            text = "device %s: batch %d is far from the others (%d is next) and is dropped"
            self._log.warning(device.name, "stray", text, device.name, seq, device.next_seq)
            return self._drain(device)
        return [self._pass(device, first), *self._drain(device)]

    def _drain(self, device: Device) -> list[Ordered]:
        """The batches that had to wait for the one just passed on."""
        ordered: list[Ordered] = []
        while (waiting := device.waiting.pop(device.next_seq, None)) is not None:
            ordered.append(self._pass(device, waiting))
        return ordered

    def _drop(self, device: Device, arrival: Arrival) -> None:
        first, count = device.last_gap
        if seq_ahead(arrival.batch.seq, first) < count:
            self._counts.late += 1
        else:
            self._counts.duplicates += 1
        device.repeats += 1
        if device.repeats >= _REPEATS_TOLD:
            words = "its batches repeat the numbers of earlier ones and are dropped"
            remedy = "Send a new boot id after a restart, and number the batches 0, 1, 2, … within it"
            self._problems.report(device.name, "repeats", words, arrival.received_us, remedy)

    # -- numbers that are none --------------------------------------------------------------------------

    def _contradicts(self, device: Device, arrival: Arrival) -> bool:
        """Whether number and time have contradicted each other often enough in a row."""
        batch = arrival.batch
        seq, t0_us, duration_us = device.arrived
        device.arrived = (batch.seq, batch.t0_us, len(batch.samples) * 1e6 / batch.fs)
        if batch.seq == (seq + 1) % SEQ_MODULUS:
            device.odd = 0
            return False
        step_us = (batch.t0_us - t0_us) * device.clock.unit_us
        if step_us <= 0 or abs(step_us - duration_us) > _FOLLOWS * duration_us:
            device.odd = 0
            return False
        device.odd += 1
        return device.odd >= _ODD

    def _stop_numbering(self, device: Device, arrival: Arrival) -> list[Ordered]:
        """From here on the order of arrival counts; returns what waited, by its time."""
        device.numbered = False
        waiting = sorted(device.waiting.values(), key=lambda one: one.batch.t0_us)
        device.waiting.clear()
        words = (
            "the numbers of its batches (seq) do not go up by one from batch to batch; they are taken in the "
            "order in which they come"
        )
        remedy = "Number batches, not samples: 0, 1, 2, …"
        self._problems.report(device.name, "seq-unusable", words, arrival.received_us, remedy)
        self._log.warning(device.name, "seq-unusable", "device %s: %s", device.name, words)
        return [self._pass(device, one) for one in waiting]

    def _take_unnumbered(self, device: Device, arrival: Arrival) -> list[Ordered] | None:
        t0_us, last = arrival.batch.t0_us, device.last_raw_us
        if last is not None and last - _STALE_US < t0_us <= last:
            self._counts.duplicates += 1
            return None
        return [self._pass(device, arrival)]
