"""What a viewer missed since its last event: from the ring of this run, else from the store."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from disc_stream_server.api.context import Context
from disc_stream_server.api.live.feed import (
    Event,
    Filter,
    LiveLabel,
    LiveSoft,
    encode_label,
    labels_event,
    plain_event,
)
from disc_stream_server.api.live.hub import Mark
from disc_stream_server.storage.records import DEFERRED, StoredLabel

MOST_MISSED = 20_000
"""Labels that are sent again; who missed more is told, and reads the rest by time."""
_TOGETHER = 1_000


@dataclass(frozen=True, slots=True)
class Missed:
    """What is sent before the live feed goes on.

    Args:
        events: in order.
        complete: whether nothing was left out.
    """

    events: list[Event]
    complete: bool


def missed_in_ring(context: Context, mark: Mark, wanted: Filter) -> Missed | None:
    """Labels of this run that a viewer missed; None if the ring does not reach so far back."""
    hub = context.live
    if mark.epoch != hub.epoch or mark.number < hub.table.oldest:
        return None
    upto = Mark.parse(hub.mark())
    until = upto.number if upto is not None else 0
    numbered = [one for one in hub.table.since(mark.number) if one[0] < until]
    labels = hub.matching(wanted, numbered)
    parts = [encode_label(label) for label in labels]
    return Missed(_in_events(parts, hub.mark()), complete=True)


def missed_in_store(context: Context, mark: Mark, wanted: Filter, tagged: frozenset[str]) -> Missed:
    """Stored labels since the time of a mark; reads a file, so not on the event loop.

    Some may come twice: a label is the same where device, boot, window and model are.
    """
    parts: list[bytes] = []
    with context.reader() as reader:
        position = reader.position_labelled_at(mark.at_us)
        while len(parts) < MOST_MISSED:
            stored = reader.labels(after=position, limit=_TOGETHER)
            if not stored:
                break
            position = stored[-1].position
            parts += [_encode(one) for one in stored if _wants(wanted, one, tagged)]
    complete = len(parts) < MOST_MISSED
    return Missed(_in_events(parts[:MOST_MISSED], ""), complete)


def told(missed: Missed | None, *, resumed: bool) -> list[Event]:
    """The events of what was missed, behind one that says how it was found."""
    if not resumed:
        return []
    complete = missed is not None and missed.complete
    head = plain_event("resumed", {"complete": complete, "labels": 0 if missed is None else _count(missed)})
    return [head, *(missed.events if missed is not None else [])]


def _count(missed: Missed) -> int:
    return sum(event.labels for event in missed.events)


def _in_events(parts: list[bytes], mark: str) -> list[Event]:
    return [labels_event(parts[at : at + _TOGETHER], mark) for at in range(0, len(parts), _TOGETHER)]


def _wants(wanted: Filter, label: StoredLabel, tagged: frozenset[str]) -> bool:
    if wanted.clusters and label.smoothed not in wanted.clusters:
        return False
    return wanted.wants_device(label.device, tagged)


def _encode(one: StoredLabel) -> bytes:
    """A stored label has less to say than a live one: no soft labels beside the best."""
    best = LiveSoft(one.label, one.name, round(one.confidence, 4))
    begin_us, length_us = one.t0_unix_us, one.t1_us - one.t0_us
    return msgspec.json.encode(
        LiveLabel(
            one.device, one.boot, one.window, one.t0_us, one.t1_us,
            begin_us, None if begin_us is None else begin_us + length_us,
            one.smoothed, one.name if one.smoothed == one.label else "", round(one.smoothed_confidence, 4),
            best, [best], round(one.distance, 6), one.novelty, one.model, one.labelled_us,
            bool(one.flags & DEFERRED), muted=False,
        )
    )  # fmt: skip
