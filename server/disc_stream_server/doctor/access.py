"""Holes in the access list: everything here is tried, and must fail.

What is tried is harmless where it succeeds: messages without content, not retained, about a device that does
not exist and has an unguessable name. Servers pass over them (``Topics.is_test``).
"""

from __future__ import annotations

import secrets
from dataclasses import replace

from disc_stream.errors import TopicError
from disc_stream.wire.broker import Broker
from disc_stream.wire.secrecy import is_loopback
from disc_stream.wire.topics import DOCTOR, SERVER, Kind, Topics, check_device
from disc_stream_server.brokerconfig.mosquitto import is_operator
from disc_stream_server.doctor.findings import Finding, bad, good, skipped
from disc_stream_server.doctor.probe import Heard, Probe, refused

_GROUP = "access"
_LISTEN_S = 2.0
_PLAIN_PORT = 1883
_LIST = "Give each user an access list of its own: `disc-stream broker config` writes one"


def is_device(broker: Broker) -> bool:
    """Whether credentials look like those of a device: the user name is the device id."""
    if broker.username is None:
        return False
    try:
        check_device(broker.username)
    except TopicError:
        return False
    return True


def check_strangers(broker: Broker, client_id: str) -> list[Finding]:
    """Anonymous and plain-text connections."""
    nobody = replace(broker, username=None, password=None, cert_file=None, key_file=None)
    return [_anonymous(nobody, client_id, known=broker.username is not None), *_plain_text(nobody, client_id)]


def _anonymous(nobody: Broker, client_id: str, *, known: bool) -> Finding:
    with Probe(nobody, client_id) as probe:
        answer = probe.connect()
    if not answer.accepted:
        return good(_GROUP, "anonymous", f"refused ({answer.reason})")
    local = is_loopback(nobody.host) and not known
    return bad(
        _GROUP, "anonymous", "accepted: whoever reaches the broker reads and writes everything",
        "Set allow_anonymous false, or keep the broker on the loopback interface", serious=not local,
    )  # fmt: skip


def _plain_text(nobody: Broker, client_id: str) -> list[Finding]:
    """Without encryption, and without our password of course."""
    ports = sorted({nobody.port, _PLAIN_PORT}) if nobody.tls else []
    findings = []
    for port in ports:
        name = f"plain text, port {port}"
        with Probe(replace(nobody, tls=False, ca_file=None, port=port), client_id) as probe:
            answer = probe.connect()
        if answer.accepted:
            findings.append(bad(_GROUP, name, "accepted, even anonymously", "Remove that listener"))
        elif answer.answered:
            findings.append(
                bad(
                    _GROUP, name, f"an MQTT broker answers ({answer.reason}): passwords could be sent there",
                    "Remove that listener, or bind it to 127.0.0.1", serious=not is_loopback(nobody.host),
                )
            )  # fmt: skip
        else:
            findings.append(good(_GROUP, name, "refused"))
    return findings


def check_account(broker: Broker, topics: Topics, client_id: str) -> list[Finding]:
    """What these credentials alone can show of the access list."""
    if broker.protocol != "5":
        return [
            skipped(_GROUP, "forging", "MQTT 3.1.1 does not tell what is refused", "Use a broker with MQTT 5")
        ]
    if is_device(broker):
        return _device_alone(broker, topics, client_id)
    without_device = skipped(
        _GROUP,
        "devices",
        "not tried: these are not a device's credentials",
        "Add --as-device URL with those of one",
    )
    if is_operator(broker.username):  # whose work it is: `deadletter replay`
        return [without_device]
    other = f"{DOCTOR}{secrets.token_hex(8)}"
    with Probe(broker, client_id) as probe:
        if not probe.connect().accepted:
            return [skipped(_GROUP, "forging samples", "the broker let us in once, and not again")]
        code = probe.publish(topics.of(other, Kind.RAW), b"")
    return [_forging(broker, [] if refused(code) else ["raw"], "samples"), without_device]


def _device_alone(broker: Broker, topics: Topics, client_id: str) -> list[Finding]:
    device = broker.username or ""
    other = f"{DOCTOR}{secrets.token_hex(8)}"
    with Probe(broker, client_id) as probe:
        if not probe.connect().accepted:
            return [skipped(_GROUP, "forging", "the broker let us in once, and not again")]
        forged = _forge(probe, topics, other)
        probe.subscribe("#")
        probe.subscribe(f"{topics.prefix}/#")
        heard = probe.wait_for(lambda message: not _may_hear(message, topics, device), _LISTEN_S)
    findings = [_forging(broker, forged, "messages of others")]
    if heard is not None:
        findings.append(_overheard(broker, heard.topic))
    else:
        findings.append(
            good(
                _GROUP,
                "listening",
                f"nothing of others came in {_LISTEN_S:g} s (--broker of an operator tries it)",
            )
        )
    return findings


def check_device_with_witness(
    witness: Broker, device: Broker, topics: Topics, client_id: str
) -> list[Finding]:
    """What a device can do, seen by somebody who reads everything and may write labels (an operator)."""
    device = replace(device, protocol=witness.protocol)
    own, other = device.username or "", f"{DOCTOR}{secrets.token_hex(8)}"
    fence = f"{topics.prefix}/{SERVER}/doctor/{secrets.token_hex(8)}"
    with Probe(witness, f"{client_id}-w") as operator, Probe(device, client_id) as probe:
        for who, what in ((operator, "the operator"), (probe, "the device")):
            answer = who.connect()
            if not answer.accepted:
                return [
                    bad(_GROUP, "devices", f"{what} cannot connect: {answer.reason}", "Check its credentials")
                ]
        operator.subscribe(f"{topics.prefix}/#")
        # With 3.1.1 everything seems to be taken; what the operator hears is the truth then.
        forged = set(_forge(probe, topics, other)) if device.protocol == "5" else set()
        probe.subscribe("#")
        probe.subscribe(f"{topics.prefix}/#")
        told = [
            topic
            for topic in (
                topics.of(other, kind) for kind in (Kind.LABEL, Kind.PROBLEM, Kind.META, Kind.STATUS)
            )
            if not refused(operator.publish(topic, b""))
        ]
        if refused(operator.publish(fence, b"")):
            return [
                _forging(device, sorted(forged), "messages of others"),
                skipped(
                    _GROUP,
                    "listening",
                    f"{witness.username} may not write {fence}",
                    "Use an operator's credentials",
                ),
            ]
        through = probe.wait_for(lambda message: message.topic == fence) is not None
        operator.wait_for(lambda message: message.topic == fence)
        overheard = [m.topic for m in probe.heard() if not _may_hear(m, topics, own)]
        forged |= {m.topic for m in operator.heard() if other in m.topic and m.topic not in told}
    findings = [_forging(device, sorted(forged), "messages of others")]
    if overheard:
        findings.append(_overheard(device, overheard[0]))
    elif told:
        findings.append(good(_GROUP, "listening", f"{own} does not hear what {', '.join(told)} carries"))
    else:
        findings.append(skipped(_GROUP, "listening", "nothing could be published for it to overhear"))
    if not through:
        findings.append(
            bad(
                _GROUP, "announcements", f"{own} does not hear {topics.prefix}/{SERVER}", _LIST, serious=False
            )
        )
    return findings


def _forge(probe: Probe, topics: Topics, other: str) -> list[str]:
    """Topics that the broker took from a device although they are not its own.

    The device's own label and problem are left alone: a listener could take the empty message for one.
    """
    tries = [topics.of(other, kind) for kind in Kind]
    tries += [f"{topics.prefix}/{SERVER}/doctor/{other}", f"doctor/{other}"]
    return [topic for topic in tries if not refused(probe.publish(topic, b""))]


def _may_hear(message: Heard, topics: Topics, device: str) -> bool:
    own = (topics.of(device, Kind.LABEL), topics.of(device, Kind.PROBLEM))
    return message.topic in own or message.topic.startswith(f"{topics.prefix}/{SERVER}/")


def _forging(broker: Broker, forged: list[str], what: str) -> Finding:
    who = broker.username or "anybody"
    if forged:
        return bad(_GROUP, "forging", f"{who} may publish {', '.join(forged)} for any device", _LIST)
    return good(_GROUP, "forging", f"{who} cannot publish {what}")


def _overheard(broker: Broker, topic: str) -> Finding:
    return bad(_GROUP, "listening", f"{broker.username} hears {topic}", _LIST)
