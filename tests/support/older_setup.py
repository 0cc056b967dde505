"""A set-up as versions before the server's own listener wrote it."""

from __future__ import annotations

import json
from pathlib import Path

from disc_stream_server.brokerconfig.plan import Layout, Plan

_SERVICES = """\
user _server
topic read {p}/#
topic write {p}/+/label
topic write {p}/+/problem
topic write {p}/$server/#

user _viewer
topic read {p}/+/label
topic read {p}/+/problem
topic read {p}/+/status
topic read {p}/+/meta
topic read {p}/$server/#

user _operator
topic read {p}/#
topic read $SYS/broker/#
topic write {p}/+/raw
topic write {p}/+/meta
topic write {p}/+/status
topic write {p}/+/label
topic write {p}/+/problem
topic write {p}/$server/doctor/#
"""

_GENERAL = """\
per_listener_settings true
user {user}
pid_file {data}/mosquitto.pid
max_queued_messages 1000000000
max_queued_bytes 2000000000
max_inflight_messages 1000
max_packet_size 1048576
persistence true
persistence_location {data}/
log_dest stderr
log_type error
log_type warning
log_type notice
log_type information
"""

_LISTENER = """\
listener {port} 127.0.0.1
certfile {broker}/broker.crt
keyfile {broker}/broker.key
allow_anonymous false
"""


def make_older(plan: Plan, layout: Layout) -> None:
    """Turn a set-up into what the earlier version wrote: three ports, one for server and people."""
    broker = layout.broker
    services, people = broker / "services.passwords", broker / "people.passwords"
    services.write_text(services.read_text() + people.read_text())
    for name in ("people.passwords", "people.acl", "certificates.acl"):
        (broker / name).unlink()
    (broker / "services.acl").write_text(_SERVICES.format(p=plan.prefix))
    for role in ("viewer", "operator"):
        file = layout.role(role)
        file.write_text(file.read_text().replace(f":{plan.people_port}", f":{plan.service_port}"))
    settings = json.loads(layout.plan.read_text())
    del settings["people_port"], settings["max_connections"]
    layout.plan.write_text(json.dumps(settings))
    issued = layout.authority / "issued.json"
    if issued.exists():
        entries = json.loads(issued.read_text())
        issued.write_text(json.dumps([{k: v for k, v in one.items() if k != "name"} for one in entries]))
    (broker / "mosquitto.conf").write_text(_configuration(plan, broker))


def _configuration(plan: Plan, broker: Path) -> str:
    named, shown = "use_username_as_clientid true\n", "use_identity_as_username true\n"
    certificates = f"cafile {broker}/ca.crt\ncrlfile {broker}/revoked.crl\nrequire_certificate true\n"
    passwords = "password_file {broker}/{kind}.passwords\n"
    further = (
        (plan.port, "devices", named + passwords),
        (plan.certificate_port, "devices", certificates + shown + named),
        (plan.service_port, "services", passwords),
    )
    parts = [_GENERAL.format(user=plan.user, data=broker / "data")]
    for port, kind, more in further:
        text = f"{_LISTENER}{more}acl_file {{broker}}/{{kind}}.acl\n"
        parts.append(text.format(port=port, broker=broker, kind=kind))
    return "\n".join(parts)
