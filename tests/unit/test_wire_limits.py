"""What others sent is quoted, but not at any length; CONNECT carries the credentials that were given."""

from __future__ import annotations

import json
import ssl
import struct
from pathlib import Path

import pytest

from disc_stream.errors import BrokerError, PayloadError
from disc_stream.wire.broker import Broker
from disc_stream.wire.codecs import decode_batch
from disc_stream.wire.mqtt import MqttLink
from disc_stream.wire.secrecy import MAX_SECRET_BYTES, read_secret
from disc_stream.wire.status import decode_server_status
from disc_stream.wire.tls import connect_error
from tests.support.scripted_broker import CONNECT, Connection, Packet, ScriptedBroker

QUOTED = 80  # characters of what is quoted


@pytest.mark.parametrize("length", [QUOTED, QUOTED + 1])
def test_a_long_field_name_is_quoted_in_part(length: int) -> None:
    name = "f" * length
    with pytest.raises(PayloadError) as refused:
        decode_batch(json.dumps({name: 1}).encode(), device="watch", content_type="application/json")
    quoted = str(refused.value).partition("'")[2].partition("'")[0]
    assert quoted == "f" * QUOTED


@pytest.mark.parametrize(
    "misspelt",
    ["chanels", "chanenls", "channnels", "channelz", "Channels"],
    ids=["left out", "exchanged", "added", "replaced", "case"],
)
def test_the_field_that_was_meant_is_named(misspelt: str) -> None:
    with pytest.raises(PayloadError, match="is 'channels' meant"):
        decode_batch(json.dumps({misspelt: []}).encode(), device="watch", content_type="application/json")


@pytest.mark.parametrize("other", ["chelsann", "chanlnes", "chxnnxls", "chan"])
def test_no_field_is_guessed_from_what_is_not_near_any(other: str) -> None:
    with pytest.raises(PayloadError) as refused:
        decode_batch(json.dumps({other: []}).encode(), device="watch", content_type="application/json")
    assert "meant" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "code", "remedy"),
    [
        ("mqtts://host", 62, "Use a name that the certificate is for"),
        ("mqtts://host", 64, "Use a name that the certificate is for"),
        ("mqtts://host", 10, "Have the broker's certificate renewed"),
        ("mqtts://host", 9, "Check this machine's clock"),
        ("mqtts://host", 20, "add ?ca=FILE"),
        ("mqtts://host?ca=my.crt", 20, "Check that 'my.crt' is the authority of this broker"),
    ],
)
def test_each_fault_of_a_certificate_has_its_own_remedy(url: str, code: int, remedy: str) -> None:
    fault = ssl.SSLCertVerificationError(1, "refused")
    fault.verify_code, fault.verify_message = code, "what OpenSSL says"
    error = connect_error(Broker.parse(url), fault)
    assert error.message.endswith("its certificate is not accepted: what OpenSSL says")
    assert remedy in (error.remedy or "")


def test_a_handshake_that_the_other_side_ends_is_a_failure_of_tls() -> None:
    error = connect_error(Broker.parse("mqtts://host"), ssl.SSLZeroReturnError(6, "closed (EOF)"))
    assert "TLS failed (the other side closed the connection)" in error.message
    assert "that it speaks TLS on that port" in (error.remedy or "")


@pytest.mark.parametrize("length", [QUOTED - 2, QUOTED - 1, 1_000])
def test_a_long_schema_is_quoted_in_part(length: int) -> None:
    with pytest.raises(PayloadError) as refused:
        decode_server_status(json.dumps({"schema": "s" * length}).encode())
    quoted = str(refused.value).partition(" is ")[2].partition(";")[0]
    assert quoted == repr("s" * length)[:QUOTED]


def test_a_password_may_be_as_long_as_is_read_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("p" * MAX_SECRET_BYTES)
    file.chmod(0o600)
    assert read_secret(str(file), "password file") == "p" * MAX_SECRET_BYTES


@pytest.mark.parametrize(
    ("user", "flags", "credentials"),
    [
        ("", 0x02, b""),
        ("me:secret@", 0xC2, struct.pack(">H2sH6s", 2, b"me", 6, b"secret")),
        ("me@", 0x82, struct.pack(">H2s", 2, b"me")),
    ],
    ids=["nobody", "with a password", "without one"],
)
def test_connect_carries_the_credentials_that_were_given(user: str, flags: int, credentials: bytes) -> None:
    heard: list[Packet] = []

    def hear(connection: Connection) -> None:
        heard.append(connection.receive(CONNECT))

    with ScriptedBroker(hear) as broker:
        link = MqttLink(Broker.parse(broker.url.replace("//", f"//{user}")), "c")
        with pytest.raises(BrokerError):  # it hangs up after CONNECT
            link.connect(5)
        link.close()
    body = heard[0].body
    assert body[7] & 0xC2 == flags
    assert body.endswith(credentials)
    assert b"secret" not in body or user
