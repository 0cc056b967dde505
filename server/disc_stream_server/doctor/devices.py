"""What the server says of devices that have no labels, or worse ones than they could have."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping

from disc_stream.errors import PayloadError, TopicError
from disc_stream.types import Problem
from disc_stream.wire.broker import Broker
from disc_stream.wire.problem import decode_problem
from disc_stream.wire.status import decode_server_status
from disc_stream.wire.topics import SERVER, Kind, Topics, is_device
from disc_stream_server.doctor.findings import Finding, bad, good, skipped
from disc_stream_server.doctor.probe import Heard, Probe, refused

_GROUP, _NAME, _LIMITS = "devices", "problems", "limits"
_NAMED = 3
_WAIT_S = 5.0


def check_devices(broker: Broker, topics: Topics, client_id: str) -> list[Finding]:
    """The problems that are retained, by code, and the devices that send more than they may."""
    with Probe(broker, client_id) as probe:
        if not probe.connect().accepted:
            return [skipped(_GROUP, _NAME, "the broker let us in once, and not again")]
        if refused(probe.subscribe(topics.all_of(Kind.PROBLEM))):
            return [skipped(_GROUP, _NAME, "these credentials may not read the problems of devices")]
        told = not refused(probe.subscribe(topics.server_status))
        # A message to ourselves comes after what the broker had retained.
        fence = f"{topics.prefix}/{SERVER}/doctor/{secrets.token_hex(8)}"
        probe.subscribe(fence)
        if refused(probe.publish(fence, b"")) or not probe.wait_for(lambda one: one.topic == fence, _WAIT_S):
            return [skipped(_GROUP, _NAME, "these credentials may not send anything to themselves")]
        heard = probe.heard()
    found = dict(filter(None, (_read(one, topics) for one in heard)))
    statuses = [one for one in heard if one.topic == topics.server_status]
    return [_problems(found), *([_limits(statuses[-1])] if told and statuses else [])]


def _problems(found: dict[str, Problem]) -> Finding:
    if not found:
        return good(_GROUP, _NAME, "no device has a problem")
    codes = ", ".join(f"{count} x {code}" for code, count in _codes(found))
    named = "; ".join(f"{device}: {problem.words}" for device, problem in sorted(found.items())[:_NAMED])
    more = f" (and {len(found) - _NAMED} more)" if len(found) > _NAMED else ""
    first = found[min(found)]
    remedy = first.remedy or "Watch them: disc-stream watch"
    return bad(_GROUP, _NAME, f"{codes}. {named}{more}", remedy, serious=False)


def _limits(status: Heard) -> Finding:
    """Who sends more than a device may, by the server's last status."""
    try:
        limited = decode_server_status(status.payload).limited
    except PayloadError as error:
        return skipped(_GROUP, _LIMITS, f"the server's status cannot be read: {error}")
    if not limited:
        return good(_GROUP, _LIMITS, "no device sends more than it may")
    named = "; ".join(_named(device, facts) for device, facts in list(limited.items())[:_NAMED])
    more = f" (and {len(limited) - _NAMED} more)" if len(limited) > _NAMED else ""
    remedy = (
        "Find out why it sends so much, take its access away (disc-stream broker), or raise "
        "device_messages_s and device_bytes_s"
    )
    return bad(_GROUP, _LIMITS, f"more than a device may is sent by {named}{more}", remedy, serious=False)


def _named(device: str, facts: Mapping[str, int]) -> str:
    name = device if is_device(device) else ascii(device)
    return f"{name}: {facts.get('waiting', 0):,} messages wait, {facts.get('refused', 0):,} were refused"


def _codes(found: dict[str, Problem]) -> list[tuple[str, int]]:
    return Counter(problem.code for problem in found.values()).most_common()


def _read(heard: Heard, topics: Topics) -> tuple[str, Problem] | None:
    try:
        device, kind = topics.parse(heard.topic)
        problem = decode_problem(heard.payload) if kind is Kind.PROBLEM else None
    except (TopicError, PayloadError):
        return None
    return None if problem is None else (device, problem)
