"""What the server says of devices that have no labels, or worse ones than they could have."""

from __future__ import annotations

import secrets
from collections import Counter

from disc_stream.errors import PayloadError, TopicError
from disc_stream.types import Problem
from disc_stream.wire.broker import Broker
from disc_stream.wire.problem import decode_problem
from disc_stream.wire.topics import SERVER, Kind, Topics
from disc_stream_server.doctor.findings import Finding, bad, good, skipped
from disc_stream_server.doctor.probe import Heard, Probe, refused

_GROUP, _NAME = "devices", "problems"
_NAMED = 3
_WAIT_S = 5.0


def check_devices(broker: Broker, topics: Topics, client_id: str) -> Finding:
    """The problems that are retained, by code, with the first devices and what to do."""
    with Probe(broker, client_id) as probe:
        if not probe.connect().accepted:
            return skipped(_GROUP, _NAME, "the broker let us in once, and not again")
        if refused(probe.subscribe(topics.all_of(Kind.PROBLEM))):
            return skipped(_GROUP, _NAME, "these credentials may not read the problems of devices")
        # A message to ourselves comes after what the broker had retained.
        fence = f"{topics.prefix}/{SERVER}/doctor/{secrets.token_hex(8)}"
        probe.subscribe(fence)
        if refused(probe.publish(fence, b"")) or not probe.wait_for(lambda one: one.topic == fence, _WAIT_S):
            return skipped(_GROUP, _NAME, "these credentials may not send anything to themselves")
        found = dict(filter(None, (_read(heard, topics) for heard in probe.heard())))
    if not found:
        return good(_GROUP, _NAME, "no device has a problem")
    codes = ", ".join(f"{count} x {code}" for code, count in _codes(found))
    named = "; ".join(f"{device}: {problem.words}" for device, problem in sorted(found.items())[:_NAMED])
    more = f" (and {len(found) - _NAMED} more)" if len(found) > _NAMED else ""
    first = found[min(found)]
    remedy = first.remedy or "Watch them: disc-stream watch"
    return bad(_GROUP, _NAME, f"{codes}. {named}{more}", remedy, serious=False)


def _codes(found: dict[str, Problem]) -> list[tuple[str, int]]:
    return Counter(problem.code for problem in found.values()).most_common()


def _read(heard: Heard, topics: Topics) -> tuple[str, Problem] | None:
    try:
        device, kind = topics.parse(heard.topic)
        problem = decode_problem(heard.payload) if kind is Kind.PROBLEM else None
    except (TopicError, PayloadError):
        return None
    return None if problem is None else (device, problem)
