"""Which boot of a device is the current one.

A new boot is believed after it has proved itself: by its second batch without one of the current boot in
between, or at once if the current boot has been silent. Until then its batches are kept, so nothing of a
real restart is lost, and a single stray message (a retained one, say) changes nothing. A boot that was left
is returned to if it goes on sending. Where two boots go on side by side, two senders use one device id: the
one that is current stays so, each return makes the next one harder, and the problem is named.
"""

from __future__ import annotations

from disc_stream.stream.device import Candidate, Device
from disc_stream.stream.order import MOST_SAMPLES, SEQ_MODULUS, seq_ahead
from disc_stream.stream.problems import ProblemBook
from disc_stream.stream.rules import Rules, StreamCounts
from disc_stream.stream.values import Arrival

_PROOF, _PROOF_TO_RETURN = 2, 4  # batches in a row
_MAX_DISTRUST = 4
_MAX_CANDIDATES, _MAX_KEPT = 4, 16
_CHANGES = 3  # boots of one message each
_TWO_SENDERS = 3  # batches of another boot beside the current one


class Boots:
    """Decides about batches of other boots than the current one.

    Args:
        rules: how long a boot waits to be believed.
        counts: dropped batches are counted here.
        problems: two senders are named here.
    """

    def __init__(self, rules: Rules, counts: StreamCounts, problems: ProblemBook) -> None:
        self._wait_us, self._counts, self._problems = rules.reorder_us, counts, problems

    def current_heard(self, device: Device, arrival: Arrival) -> None:
        """The current boot goes on: the others have to prove themselves from the beginning."""
        for candidate in device.candidates:
            candidate.run = 0
            if candidate.total >= _TWO_SENDERS:
                words = (
                    f"two senders use this id, or one changes its boot with each message: boot {device.boot} "
                    f"is labelled and boot {candidate.boot} is not"
                )
                remedy = "Give each device an id of its own, and change the boot only when it restarts"
                self._problems.report(device.name, "two-senders", words, arrival.received_us, remedy)

    def other_heard(self, device: Device, arrival: Arrival) -> list[Candidate]:
        """A batch of another boot; returns the boots that are believed now, in their order."""
        batch = arrival.batch
        past = next((one for one in device.past_boots if one.boot == batch.boot), None)
        if past is not None and seq_ahead(batch.seq, past.next_seq) >= SEQ_MODULUS // 2:
            self._counts.late += 1
            return []
        candidate = self._candidate(device, batch.boot, arrival.received_us)
        candidate.arrivals.append(arrival)
        candidate.run += 1
        candidate.total += 1
        while len(candidate.arrivals) > _MAX_KEPT or (
            len(candidate.arrivals) > 1
            and sum(len(one.batch.samples) for one in candidate.arrivals) > MOST_SAMPLES
        ):
            del candidate.arrivals[0]
            self._counts.stray += 1
        proof = (_PROOF if past is None else _PROOF_TO_RETURN) << min(device.distrust, _MAX_DISTRUST)
        if candidate.run >= 2:
            self._problems.resolve(device.name, "boot-changes")
        silent_us = arrival.at_us - device.heard_us
        needed_us = self._wait_us << min(device.distrust, _MAX_DISTRUST)
        if candidate.run >= proof or (silent_us >= needed_us and (past is None or candidate.run >= 2)):
            return self._believe(device, candidate)
        return []

    def expire(self, device: Device, now_us: int) -> list[Candidate]:
        """Boots that are believed because the current one was not heard again; others are dropped."""
        due = [one for one in device.candidates if one.arrivals[-1].at_us + self._wait_us <= now_us]
        believed: list[Candidate] = []
        for candidate in due:
            if candidate not in device.candidates:
                continue  # believed along with another
            if (
                candidate.run
                and device.heard_us <= candidate.arrivals[-1].at_us
                and not self._is_past(device, candidate)
            ):
                believed += self._believe(device, candidate)
            else:
                self._counts.stray += len(candidate.arrivals)
                device.candidates.remove(candidate)
        return believed

    def due_us(self, device: Device) -> int:
        """Watermark at which ``expire`` has something to do; 0 for never."""
        if not device.candidates:
            return 0
        return min(one.arrivals[-1].at_us for one in device.candidates) + self._wait_us

    def _candidate(self, device: Device, boot: int, received_us: int) -> Candidate:
        for candidate in device.candidates:
            if candidate.boot == boot:
                return candidate
        if len(device.candidates) >= _MAX_CANDIDATES:
            gone = device.candidates.pop(0)
            self._counts.stray += len(gone.arrivals)
        candidate = Candidate(boot)
        device.candidates.append(candidate)
        if len([one for one in device.candidates if one.total <= 1]) >= _CHANGES:
            words = "each of its messages names another boot, so nothing can be put together of them"
            remedy = "Choose a boot id when the device starts, and keep it until it starts again"
            self._problems.report(device.name, "boot-changes", words, received_us, remedy)
        return candidate

    def _is_past(self, device: Device, candidate: Candidate) -> bool:
        return any(one.boot == candidate.boot for one in device.past_boots)

    def _believe(self, device: Device, candidate: Candidate) -> list[Candidate]:
        """This boot, and before it those that came between the current one and it: short boots."""
        place = device.candidates.index(candidate)
        earlier = [one for one in device.candidates[:place] if one.run and not self._is_past(device, one)]
        dropped = [
            one for one in device.candidates if one is not candidate and one not in earlier and not one.run
        ]
        self._counts.stray += sum(len(one.arrivals) for one in dropped)
        believed = [*earlier, candidate]
        device.candidates = [one for one in device.candidates if one not in believed and one not in dropped]
        if self._is_past(device, candidate):
            device.distrust += 1
        return believed
