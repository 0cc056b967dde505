"""Ed25519 signatures of manifests (RFC 8032); the manifest in turn holds the sha256 of every other file.

Keys are PEM files as ``openssl genpkey -algorithm ed25519`` writes them. ``manifest.sig`` is the bare
64-byte signature of the bytes of ``manifest.json``, so openssl can check it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from disc_stream.errors import BundleError, ConfigError, InputNotFoundError, MissingExtraError

if TYPE_CHECKING:  # `cryptography` is an optional extra and is loaded only where a key is used
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE_BYTES = 64


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """Read an unencrypted Ed25519 private key.

    Raises:
        MissingExtraError: if ``cryptography`` is not installed.
        InputNotFoundError: if there is no such file.
        ConfigError: if it is not an unencrypted Ed25519 private key in PEM.
    """
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        raise MissingExtraError("export", "Signing a bundle") from error
    pem = _read_key(path)
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise ConfigError(
            f"the signing key {str(path)!r} is encrypted",
            remedy="Decrypt it first: openssl pkey -in KEY.pem -out PLAIN.pem",
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            f"{str(path)!r} is not a private key in PEM",
            remedy="Make one: openssl genpkey -algorithm ed25519 -out KEY.pem",
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(
            f"{str(path)!r} holds another kind of key than Ed25519",
            remedy="Make one: openssl genpkey -algorithm ed25519 -out KEY.pem",
        )
    return key


def verify(data: bytes, signature: bytes | None, trusted_keys: Sequence[Path], what: str) -> None:
    """Check that one of the trusted keys signed ``data``.

    Args:
        data: what was signed.
        signature: the 64 bytes, or None where there is no signature.
        trusted_keys: PEM files of public keys.
        what: the bundle, for the message.

    Raises:
        BundleError: if the signature is missing or none of the keys made it.
        MissingExtraError: if ``cryptography`` is not installed.
        InputNotFoundError: if a key file is not there.
        ConfigError: if a file is not an Ed25519 public key in PEM, or no key is given.
    """
    try:
        from cryptography.exceptions import InvalidSignature
    except ImportError as error:
        raise MissingExtraError("broker", "Checking a bundle's signature") from error
    keys = [_load_public_key(path) for path in trusted_keys]
    if not keys:
        raise ConfigError("a signature is asked for, but no trusted key is given", remedy="Name a public key")
    if signature is None:
        raise BundleError(
            f"{what} is not signed, and trusted keys are required",
            remedy="Export it with --sign-key, or do not ask for a signature",
        )
    for key in keys:
        try:
            key.verify(signature, data)
        except InvalidSignature:
            continue
        return
    raise BundleError(
        f"{what} was signed by none of the {len(keys)} trusted keys, or its manifest was changed",
        remedy="Get the bundle again from its source, or trust its key",
    )


def _load_public_key(path: Path) -> Ed25519PublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    remedy = "Write it out: openssl pkey -in KEY.pem -pubout -out KEY.pub.pem"
    pem = _read_key(path)
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{str(path)!r} is not a public key in PEM", remedy=remedy) from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{str(path)!r} holds another kind of key than Ed25519", remedy=remedy)
    return key


def _read_key(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputNotFoundError(
            f"the key file {str(path)!r} does not exist", remedy="Check the path"
        ) from error
    except OSError as error:
        raise ConfigError(f"the key file {str(path)!r} cannot be read: {error.strerror}") from error
