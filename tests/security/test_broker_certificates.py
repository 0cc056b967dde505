"""A certificate that was renewed or revoked is worth nothing, to a connection that is open either."""

from __future__ import annotations

import shutil
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from disc_stream.wire.broker import Broker
from disc_stream_server.brokerconfig.authority import Authority
from disc_stream_server.brokerconfig.devices import remove_device
from disc_stream_server.brokerconfig.setup import write_setup
from disc_stream_server.doctor.probe import NOT_AUTHORIZED, Probe
from tests.support.secure_broker import SecureMosquitto
from tests.support.tls_client import hand_shake

pytestmark = pytest.mark.broker

TAKEN = {0x00, 0x10}
KEPT = {"clean": False, "session_expiry_s": 600}


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureMosquitto]:
    broker = SecureMosquitto(tmp_path_factory.mktemp("secure") / "set-up")
    broker.start()
    yield broker
    broker.discard()


def stolen(secure: SecureMosquitto, device: str, folder: Path) -> Broker:
    """A copy of a device's certificate and key, that the device itself keeps."""
    broker = secure.add(device, certificate=True)
    shutil.copytree(secure.layout.device(device), folder / "copy")
    names = {"ca_file": "ca.crt", "cert_file": "device.crt", "key_file": "device.key"}
    return replace(broker, **{field: str(folder / "copy" / name) for field, name in names.items()})  # type: ignore[arg-type]


def renew(secure: SecureMosquitto, device: str) -> None:
    secure.added(device, renew=True)


def remove(secure: SecureMosquitto, device: str) -> None:
    with secure.reloading():
        remove_device(secure.folder, device)


AWAY = pytest.mark.parametrize("take_away", [renew, remove])


@AWAY
def test_a_connection_that_is_open_is_cut(
    secure: SecureMosquitto, tmp_path: Path, take_away: type[object]
) -> None:
    device = f"open-{take_away.__name__}"
    with Probe(stolen(secure, device, tmp_path), "any") as thief:
        assert thief.connect().accepted
        assert thief.publish(f"ds/v1/{device}/raw", b"before") in TAKEN
        take_away(secure, device)  # type: ignore[call-arg]
        assert thief.wait_closed(), "it publishes for as long as it likes"


@AWAY
def test_a_connection_that_was_begun_before_and_speaks_after_has_no_rights(
    secure: SecureMosquitto, tmp_path: Path, take_away: type[object]
) -> None:
    """The certificate was good when the broker looked at it: at the handshake, and never again."""
    device = f"early-{take_away.__name__}"
    thief = stolen(secure, device, tmp_path)
    files = Path(str(thief.cert_file)), Path(str(thief.key_file))
    with hand_shake(thief, *files, ssl.TLSVersion.TLSv1_3) as connection:
        take_away(secure, device)  # type: ignore[call-arg]
        connection.sendall(b"\x10\x0e\0\4MQTT\5\2\0\x3c\0\0\1a")
        answer = connection.recv(64)
        if answer and answer[0] == 0x20 and answer[3] == 0:  # let in: without any right
            topic = f"ds/v1/{device}/raw".encode()
            body = len(topic).to_bytes(2, "big") + topic + b"\0\1\0" + b"forged"
            connection.sendall(bytes([0x32, len(body)]) + body)
            answer = connection.recv(64)
            assert answer[0] == 0x40, "PUBACK"
            assert answer[4] == NOT_AUTHORIZED


def test_a_session_that_was_begun_before_is_not_resumed(secure: SecureMosquitto, tmp_path: Path) -> None:
    """TLS resumes sessions without looking at certificates."""
    thief = stolen(secure, "resumed", tmp_path)
    context = ssl.create_default_context(cafile=str(thief.ca_file))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(str(thief.cert_file), str(thief.key_file))

    def connect(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool]:
        with (
            socket.create_connection((thief.host, thief.port), 10) as plain,
            context.wrap_socket(plain, server_hostname=thief.host, session=session) as connection,
        ):
            return connection.session, bool(connection.session_reused)

    session, _ = connect(None)
    assert connect(session)[1], "the broker resumes sessions"
    remove(secure, "resumed")
    with pytest.raises(ssl.SSLError, match="REVOKED"):
        connect(session)


def test_the_new_certificate_works_while_the_old_one_ends(secure: SecureMosquitto, tmp_path: Path) -> None:
    old = stolen(secure, "both", tmp_path)
    with Probe(old, "any") as thief:
        assert thief.connect().accepted
        added = secure.added("both", renew=True)
        assert added.told.confirmed
        assert len(added.told.cut) == 1
        with Probe(Broker.parse(added.url), "any") as device:
            assert device.connect().accepted
            assert device.publish("ds/v1/both/raw", b"new") in TAKEN
            assert thief.wait_closed()
            with Probe(old, "any") as again:
                assert not again.connect().accepted
            assert device.publish("ds/v1/both/raw", b"still") in TAKEN


def test_a_certificate_that_has_expired_loses_its_rights_with_the_next_command(
    secure: SecureMosquitto, tmp_path: Path
) -> None:
    """Mosquitto lets the connection go on; the access list does not name an expired certificate."""
    device = secure.add("expires", certificate=True)
    with Probe(device, "any") as probe:
        assert probe.connect().accepted
        authority = Authority(secure.layout.authority)
        authority._save(
            [replace(one, not_after=1) if one.device == "expires" else one for one in authority.issued()]
        )
        secure.add("somebody-else")
        assert probe.publish("ds/v1/expires/raw", b"late") == NOT_AUTHORIZED


@pytest.mark.parametrize("certificate", [False, True], ids=["password", "certificate"])
def test_what_was_confirmed_before_reaches_the_server(secure: SecureMosquitto, certificate: bool) -> None:
    device = f"confirmed-{certificate:d}"
    with Probe(secure.role("server"), "disc-stream-server", **KEPT) as server:  # type: ignore[arg-type]
        assert server.connect().accepted
        assert server.subscribe(f"ds/v1/{device}/raw") == 1
    with Probe(secure.add(device, certificate=certificate), "any") as probe:
        assert probe.connect().accepted
        for number in range(50):
            assert probe.publish(f"ds/v1/{device}/raw", f"{number}".encode()) in TAKEN
        secure.added(device, renew=True)
        assert probe.wait_closed()
    remove(secure, device)
    with Probe(secure.role("server"), "disc-stream-server", **KEPT) as server:  # type: ignore[arg-type]
        assert server.connect().session_present
        assert server.wait_for(lambda heard: heard.payload == b"49")
        assert [heard.payload for heard in server.heard()] == [f"{number}".encode() for number in range(50)]


def test_a_role_s_new_password_ends_the_connection_of_the_old_one(tmp_path: Path) -> None:
    broker = SecureMosquitto(tmp_path / "set-up")
    broker.start()
    try:
        with Probe(broker.role("viewer"), "any") as viewer:
            assert viewer.connect().accepted
            broker.layout.role("viewer").unlink()
            with broker.reloading():
                write_setup(broker.folder)
            assert viewer.wait_closed()
    finally:
        broker.discard()
