"""Signatures of bundles: who signed is checked, and changes are seen."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from disc_stream.artifacts.bundle import Bundle, write_bundle
from disc_stream.artifacts.signing import load_private_key
from disc_stream.errors import BundleError, ConfigError, InputNotFoundError, MissingExtraError
from tests.support.keys import make_keys
from tests.support.tiny_bundle import write_tiny_bundle


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return make_keys(tmp_path, "key")


def write_signed(out: Path, private: Path) -> Path:
    write_tiny_bundle(out)
    bundle = Bundle.open(out)
    write_bundle(
        out,
        bundle.manifest,
        bundle.catalogue.clusters,
        {"model.onnx": bundle.model_bytes},
        overwrite=True,
        sign=load_private_key(private).sign,
    )
    return out


@pytest.mark.parametrize("name", ["signed", "signed.zip"])
def test_a_trusted_signature_opens(name: str, tmp_path: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    _, other = make_keys(tmp_path, "other")
    signed = write_signed(tmp_path / name, private)
    assert Bundle.open(signed, trusted_keys=[other, public]).version
    assert Bundle.open(signed).version  # and nobody has to ask for it


def test_another_key_is_refused(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    _, other = make_keys(tmp_path, "other")
    signed = write_signed(tmp_path / "signed", keys[0])
    with pytest.raises(BundleError, match="signed by none of the 1 trusted keys"):
        Bundle.open(signed, trusted_keys=[other])


def test_an_unsigned_bundle_is_refused(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    write_tiny_bundle(tmp_path / "plain")
    with pytest.raises(BundleError, match="is not signed"):
        Bundle.open(tmp_path / "plain", trusted_keys=[keys[1]])


def test_a_changed_manifest_is_seen(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    signed = write_signed(tmp_path / "signed", keys[0])
    manifest = signed / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"tiny"', '"tidy"'))
    assert Bundle.open(signed).manifest.name == "tidy"  # the name is under no hash …
    with pytest.raises(BundleError, match="its manifest was changed"):
        Bundle.open(signed, trusted_keys=[keys[1]])  # … but under the signature


def test_a_signature_of_the_wrong_length_is_refused(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    signed = write_signed(tmp_path / "signed", keys[0])
    (signed / "manifest.sig").write_bytes(b"short")
    with pytest.raises(BundleError, match="signed by none"):
        Bundle.open(signed, trusted_keys=[keys[1]])


def test_the_graph_is_covered_through_its_hash(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    signed = write_signed(tmp_path / "signed", keys[0])
    (signed / "model.onnx").write_bytes(b"another graph")
    with pytest.raises(BundleError, match=r"model\.onnx of .* was changed"):
        Bundle.open(signed, trusted_keys=[keys[1]])


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on PATH")
def test_openssl_agrees(tmp_path: Path) -> None:
    private, public = tmp_path / "k.pem", tmp_path / "k.pub.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    signed = write_signed(tmp_path / "signed", private)
    Bundle.open(signed, trusted_keys=[public])
    verify = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", public]
    checked = subprocess.run(
        [*verify, "-in", signed / "manifest.json", "-sigfile", signed / "manifest.sig"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr


# ── Keys that are none ────────────────────────────────────────────────────────────────────────────────


def test_an_encrypted_key_says_how_to_decrypt_it(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    path = tmp_path / "key.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pw")))
    with pytest.raises(ConfigError, match=r"is encrypted.*openssl pkey"):
        load_private_key(path)


def test_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    key = generate_private_key(SECP256R1())
    path = tmp_path / "key.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(ConfigError, match="another kind of key than Ed25519"):
        load_private_key(path)


def test_a_public_key_does_not_sign(keys: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match="is not a private key in PEM"):
        load_private_key(keys[1])


def test_a_private_key_is_not_a_trusted_key(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    signed = write_signed(tmp_path / "signed", keys[0])
    with pytest.raises(ConfigError, match="is not a public key in PEM"):
        Bundle.open(signed, trusted_keys=[keys[0]])


def test_no_trusted_key_is_not_trust(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    signed = write_signed(tmp_path / "signed", keys[0])
    with pytest.raises(ConfigError, match="no trusted key is given"):
        Bundle.open(signed, trusted_keys=[])


def test_a_missing_key_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match=r"nokey\.pem"):
        load_private_key(tmp_path / "nokey.pem")


def test_without_cryptography_the_extra_is_named(
    tmp_path: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    signed = write_signed(tmp_path / "signed", keys[0])
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(MissingExtraError, match="Signing a bundle needs the extra 'export'"):
        load_private_key(keys[0])
    with pytest.raises(MissingExtraError, match="signature needs the extra 'broker'"):
        Bundle.open(signed, trusted_keys=[keys[1]])
    assert Bundle.open(signed).version  # who checks no signature needs no extra
