"""A certificate authority of our own: signs the broker's certificate and those of devices, and revokes them.

Keys are ECDSA on P-256, which microcontrollers know as well. Every certificate says what it is for: one of a
device is no use for posing as the broker, and the other way round.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from disc_stream.errors import ConfigError
from disc_stream_server.brokerconfig.files import PUBLIC, SECRET, write

CA_DAYS, BROKER_DAYS, DEVICE_DAYS = 3650, 825, 825
RENEW_BEFORE_DAYS = 60
_MOMENT_DAYS = 1 / 96
_MAX_COMMON = 64  # characters of a common name (RFC 5280, ub-common-name)
_NUMBER = 16  # hexadecimal digits of a certificate's serial number in its common name
_CLOCKS_DIFFER = datetime.timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate of a device.

    Args:
        serial: its number, hexadecimal.
        device: whom it is for.
        not_after: Unix seconds.
        revoked: Unix seconds, None while it is good.
        name: its common name, which the broker takes for user name and client id; "" where that is the device
            id, as in certificates of earlier versions.
    """

    serial: str
    device: str
    not_after: int
    revoked: int | None = None
    name: str = ""

    @property
    def user(self) -> str:
        """The broker's user name for it."""
        return self.name or self.device


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """The authority of a set-up, as files in a folder.

    Args:
        folder: with ``ca.crt``, ``ca.key`` and ``issued.json``.

    Raises:
        ConfigError: if the files are not those of an authority.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            key = load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
            self.certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(
                f"the certificate authority in {str(folder)!r} cannot be read",
                remedy="Restore ca.key and ca.crt",
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigError(
                f"{str(folder / 'ca.key')!r} is not an ECDSA key", remedy="Restore the key that was there"
            )
        self._key = key

    @staticmethod
    def create(folder: Path, name: str, days: int = CA_DAYS) -> Authority:
        """Make a new one."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            _begin(subject, subject, key.public_key(), key.public_key(), days)
            .serial_number(x509.random_serial_number())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(ca=True), critical=True)
        )
        write(folder / "ca.key", _key_pem(key), SECRET)
        write(folder / "ca.crt", builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM), PUBLIC)
        return Authority(folder)

    @property
    def pem(self) -> bytes:
        """The certificate to trust."""
        return self.certificate.public_bytes(Encoding.PEM)

    def issue_broker(self, hosts: Sequence[str], days: int = BROKER_DAYS) -> Pair:
        """A certificate for the broker under all its names and addresses."""
        names = [_general_name(host) for host in hosts]
        common = hosts[0] if len(hosts[0]) <= 64 else "broker"
        return self._issue(common, ExtendedKeyUsageOID.SERVER_AUTH, days, names)[0]

    def issue_device(self, device: str, days: float = DEVICE_DAYS) -> Pair:
        """A certificate for a device.

        Its common name, ``DEVICE@NUMBER``, is the broker's user name for this certificate alone: the one
        before has another, and no rights once the access list does not name it.
        """
        serial = x509.random_serial_number()
        name = _common_name(device, serial)
        pair, certificate = self._issue(name, ExtendedKeyUsageOID.CLIENT_AUTH, days, [], serial)
        end = round(certificate.not_valid_after_utc.timestamp())
        self._save([*self.issued(), Issued(f"{serial:x}", device, end, name=name)])
        return pair

    def issue_moment(self, user: str) -> Pair:
        """A certificate that a command of ours connects with for a moment, as a user of the broker."""
        return self._issue(user, ExtendedKeyUsageOID.CLIENT_AUTH, _MOMENT_DAYS, [])[0]

    def issued(self) -> list[Issued]:
        """All certificates of devices, the revoked ones too."""
        file = self._folder / "issued.json"
        if not file.exists():
            return []
        return [Issued(**entry) for entry in json.loads(file.read_text(encoding="utf-8"))]

    def good(self) -> list[Issued]:
        """The certificates of devices that are neither revoked nor expired."""
        now = _now().timestamp()
        return [one for one in self.issued() if one.revoked is None and one.not_after > now]

    def valid(self, device: str) -> bool:
        """Whether a device has a certificate that is good."""
        return any(one.device == device for one in self.good())

    def revoke(self, device: str) -> list[Issued]:
        """Revoke all certificates of a device, and say which. ``revocations`` says so to the broker."""
        now = round(_now().timestamp())
        before = self.issued()
        hit = [one for one in before if one.device == device and one.revoked is None]
        if hit:
            self._save([replace(one, revoked=now) if one in hit else one for one in before])
        return hit

    def revocations(self, previous: bytes | None = None) -> bytes:
        """The list of revoked certificates.

        Args:
            previous: the list so far. OpenSSL prefers the list that is newer by whole seconds, and a broker
                that reloads keeps the old one too, so a new list is dated later than that.
        """
        begin = _now() - _CLOCKS_DIFFER
        if previous is not None:
            old = x509.load_pem_x509_crl(previous).last_update_utc
            begin = max(begin, old + datetime.timedelta(seconds=1))
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(begin)
            # A list that has run out shuts everybody out; nothing is gained by letting it.
            .next_update(self.certificate.not_valid_after_utc)
        )
        for one in self.issued():
            if one.revoked is not None:
                entry = x509.RevokedCertificateBuilder().serial_number(int(one.serial, 16))
                date = datetime.datetime.fromtimestamp(one.revoked, datetime.UTC)
                builder = builder.add_revoked_certificate(entry.revocation_date(date).build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def _issue(
        self,
        common: str,
        purpose: x509.ObjectIdentifier,
        days: float,
        names: list[x509.GeneralName],
        serial: int | None = None,
    ) -> tuple[Pair, x509.Certificate]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
        builder = (
            _begin(subject, self.certificate.subject, key.public_key(), self._key.public_key(), days)
            .serial_number(serial or x509.random_serial_number())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        return Pair(certificate.public_bytes(Encoding.PEM), _key_pem(key)), certificate

    def _save(self, issued: list[Issued]) -> None:
        text = json.dumps([asdict(one) for one in issued], indent=1)
        write(self._folder / "issued.json", text + "\n", SECRET)


def _common_name(device: str, serial: int) -> str:
    """Of a device's certificate: of no other certificate, and no device id, for those have no ``@``."""
    return f"{device[: _MAX_COMMON - 1 - _NUMBER]}@{f'{serial:040x}'[-_NUMBER:]}"


def needs_renewal(pem: bytes, hosts: Sequence[str]) -> str | None:
    """Why the broker's certificate has to be made anew; None if it is good."""
    certificate = x509.load_pem_x509_certificate(pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if set(names) != {_general_name(host) for host in hosts}:
        return "its names have changed"
    left = certificate.not_valid_after_utc - _now()
    return f"it has {max(0, left.days)} days left" if left.days < RENEW_BEFORE_DAYS else None


def _begin(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
    days: float,
) -> x509.CertificateBuilder:
    """What all certificates have; a negative number of days makes one that has expired."""
    begin, end = sorted([_now() - _CLOCKS_DIFFER, _now() + datetime.timedelta(days=days)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca, key_cert_sign=ca, crl_sign=ca, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
