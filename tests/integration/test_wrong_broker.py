"""Our own client before a broker that is not what it should be, and with files that are no good."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from disc_stream.errors import BrokerError, ConfigError
from disc_stream.wire.broker import Broker
from disc_stream.wire.mqtt import MqttLink
from disc_stream_server.brokerconfig.authority import Authority, Pair
from tests.support.secure_broker import SecureMosquitto

pytestmark = pytest.mark.broker


def start(
    folder: Path, make: Callable[[Authority], Pair] | None = None, **settings: object
) -> SecureMosquitto:
    """A secure broker, with a certificate of the test's making if one is given."""
    broker = SecureMosquitto(folder, **settings)
    if make is not None:
        pair = make(Authority(broker.layout.authority))
        (broker.layout.broker / "broker.crt").write_bytes(pair.certificate)
        (broker.layout.broker / "broker.key").write_bytes(pair.key)
    broker.start()
    return broker


def connect(broker: Broker) -> None:
    link = MqttLink(broker, "test")
    try:
        link.connect(10)
    finally:
        link.close()


def fails(broker: Broker, kind: type[Exception], *says: str) -> None:
    with pytest.raises(kind) as caught:
        connect(broker)
    for words in says:
        assert re.search(words, str(caught.value)), str(caught.value)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda ca: ca.issue_broker(["localhost", "127.0.0.1"], -1), ("expired", "renewed")),
        (
            lambda ca: ca.issue_broker(["elsewhere.example"]),
            ("localhost", "a name that the certificate is for"),
        ),
        (
            lambda ca: ca.issue_device("localhost"),
            ("unsuitable certificate purpose|unsupported", "authority"),
        ),
    ],
    ids=["expired", "other-name", "a-devices"],
)
def test_a_broker_with_a_bad_certificate_is_not_talked_to(
    tmp_path: Path, make: Callable[[Authority], Pair], says: tuple[str, ...]
) -> None:
    broker = start(tmp_path / "set-up", make)
    try:
        fails(broker.role("server"), BrokerError, "certificate is not accepted", *says)
    finally:
        broker.discard()


def test_a_broker_of_another_authority_is_not_talked_to(tmp_path: Path) -> None:
    broker = start(tmp_path / "set-up")
    try:
        (tmp_path / "other").mkdir()
        Authority.create(tmp_path / "other", "disc-stream authority of localhost")
        wrong = replace(broker.role("server"), ca_file=str(tmp_path / "other" / "ca.crt"))
        fails(wrong, BrokerError, "certificate is not accepted", "is the authority of this broker")
        unknown = replace(broker.role("server"), ca_file=None)
        fails(unknown, BrokerError, "certificate is not accepted", r"\?ca=FILE")
    finally:
        broker.discard()


def test_an_address_that_the_certificate_does_not_name(tmp_path: Path) -> None:
    broker = start(tmp_path / "set-up", hosts=("localhost",), bind="127.0.0.1")
    try:
        fails(
            replace(broker.role("server"), host="127.0.0.1"), BrokerError, "IP address mismatch", "made for"
        )
        connect(broker.role("server"))
    finally:
        broker.discard()


def test_a_broker_that_speaks_no_tls(tmp_path: Path) -> None:
    broker = start(tmp_path / "set-up")
    try:
        with deaf_server() as port:
            plain = replace(broker.role("server"), port=port)
            fails(plain, BrokerError, "TLS failed", "speaks TLS on that port")
    finally:
        broker.discard()


def test_a_plain_connection_to_a_port_that_speaks_tls(tmp_path: Path) -> None:
    broker = start(tmp_path / "set-up")
    try:
        fails(replace(broker.role("server"), tls=False, ca_file=None), BrokerError, "closed", "mqtts://")
    finally:
        broker.discard()


def test_a_revoked_certificate_is_told_apart_from_a_wrong_password(tmp_path: Path) -> None:
    broker = start(tmp_path / "set-up")
    try:
        device = broker.add("watch", certificate=True)
        authority = Authority(broker.layout.authority)
        other = authority.create(tmp_path, "other").issue_device("watch")
        (tmp_path / "d.crt").write_bytes(other.certificate)
        (tmp_path / "d.key").write_bytes(other.key)
        stranger = replace(device, cert_file=str(tmp_path / "d.crt"), key_file=str(tmp_path / "d.key"))
        fails(stranger, BrokerError, "trusts the certificate .*d.crt")
        wrong = replace(broker.role("server"), password="wrong")  # noqa: S106
        fails(wrong, BrokerError, "Not authorized", "Check user name, password")
    finally:
        broker.discard()


@contextmanager
def deaf_server() -> Iterator[int]:
    """Answers whatever comes with something that is not TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(1024)
                client.sendall(b"\x20\x02\x00\x05")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_a_broker_with_old_tls_is_not_talked_to(tmp_path: Path, version: ssl.TLSVersion) -> None:
    folder = tmp_path / "set-up"
    broker = SecureMosquitto(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(broker.layout.broker / "broker.crt", broker.layout.broker / "broker.key")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            client, _ = listener.accept()
            try:
                context.wrap_socket(client, server_side=True).close()
            except OSError:
                client.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        old = replace(broker.role("server"), port=listener.getsockname()[1])
        fails(old, BrokerError, "TLS failed")
        thread.join(10)


# -- files ---------------------------------------------------------------------------------------------


@pytest.fixture
def device(tmp_path: Path) -> Broker:
    """A device with a certificate; no broker runs."""
    return SecureMosquitto(tmp_path / "set-up").add("watch", certificate=True)


def test_missing_files_are_named(device: Broker, tmp_path: Path) -> None:
    gone = str(tmp_path / "gone.pem")
    for option, what in (
        ("ca_file", "certificate authority"),
        ("cert_file", "certificate"),
        ("key_file", "private key"),
    ):
        fails(
            replace(device, **{option: gone}), ConfigError, f"cannot read the {what} '{gone}': No such file"
        )  # type: ignore[arg-type]


def test_files_that_hold_something_else_are_named(device: Broker, tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    junk.chmod(0o600)
    fails(replace(device, ca_file=str(junk)), ConfigError, f"'{junk}' is not a certificate in PEM")
    fails(replace(device, cert_file=str(junk)), ConfigError, f"'{junk}'.*cannot be used")
    fails(replace(device, key_file=str(junk)), ConfigError, f"'{junk}'.*cannot be used")


def test_a_key_of_another_certificate(device: Broker, tmp_path: Path) -> None:
    other = Authority.create(tmp_path, "other").issue_device("x")
    (tmp_path / "x.key").write_bytes(other.key)
    fails(replace(device, key_file=str(tmp_path / "x.key")), ConfigError, "do not belong together")


def test_an_encrypted_key_is_not_asked_about_on_the_terminal(device: Broker, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    assert device.key_file is not None
    key = load_pem_private_key(Path(device.key_file).read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase"))
    )
    fails(replace(device, key_file=str(locked)), ConfigError, f"'{locked}' is encrypted", "openssl pkey")


def test_an_expired_certificate_of_ours_is_found_before_anybody_is_bothered(
    device: Broker, tmp_path: Path
) -> None:
    old = Authority(tmp_path / "set-up" / "authority").issue_device("watch", -1)
    (tmp_path / "old.crt").write_bytes(old.certificate)
    (tmp_path / "old.key").write_bytes(old.key)
    expired = replace(device, cert_file=str(tmp_path / "old.crt"), key_file=str(tmp_path / "old.key"))
    fails(expired, ConfigError, r"old\.crt' expired on \d{4}-", "add-device DEVICE --renew")


def test_an_expired_authority_is_named(device: Broker, tmp_path: Path) -> None:
    Authority.create(tmp_path, "old", -1)
    fails(replace(device, ca_file=str(tmp_path / "ca.crt")), ConfigError, r"ca\.crt' expired on \d{4}-")
