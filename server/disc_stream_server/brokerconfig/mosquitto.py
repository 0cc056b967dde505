"""The text of ``mosquitto.conf`` and of its access lists.

Three listeners, each with users of its own. A device cannot connect where servers do, and where devices
connect, the user name replaces the client id: MQTT lets a client that comes with the id of another one take
over its session, so a device could else throw the server out, and its queue with it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from disc_stream.wire.topics import SERVER as SERVER_LEVEL
from disc_stream_server.brokerconfig.plan import OPERATOR, SERVER, VIEWER, Layout, Plan

AUTOSAVE_S = 60
MAX_PACKET_BYTES = 1_048_576
MAX_KEEPALIVE_S = 600
MAX_INFLIGHT = 1_000
MAX_QUEUED = 1_000_000_000
DEVICE_ACL, SERVICE_ACL = "devices.acl", "services.acl"
DEVICE_PASSWORDS, SERVICE_PASSWORDS = "devices.passwords", "services.passwords"
CRL = "revoked.crl"


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
        _Listener(plan.port, "devices, by password", DEVICE_PASSWORDS, DEVICE_ACL, (by_name,)),
        _Listener(plan.certificate_port, "devices, by certificate", None, DEVICE_ACL, by_certificate),
        _Listener(
            plan.service_port, "server, viewers and operators, by password", SERVICE_PASSWORDS, SERVICE_ACL
        ),
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

# A larger packet ends the connection. (message_size_limit is left alone: with MQTT 3.1.1 it would confirm a
# larger message and throw it away.)
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
    return f"""\
plugin_load device-passwords {so / "mosquitto_password_file.so"}
plugin_opt_password_file {folder / DEVICE_PASSWORDS}
plugin_load device-access {so / "mosquitto_acl_file.so"}
plugin_opt_acl_file {folder / DEVICE_ACL}
plugin_load service-passwords {so / "mosquitto_password_file.so"}
plugin_opt_password_file {folder / SERVICE_PASSWORDS}
plugin_load service-access {so / "mosquitto_acl_file.so"}
plugin_opt_acl_file {folder / SERVICE_ACL}
"""


@dataclass(frozen=True, slots=True)
class _Listener:
    """A port, who connects there, the files that say who may, and further settings."""

    port: int
    whom: str
    passwords: str | None
    acl: str
    further: tuple[str, ...] = ()

    @property
    def is_for_devices(self) -> bool:
        return self.acl == DEVICE_ACL


def _listener(plan: Plan, folder: Path, listener: _Listener) -> str:
    lines = [
        f"# {listener.whom}",
        f"listener {listener.port}" + (f" {plan.bind}" if plan.bind else ""),
        f"certfile {folder / 'broker.crt'}",
        f"keyfile {folder / 'broker.key'}",
        *listener.further,
    ]
    if plan.mosquitto == "2.0":
        # Where the user name becomes the client id, a client may leave that out, as `mosquitto_pub` does.
        zero_length = "true" if listener.is_for_devices else "false"
        lines += ["allow_anonymous false", f"allow_zero_length_clientid {zero_length}"]
        lines += [f"password_file {folder / listener.passwords}"] if listener.passwords else []
        lines += [f"acl_file {folder / listener.acl}"]
    else:
        kind = "device" if listener.is_for_devices else "service"
        lines += ["listener_allow_anonymous false"]
        lines += [f"plugin_use {kind}-passwords"] if listener.passwords else []
        lines += [f"plugin_use {kind}-access"]
    return "\n".join(lines) + "\n"


def device_access(prefix: str, banned: Collection[str] = ()) -> str:
    """Who may do what where devices connect; the user name is the device id.

    Args:
        prefix: of the topics.
        banned: devices whose certificate was revoked; a connection that is open keeps nothing but itself.
    """
    bans = "".join(f"user {device}\ntopic deny #\n\n" for device in sorted(banned))
    return f"""\
# A device writes its own samples, description and state; it reads its own label, its own
# problem and the announcements.
pattern write {prefix}/%u/raw
pattern write {prefix}/%u/meta
pattern write {prefix}/%u/status
pattern read {prefix}/%u/label
pattern read {prefix}/%u/problem
pattern read {prefix}/{SERVER_LEVEL}/#

{bans}"""


def service_access(prefix: str) -> str:
    """Who may do what where servers, viewers and operators connect."""
    return f"""\
# The server reads everything, and writes labels, problems and announcements.
user {SERVER}
topic read {prefix}/#
topic write {prefix}/+/label
topic write {prefix}/+/problem
topic write {prefix}/{SERVER_LEVEL}/#

# Viewers read labels, problems, states and descriptions, never samples.
user {VIEWER}
topic read {prefix}/+/label
topic read {prefix}/+/problem
topic read {prefix}/+/status
topic read {prefix}/+/meta
topic read {prefix}/{SERVER_LEVEL}/#

# Operators look after it: `disc-stream doctor`, `disc-stream data forget`, which clears what is retained, and
# `disc-stream deadletter replay`, which sends samples again in their device's name.
user {OPERATOR}
topic read {prefix}/#
topic read $SYS/broker/#
topic write {prefix}/+/raw
topic write {prefix}/+/meta
topic write {prefix}/+/status
topic write {prefix}/+/label
topic write {prefix}/+/problem
topic write {prefix}/{SERVER_LEVEL}/doctor/#
"""
