"""The text of ``mosquitto.conf`` and of its access lists.

Four listeners, each with users of its own. MQTT lets a client that comes with the id of another one take over
its session, and throw it out, and its queue with it. So nobody but the server connects where client ids are
free, and everywhere else the user name replaces the client id. No user name is one of the server's ids:
device ids beginning with ``disc-stream`` are refused, those of people begin with ``_``, and those of
certificates have an ``@`` in them.

Where devices show certificates, each certificate is a user of its own, which the access list names as long
as it is good: to Mosquitto 2.0 a certificate is good for as long as the connection lasts, whatever is
revoked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from disc_stream.wire.topics import SERVER as SERVER_LEVEL
from disc_stream.wire.topics import Kind
from disc_stream_server.brokerconfig.authority import Issued
from disc_stream_server.brokerconfig.plan import GATEWAY, OPERATOR, SERVER, VIEWER, Layout, Plan

AUTOSAVE_S = 60
MAX_PACKET_BYTES = 1_048_576
MAX_KEEPALIVE_S = 600
MAX_INFLIGHT = 1_000
MAX_QUEUED = 1_000_000_000
DEVICE_ACL, CERTIFICATE_ACL = "devices.acl", "certificates.acl"
SERVICE_ACL, PEOPLE_ACL = "services.acl", "people.acl"
DEVICE_PASSWORDS, SERVICE_PASSWORDS, PEOPLE_PASSWORDS = (
    "devices.passwords", "services.passwords", "people.passwords",
)  # fmt: skip
CRL = "revoked.crl"
HOME = "homeassistant"
"""Prefix of Home Assistant's discovery; who has set another one there edits the access lists."""
HOME_USER = f"{VIEWER}-{HOME}"
"""The viewer that Home Assistant connects as; it says there, too, when it has come."""
CHECK_TOPIC = "disc-stream-reload"
"""What nobody may write but the check of ``certificate_access``, and nobody may read."""


def configuration(plan: Plan, layout: Layout) -> str:
    """``mosquitto.conf`` in the form for the plan's version."""
    folder = layout.broker
    parts = [_general(plan, layout)]
    if plan.mosquitto == "2.1":
        parts.append(_plugins(plan, folder))
    by_name = "use_username_as_clientid true"
    by_certificate = (
        f"cafile {folder / 'ca.crt'}",
        f"crlfile {folder / CRL}",
        "require_certificate true",
        "use_identity_as_username true",
        by_name,
    )
    listeners = (
        _Listener("device", plan.port, "devices, by password", (by_name,)),
        _Listener("certificate", plan.certificate_port, "devices, by certificate", by_certificate),
        _Listener("service", plan.service_port, "the server, by password; client ids are free here alone"),
        # The last one: a broker that was started without it reads what stands before it when it reloads.
        _Listener("people", plan.people_port, "viewers and operators, by password", (by_name,)),
    )
    parts += [_listener(plan, folder, listener) for listener in listeners]
    return "\n".join(parts)


def _general(plan: Plan, layout: Layout) -> str:
    per_listener = "per_listener_settings true" if plan.mosquitto == "2.0" else "allow_anonymous false"
    return f"""\
# Mosquitto {plan.mosquitto}. Written by `disc-stream broker config`, which writes it again with --force.
{per_listener}
user {plan.user}
pid_file {layout.pid}

# Nothing that was confirmed is dropped by count: the number is as good as none. (0 would mean none, but
# then 2.0 hangs up on a client whose message it refuses.) The limit in bytes is for each client; beyond it
# Mosquitto drops new messages for that client without telling anybody; without it one dead client could end
# the broker.
max_queued_messages {MAX_QUEUED}
max_queued_bytes {plan.queue_bytes}
max_inflight_messages {MAX_INFLIGHT}

# A larger packet ends the sender's connection. (message_size_limit is left alone: with MQTT 3.1.1 it would
# confirm a larger message and throw it away.)
max_packet_size {MAX_PACKET_BYTES}
max_keepalive {MAX_KEEPALIVE_S}
set_tcp_nodelay true

# Queues and retained messages outlive a restart. A crash of the broker forgets what came after the last
# saving; a power cut may, too.
persistence true
persistence_location {layout.broker / "data"}/
autosave_interval {AUTOSAVE_S}
persistent_client_expiration 14d

log_dest stderr
log_type error
log_type warning
log_type notice
log_type information
connection_messages true
"""


def _plugins(plan: Plan, folder: Path) -> str:
    """2.1: the files are read by plugins, which are loaded once for each kind of listener."""
    so = Path(plan.plugin_dir)
    lines = []
    for kind, (passwords, acl) in _FILES.items():
        if passwords is not None:
            lines += [f"plugin_load {kind}-passwords {so / 'mosquitto_password_file.so'}"]
            lines += [f"plugin_opt_password_file {folder / passwords}"]
        lines += [f"plugin_load {kind}-access {so / 'mosquitto_acl_file.so'}"]
        lines += [f"plugin_opt_acl_file {folder / acl}"]
    return "\n".join(lines) + "\n"


_FILES: dict[str, tuple[str | None, str]] = {
    "device": (DEVICE_PASSWORDS, DEVICE_ACL),
    "certificate": (None, CERTIFICATE_ACL),
    "service": (SERVICE_PASSWORDS, SERVICE_ACL),
    "people": (PEOPLE_PASSWORDS, PEOPLE_ACL),
}
"""By kind of listener: who may connect (where it is not the certificate that decides), and who may what."""


@dataclass(frozen=True, slots=True)
class _Listener:
    """A port, who connects there, and further settings."""

    kind: str
    port: int
    whom: str
    further: tuple[str, ...] = ()


# 2.0 forgets `max_connections` when it reloads (2.0.11 and 2.0.20 do), and has no other limit; see the guide.
def _listener(plan: Plan, folder: Path, listener: _Listener) -> str:
    lines = [
        f"# {listener.whom}",
        f"listener {listener.port}" + (f" {plan.bind}" if plan.bind else ""),
        f"max_connections {plan.max_connections}",
        f"certfile {folder / 'broker.crt'}",
        f"keyfile {folder / 'broker.key'}",
        *listener.further,
    ]
    passwords, acl = _FILES[listener.kind]
    if plan.mosquitto == "2.0":
        # Where the user name becomes the client id, a client may leave that out, as `mosquitto_pub` does.
        zero_length = "false" if listener.kind == "service" else "true"
        lines += ["allow_anonymous false", f"allow_zero_length_clientid {zero_length}"]
        lines += [f"password_file {folder / passwords}"] if passwords else []
        lines += [f"acl_file {folder / acl}"]
    else:
        lines += ["listener_allow_anonymous false"]
        lines += [f"plugin_use {listener.kind}-passwords"] if passwords else []
        lines += [f"plugin_use {listener.kind}-access"]
    return "\n".join(lines) + "\n"


def device_access(prefix: str, labelling: Iterable[str] = ()) -> str:
    """Who may do what where devices connect with passwords; the user name is the device id.

    Args:
        prefix: of the topics.
        labelling: devices that label themselves.
    """
    rights = "".join(f"pattern {right}\n" for right in _of_device(prefix, "%u"))
    parts = [f"# Each device for itself.\n{rights}"]
    parts += [
        f"# It labels itself.\nuser {device}\n{_topics(_of_labelling(prefix, device))}"
        for device in sorted(labelling)
    ]
    return "\n".join(parts)


def certificate_access(
    prefix: str, good: Iterable[Issued], check: str = "", labelling: Collection[str] = ()
) -> str:
    """Who may do what where devices connect with certificates.

    Args:
        prefix: of the topics.
        good: the certificates that are valid; others have no rights, on connections that are open either.
        check: user name by which a command sees that the broker has read this list, see ``reloading``.
        labelling: devices that label themselves.
    """
    parts = ["# Each certificate that is good; a renewed one is another user.\n"]
    for one in good:
        rights = _of_device(prefix, one.device)
        if one.device in labelling:
            rights += _of_labelling(prefix, one.device)
        parts.append(f"user {one.user}\n{_topics(rights)}")
    if check:
        parts.append(f"user {check}\ntopic write {CHECK_TOPIC}\n")
    return "\n".join(parts)


def _of_device(prefix: str, device: str) -> tuple[str, ...]:
    """A device writes its samples, description and state; it reads labels, problem and announcements."""
    own = f"{prefix}/{device}"
    return (
        f"write {own}/raw", f"write {own}/meta", f"write {own}/status", f"read {own}/label",
        f"read {own}/problem", f"read {prefix}/{SERVER_LEVEL}/#",
    )  # fmt: skip


def _of_labelling(prefix: str, device: str) -> tuple[str, ...]:
    """What a device that labels itself writes besides: what ``edge label`` publishes, of this device."""
    return tuple(f"write {prefix}/{device}/{kind}" for kind in (Kind.LABEL, Kind.EMBEDDING))


def _topics(rights: Iterable[str]) -> str:
    return "".join(f"topic {right}\n" for right in rights)


def service_access(prefix: str) -> str:
    """What the server may do: it reads everything, and writes labels, problems and announcements."""
    return f"""\
user {SERVER}
topic read {prefix}/#
topic write {prefix}/+/label
topic write {prefix}/+/problem
topic write {prefix}/+/activity
topic write {prefix}/+/event
topic write {prefix}/{SERVER_LEVEL}/#
topic read {HOME}/status
topic write {HOME}/device/+/config
"""


def people_access(prefix: str, users: Iterable[str]) -> str:
    """Who may do what where viewers and operators connect.

    Args:
        prefix: of the topics.
        users: their user names; what they may do goes by the role that these begin with.
    """
    parts = [_ABOUT_PEOPLE]
    for user in sorted(users):
        role = _OPERATORS if is_operator(user) else _GATEWAYS if is_gateway(user) else _VIEWERS
        rights = [*role]
        rights += _HOME_ASSISTANT if user == HOME_USER else ()
        topics = "".join(f"topic {how} {what.format(p=prefix, s=SERVER_LEVEL)}\n" for how, what in rights)
        parts.append(f"user {user}\n{topics}")
    return "\n".join(parts)


def is_operator(user: str | None) -> bool:
    """Whether a user name is that of an operator."""
    return user is not None and (user == OPERATOR or user.startswith(f"{OPERATOR}-"))


def is_gateway(user: str | None) -> bool:
    """Whether a user name is that of a gateway of phones."""
    return user is not None and user.startswith(f"{GATEWAY}-")


_ABOUT_PEOPLE = """\
# Viewers read labels, problems, states and descriptions, never samples. Operators look after it all:
# `disc-stream doctor`, `disc-stream data forget`, which clears what is retained, and
# `disc-stream deadletter replay`, which sends samples again in their device's name. Gateways
# (`disc-stream phone`) show labels, tell what is wrong with phones, and read what apps publish; the samples
# of a phone go out with the credential of that phone.
"""
_VIEWERS = (
    ("read", "{p}/+/label"), ("read", "{p}/+/problem"), ("read", "{p}/+/status"), ("read", "{p}/+/meta"),
    ("read", "{p}/{s}/#"),
    ("read", "{p}/+/activity"), ("read", "{p}/+/event"),
)  # fmt: skip
_GATEWAYS = (
    ("read", "{p}/+/label"), ("read", "{p}/+/problem"), ("read", "{p}/{s}/#"), ("write", "{p}/+/problem"),
    ("read", "sensor-logger/#"), ("read", "android/sensor/#"), ("read", "phyphox/#"),
)  # fmt: skip
_HOME_ASSISTANT = (("read", f"{HOME}/#"), ("write", f"{HOME}/status"))
_OPERATORS = (
    ("read", "{p}/#"), ("read", "$SYS/broker/#"), ("write", "{p}/+/raw"), ("write", "{p}/+/meta"),
    ("write", "{p}/+/status"), ("write", "{p}/+/label"), ("write", "{p}/+/problem"),
    ("write", "{p}/+/activity"), ("write", "{p}/+/event"),
    ("write", f"{HOME}/device/+/config"), ("write", "{p}/{s}/doctor/#"),
)  # fmt: skip
