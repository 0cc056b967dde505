"""Reaching the broker: version, encryption, limits, and whether it keeps a session."""

from __future__ import annotations

import datetime
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace

from disc_stream.wire.broker import Broker
from disc_stream.wire.certificate import validity_of_der
from disc_stream.wire.limits import MAX_PACKET_BYTES
from disc_stream.wire.secrecy import is_loopback
from disc_stream.wire.tls import make_context
from disc_stream_server.doctor.findings import Finding, bad, good, skipped
from disc_stream_server.doctor.probe import PATIENCE_S, Answer, Probe

_GROUP = "broker"
_LARGEST_BATCH = 262_144 + 1_024  # a payload of the largest size, with its topic and properties
_LARGER_IS_DROPPED = (
    f"the server asks for {MAX_PACKET_BYTES:,} bytes at most: the broker confirms a larger message and drops "
    "it, and a gap is all that is seen"
)
_SESSION_S = 86_400
_SOON_DAYS = 30


def check_connection(broker: Broker, client_id: str) -> tuple[list[Finding], Broker | None]:
    """Connect, if need be with MQTT 3.1.1.

    Returns:
        What was found, and how to connect from here on; None if there is no way.
    """
    with Probe(broker, client_id, session_expiry_s=_SESSION_S) as probe:
        answer = probe.connect()
    if answer.accepted:
        _forget(broker, client_id)
        return [
            good(_GROUP, "connection", f"{broker} with MQTT {broker.protocol}"),
            *_limits(broker, answer),
        ], broker
    if broker.protocol == "5":
        older = replace(broker, protocol="3.1.1")
        with Probe(older, client_id) as probe:
            if probe.connect().accepted:
                return [
                    bad(
                        _GROUP, "connection", f"{broker} with MQTT 3.1.1 only, which tells no limits",
                        "Use a broker with MQTT 5, or add ?version=3.1.1 to the URL", serious=False,
                    )
                ], older  # fmt: skip
    remedy = "Check that it runs, host, port, user name and password"
    return [bad(_GROUP, "connection", answer.reason, remedy)], None


def _forget(broker: Broker, client_id: str) -> None:
    """Take back the session that was only asked for."""
    with Probe(broker, client_id) as probe:
        probe.connect()


Rule = tuple[str, str, Callable[[int], bool], bool, str]

_RULES: tuple[Rule, ...] = (
    ("MaximumQoS", "highest QoS", lambda value: value >= 1, True, "Allow QoS 1: with QoS 0 samples get lost"),
    ("RetainAvailable", "retained messages", lambda value: value == 1, True, "Allow retained messages"),
    ("WildcardSubscriptionAvailable", "wildcard subscriptions", lambda value: value == 1, True, "Allow them"),
    (
        "MaximumPacketSize", "largest packet", lambda value: value >= _LARGEST_BATCH, True,
        f"Allow {_LARGEST_BATCH} bytes (Mosquitto: max_packet_size), or large batches end the connection",
    ),
    (
        "ReceiveMaximum", "unconfirmed messages", lambda value: value >= 20, False,
        "Allow more (Mosquitto: max_inflight_messages 1000), or publishing waits for the network",
    ),
    ("ServerKeepAlive", "keep-alive", lambda value: value >= 15, False, "Allow at least 15 seconds"),
    (
        "SessionExpiryInterval", "session expiry", lambda value: value >= _SESSION_S, False,
        "Allow a day: the server's queue is lost when it is away for longer",
    ),
)  # fmt: skip
_UNTOLD: Mapping[str, int] = {
    "MaximumQoS": 2, "RetainAvailable": 1, "WildcardSubscriptionAvailable": 1,
    "MaximumPacketSize": 268_435_460, "ReceiveMaximum": 65_535, "SessionExpiryInterval": _SESSION_S,
}  # fmt: skip


def _limits(broker: Broker, answer: Answer) -> list[Finding]:
    """What MQTT 5 says of the broker's limits; what it leaves out has the standard's value."""
    if broker.protocol != "5":
        return [skipped(_GROUP, "limits", "MQTT 3.1.1 does not tell them")]
    findings = []
    for key, name, is_good, serious, remedy in _RULES:
        value = answer.limits.get(key, _UNTOLD.get(key))
        if value is None:
            continue
        told = "" if key in answer.limits else " (not limited)"
        detail = f"{value:,}{told}"
        findings.append(
            good(_GROUP, name, detail)
            if is_good(value)
            else bad(_GROUP, name, detail, remedy, serious=serious)
        )
    if answer.limits.get("MaximumPacketSize", _UNTOLD["MaximumPacketSize"]) > MAX_PACKET_BYTES:
        findings.append(
            bad(
                _GROUP, "too large messages", _LARGER_IS_DROPPED,
                "Let the broker refuse them: senders then learn of it (Mosquitto: max_packet_size 1048576)",
                serious=False,
            )
        )  # fmt: skip
    shared = answer.limits.get("SharedSubscriptionAvailable", 1)
    aliases = answer.limits.get("TopicAliasMaximum", 0)
    findings.append(
        good(_GROUP, "further", f"shared subscriptions {'yes' if shared else 'no'}, topic aliases {aliases}")
    )
    return findings


def check_encryption(broker: Broker) -> list[Finding]:
    """Whether the connection is encrypted, and until when the broker's certificate is good."""
    if not broker.tls:
        if is_loopback(broker.host):
            return [good(_GROUP, "encryption", "none; it does not leave this machine")]
        return [
            bad(
                _GROUP, "encryption", "none: samples and passwords cross the network in the open",
                "Use mqtts:// (`disc-stream broker config` sets up such a broker)",
            )
        ]  # fmt: skip
    try:
        with (
            socket.create_connection((broker.host, broker.port), PATIENCE_S) as plain,
            make_context(broker).wrap_socket(plain, server_hostname=broker.host) as connection,
        ):
            version, cipher = connection.version(), connection.cipher()
            der = connection.getpeercert(binary_form=True) or b""
        end = validity_of_der(der)[1]
    except (OSError, ValueError) as error:
        return [bad(_GROUP, "encryption", str(error), "Check the broker's certificate")]
    days = (end - datetime.datetime.now(datetime.UTC)).days
    detail = (
        f"{version}, {cipher[0] if cipher else '?'}; the broker's certificate is good until {end:%Y-%m-%d}"
    )
    if days < _SOON_DAYS:
        return [
            bad(
                _GROUP,
                "encryption",
                f"{detail}, {days} days",
                "Renew it: disc-stream broker config --force",
                serious=False,
            )
        ]
    return [good(_GROUP, "encryption", detail)]


def check_session(broker: Broker, client_id: str) -> Finding:
    """Whether the broker keeps a session, without which everything is lost that comes while we are away."""
    with Probe(broker, client_id, clean=False, session_expiry_s=60) as probe:
        if not probe.connect().accepted:
            return skipped(_GROUP, "session", "the broker let us in once, and not again")
    with Probe(broker, client_id, clean=False, session_expiry_s=60) as probe:
        answer = probe.connect()
    _forget(broker, client_id)
    if answer.session_present:
        return good(_GROUP, "session", "kept while we were away")
    return bad(
        _GROUP, "session", "not kept: messages that come while the server is away are lost",
        "Allow persistent sessions (Mosquitto keeps them; some hosted brokers do not)",
    )  # fmt: skip
