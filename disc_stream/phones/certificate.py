"""The certificate of the page: signed by the authority of a broker's set-up, or by one of our own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from disc_stream.errors import ConfigError
from disc_stream.phones.listening import Certificate
from disc_stream_server.brokerconfig.authority import Authority, needs_renewal
from disc_stream_server.brokerconfig.files import PUBLIC, SECRET, write

DAYS = 397
"""Browsers of Apple take no certificate of a server that is valid for longer than 825 days."""


@dataclass(frozen=True, slots=True)
class Made:
    """A certificate, and how to know it.

    Args:
        files: for the server.
        authority: the certificate that a phone would have to trust.
        fingerprint: SHA-256 of the server's certificate, as browsers show it.
        spki: SHA-256 of its public key, base64, as browsers are told to trust it in tests.
    """

    files: Certificate
    authority: Path
    fingerprint: str
    spki: bytes


def make_certificate(folder: Path, hosts: Sequence[str], broker_setup: Path | None) -> Made:
    """The certificate in a folder; made, or made anew, if it is not there or not good for these names.

    Args:
        folder: where it is kept; made if it is not there.
        hosts: names and addresses of this machine that phones use.
        broker_setup: folder of ``disc-stream broker config``, whose authority signs; None for one of our own.

    Raises:
        ConfigError: if there is no authority in ``broker_setup``.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = folder if broker_setup is None else broker_setup / "authority"
    if broker_setup is not None and not (place / "ca.key").exists():
        raise ConfigError(
            f"{str(broker_setup)!r} has no certificate authority",
            remedy="Name the folder that disc-stream broker config has written",
        )
    if not (place / "ca.key").exists():
        Authority.create(place, "disc-stream phone")
    authority = Authority(place)
    files = Certificate(folder / "page.crt", folder / "page.key")
    if not _is_good(files, authority, hosts):
        pair = authority.issue_broker(list(hosts), DAYS)
        write(files.key, pair.key, SECRET)
        write(files.chain, pair.certificate + authority.pem, PUBLIC)
    leaf = x509.load_pem_x509_certificate(files.chain.read_bytes())
    key = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = hashlib.sha256(leaf.public_bytes(Encoding.DER)).hexdigest().upper()
    fingerprint = ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))
    return Made(files, place / "ca.crt", fingerprint, hashlib.sha256(key).digest())


def _is_good(files: Certificate, authority: Authority, hosts: Sequence[str]) -> bool:
    if not files.chain.exists() or not files.key.exists():
        return False
    pem = files.chain.read_bytes()
    try:
        signed = x509.load_pem_x509_certificates(pem)[-1] == authority.certificate
    except ValueError:
        return False
    return signed and needs_renewal(pem, list(hosts)) is None
