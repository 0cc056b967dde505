"""Our reader of certificates against the one of `cryptography`."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from disc_stream.wire.certificate import validity, validity_of_der

UTC = datetime.UTC
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a" * 60)] * 4)
KEYS = {
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "p256": ec.generate_private_key(ec.SECP256R1()),
    "rsa": rsa.generate_private_key(65537, 2048),
}


def certificate(
    begin: datetime.datetime, end: datetime.datetime, key: str = "ed25519", serial: int = 7
) -> x509.Certificate:
    private = KEYS[key]
    builder = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(private.public_key())  # type: ignore[arg-type]
        .serial_number(serial)
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    return builder.sign(private, None if key == "ed25519" else hashes.SHA256())  # type: ignore[arg-type]


def der_of(one: x509.Certificate) -> bytes:
    return one.public_bytes(serialization.Encoding.DER)


SPAN = (datetime.datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC), datetime.datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("key", KEYS)
def test_every_kind_of_key(key: str, tmp_path: Path) -> None:
    one = certificate(*SPAN, key)
    assert validity_of_der(der_of(one)) == SPAN
    (tmp_path / "c.pem").write_bytes(b"a comment\n" + one.public_bytes(serialization.Encoding.PEM))
    assert validity(tmp_path / "c.pem") == SPAN


MOMENTS = st.datetimes(
    datetime.datetime(1951, 1, 1),  # noqa: DTZ001 - made aware below
    datetime.datetime(2200, 1, 1),  # noqa: DTZ001 - made aware below
).map(lambda moment: moment.replace(microsecond=0, tzinfo=UTC))


@given(st.tuples(MOMENTS, MOMENTS).map(sorted), st.integers(1, 2**158))
def test_every_moment_and_serial_number(span: list[datetime.datetime], serial: int) -> None:
    one = certificate(span[0], span[1], serial=serial)
    assert validity_of_der(der_of(one)) == (one.not_valid_before_utc, one.not_valid_after_utc)


@given(st.data())
def test_damaged_certificates_are_an_error_of_one_kind(data: st.DataObject) -> None:
    der = bytearray(der_of(certificate(*SPAN)))
    cut = data.draw(st.integers(0, len(der)))
    where = data.draw(st.integers(0, len(der) - 1))
    der[where] = data.draw(st.integers(0, 255))
    try:
        begin, end = validity_of_der(bytes(der[:cut]))
    except ValueError:
        return
    assert begin.tzinfo is end.tzinfo is UTC


@pytest.mark.parametrize(
    "content", ["", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_certificate_is_left_to_others(content: str, tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text(content)
    assert validity(tmp_path / "c.pem") is None
