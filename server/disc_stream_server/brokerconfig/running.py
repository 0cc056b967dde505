"""The broker that runs on a set-up is told to read its files again, and what is not good any more is cut.

Mosquitto 2.0 looks at a certificate when a connection begins, and at a revocation never again. A connection
that is open loses its rights when the access list does not name its user any more, and is ended by another
one with the same client id, which is the certificate's name: so a command connects with that name, for a
moment.
"""

from __future__ import annotations

import os
import secrets
import signal
import ssl
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from disc_stream_server.brokerconfig import mosquitto
from disc_stream_server.brokerconfig.authority import Authority
from disc_stream_server.brokerconfig.files import read
from disc_stream_server.brokerconfig.plan import Layout, Plan

_WAIT_S = 5.0  # for one answer of the broker
_TRIES = 20  # a signal is lost that comes while Mosquitto reads because of another one (2.0.11)
_AGAIN_S = 0.25  # longer than it reads
_REFUSED = 0x80


@dataclass(frozen=True, slots=True)
class Told:
    """What a broker was told.

    Args:
        pid: its process id, None if none runs here.
        confirmed: whether it showed that it has read its files.
        stale: users whose connections were to end.
        cut: those of them whose connections were ended, or who had none.
    """

    pid: int | None
    confirmed: bool = False
    stale: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()


def new_check() -> str:
    """A user name for ``mosquitto.certificate_access`` that no certificate has."""
    return f"@{secrets.token_hex(8)}"


def tell(layout: Layout, plan: Plan, authority: Authority, check: str, stale: Iterable[str] = ()) -> Told:
    """Let the broker read its files, see that it has, and end the connections of certificates.

    Args:
        layout: of the set-up; its access list for certificates names ``check``.
        plan: of the set-up.
        authority: signs the certificates that this connects with.
        check: user that the access list has named since its last change only.
        stale: users whose connections are to end: certificates that are not good any more.
    """
    stale = tuple(stale)
    pid = reload_broker(layout)
    if pid is None:
        return Told(None, stale=stale)
    with _CertificateClient(layout, plan, authority) as client:
        for _ in range(_TRIES):
            refused = client.publish(check, mosquitto.CHECK_TOPIC)
            if refused is None:
                return Told(pid, stale=stale)  # it cannot be reached from here, or runs in an older form
            if not refused:
                cut = tuple(user for user in stale if client.enter(user))
                return Told(pid, confirmed=True, stale=stale, cut=cut)
            time.sleep(_AGAIN_S)
            reload_broker(layout)
    return Told(pid, stale=stale)


def reload_broker(layout: Layout) -> int | None:
    """Let a broker that runs on this set-up read its files again (SIGHUP).

    Returns:
        Its process id, None if none runs here.
    """
    try:
        pid = int(read(layout.pid, 32) or b"")
        process = os.pidfd_open(pid)  # from here on, the number stays that process's
    except (OSError, ValueError, OverflowError):
        return None
    try:
        if not _is_broker(pid, layout):
            return None
        signal.pidfd_send_signal(process, signal.SIGHUP)
    except OSError:
        return None
    finally:
        os.close(process)
    return pid


def _is_broker(pid: int, layout: Layout) -> bool:
    """Whether a process is a Mosquitto of the user whose folder names it.

    The file may be a leftover, the number somebody else's by now; and the broker's user can write any number.
    """
    facts = Path(f"/proc/{pid}")
    command = (facts / "cmdline").read_bytes().split(b"\0")
    status = dict(
        line.split(b":", 1) for line in (facts / "status").read_bytes().splitlines() if b":" in line
    )
    owner = (layout.broker / "data").stat().st_uid
    return int(status[b"Uid"].split()[1]) == owner and os.path.basename(command[0]) == b"mosquitto"  # noqa: PTH119 - bytes


class _CertificateClient:
    """Connects to the port for certificates, in the name of any of them."""

    def __init__(self, layout: Layout, plan: Plan, authority: Authority) -> None:
        self._plan, self._authority = plan, authority
        self._ca = str(layout.ca)
        self._folder = tempfile.TemporaryDirectory(dir=layout.authority)

    def __enter__(self) -> _CertificateClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def enter(self, user: str) -> bool:
        """Connect, which ends the connection and the session of that user's; False if it was not possible."""
        return self._visit(user, None) is not None

    def publish(self, user: str, topic: str) -> bool | None:
        """Send an empty message; whether it was refused, None if there was no connection."""
        return self._visit(user, topic)

    def _visit(self, user: str, topic: str | None) -> bool | None:
        done, answers = threading.Event(), list[int]()
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=user, protocol=paho.MQTTv5, reconnect_on_failure=False
        )
        client.tls_set_context(self._context(user))

        def on_connect(
            _client: paho.Client, _data: object, _flags: object, reason: ReasonCode, _told: object
        ) -> None:
            if reason.is_failure:
                done.set()
            elif topic is None:
                answers.append(0)
                done.set()
            else:
                client.publish(topic, b"", qos=1)

        def on_publish(
            _client: paho.Client, _data: object, _mid: int, reason: ReasonCode, _told: object
        ) -> None:
            answers.append(reason.value)
            done.set()

        client.on_connect, client.on_publish = on_connect, on_publish
        client.on_disconnect = lambda *_: done.set()
        try:
            client.connect(self._address, self._plan.certificate_port, keepalive=20, clean_start=True)
        except OSError:
            return None
        client.loop_start()
        done.wait(_WAIT_S)
        client.disconnect()
        client.loop_stop()
        client._reset_sockets(sockpair_only=True)  # noqa: SLF001 - paho leaves them to its destructor
        return answers[0] >= _REFUSED if answers else None

    @property
    def _address(self) -> str:
        bind = self._plan.bind
        return "127.0.0.1" if bind in {None, "0.0.0.0"} else "::1" if bind == "::" else str(bind)  # noqa: S104

    def _context(self, user: str) -> ssl.SSLContext:
        """Our authority signs one broker only, so it is known by that, whatever address it is reached at."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(cafile=self._ca)
        pair = self._authority.issue_moment(user)
        file = Path(self._folder.name) / "pair.pem"
        file.touch(mode=0o600)
        file.write_bytes(pair.key + pair.certificate)
        context.load_cert_chain(file)
        return context
