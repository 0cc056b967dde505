"""Round trips, clocks, and what broker and server say of themselves."""

from __future__ import annotations

import secrets
import statistics
import time

from disc_stream.errors import PayloadError
from disc_stream.wire.broker import Broker
from disc_stream.wire.status import ServerStatus, State, decode_server_status
from disc_stream.wire.topics import SERVER, Topics
from disc_stream_server.doctor.findings import Finding, bad, good, skipped
from disc_stream_server.doctor.probe import Probe, milliseconds_since, refused

_GROUP = "clock"
_ECHOES = 5
_STATUS_S = 5.0  # a server says how it is every two seconds
_SLOW_MS = 250.0
_CLOCKS_DIFFER_S = 1.0
_DROPPED, _VERSION = "$SYS/broker/publish/messages/dropped", "$SYS/broker/version"


def check_clock(broker: Broker, topics: Topics, client_id: str) -> list[Finding]:
    """How long a message takes, whether a server is there, and whether its clock agrees with ours."""
    with Probe(broker, client_id) as probe:
        if not probe.connect().accepted:
            return [skipped(_GROUP, "round trip", "the broker let us in once, and not again")]
        round_trip, finding = _round_trip(probe, topics)
        return [finding, *_server(probe, topics, round_trip), *_broker_says(probe)]


def _round_trip(probe: Probe, topics: Topics) -> tuple[float, Finding]:
    """Milliseconds from us to us."""
    topic = f"{topics.prefix}/{SERVER}/doctor/{secrets.token_hex(8)}"
    probe.subscribe(topic)
    taken = []
    for number in range(_ECHOES):
        begin, payload = time.perf_counter(), f"{number}".encode()
        if refused(probe.publish(topic, payload)):
            return 0.0, skipped(_GROUP, "round trip", "these credentials may not send anything to themselves")
        if probe.wait_for(lambda heard, payload=payload: heard.payload == payload) is None:  # type: ignore[misc]
            return 0.0, bad(
                _GROUP, "round trip", "a message to ourselves did not come back",
                "Allow operators to read what they write", serious=False,
            )  # fmt: skip
        taken.append(milliseconds_since(begin))
    middle = statistics.median(taken)
    detail = f"{middle:.1f} ms (median of {_ECHOES}, confirmation included)"
    if middle > _SLOW_MS:
        return middle, bad(
            _GROUP, "round trip", detail, "Look at the network between here and there", serious=False
        )
    return middle, good(_GROUP, "round trip", detail)


def _server(probe: Probe, topics: Topics, round_trip_ms: float) -> list[Finding]:
    """Whether a server is there, by its status, and whether it keeps its connection."""
    if refused(probe.subscribe(topics.server_status)):
        return [skipped(_GROUP, "server", "these credentials may not read its status")]
    probe.wait_for(lambda heard: heard.topic == topics.server_status and not heard.retained, _STATUS_S)
    now_us = time.time_ns() // 1_000
    told = [heard for heard in probe.heard() if heard.topic == topics.server_status]
    if not told:
        return [
            skipped(
                _GROUP, "server", "none has ever been here (or these credentials may not read its status)"
            )
        ]
    try:
        status = decode_server_status(told[-1].payload)
    except PayloadError as error:
        return [
            bad(_GROUP, "server", f"its status cannot be read: {error}", "Update this program", serious=False)
        ]
    return [_judge(status, now_us, round_trip_ms, live=not told[-1].retained), _sessions(status)]


def _sessions(status: ServerStatus) -> Finding:
    """Whether others have connected with the server's client ids, and whether its queue was lost."""
    taken, lost = (status.counters.get(name, 0) for name in ("takeovers", "sessions_lost"))
    name = "server's session"
    if not taken and not lost:
        return good(_GROUP, name, "nobody has taken it over, and the broker has not lost it")
    words = [f"taken over {taken} times by another client with the server's id"] if taken else []
    words += [f"lost {lost} times, with the messages that waited in it"] if lost else []
    remedy = (
        "Look for a second `disc-stream serve` with the same client id; if there is none, renew the server's "
        "password (docs/guides/security.md)"
        if taken
        else "Let the broker keep its data over a restart, and raise session_expiry_s"
    )
    return bad(_GROUP, name, f"{' and '.join(words)} since the server started", remedy, serious=bool(taken))


def _judge(status: ServerStatus, now_us: int, round_trip_ms: float, *, live: bool) -> Finding:
    if status.state is State.OFFLINE:
        return bad(_GROUP, "server", "offline", "Start it: disc-stream serve", serious=False)
    if status.updated_us is None:
        return good(_GROUP, "server", "online")
    age_s = (now_us - status.updated_us) / 1e6
    if not live:
        return bad(
            _GROUP, "server", f"it says to be online, and has said nothing for {age_s:,.0f} s",
            "Look whether it hangs, or whether the clocks differ", serious=False,
        )  # fmt: skip
    if abs(age_s) > _CLOCKS_DIFFER_S + round_trip_ms / 1e3:
        way = "behind" if age_s > 0 else "ahead of"
        return bad(
            _GROUP, "server", f"online; its clock is {abs(age_s):.1f} s {way} this machine's",
            "Let both machines set their clocks by NTP", serious=False,
        )  # fmt: skip
    return good(
        _GROUP, "server", f"online, model {status.model or '?'}; its clock agrees within {abs(age_s):.1f} s"
    )


def _broker_says(probe: Probe) -> list[Finding]:
    """What Mosquitto tells to those who may read it."""
    probe.subscribe(_DROPPED)
    version_code = probe.subscribe(_VERSION)
    version = probe.wait_for(lambda heard: heard.topic == _VERSION, 1.0)
    if refused(version_code) or version is None:
        return [skipped("broker", "dropped messages", "it does not tell, or not to us")]
    dropped = probe.wait_for(lambda heard: heard.topic == _DROPPED, 1.0)
    name = version.payload.decode("utf-8", "replace")
    count = dropped.payload.decode("utf-8", "replace") if dropped else "0"
    if count not in {"0", ""}:
        return [
            bad(
                "broker", "dropped messages", f"{count} since it started ({name})",
                "A client was away or slow for too long: its queue is full (max_queued_bytes)", serious=False,
            )
        ]  # fmt: skip
    return [good("broker", "dropped messages", f"none since it started ({name})")]
