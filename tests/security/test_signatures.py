"""With trusted keys, nothing but what they signed is served or labelled; without, the log says so."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from disc_stream.artifacts.bundle import Bundle, write_bundle, write_catalogue
from disc_stream.artifacts.signing import load_private_key
from disc_stream.cli.app import app
from disc_stream.config import load_serve_config
from disc_stream.errors import BrokerError, BundleError, ConfigError
from disc_stream_server.app import Server
from tests.support.broker import free_port
from tests.support.keys import make_keys
from tests.support.tiny_bundle import write_tiny_bundle

RECORDING = "acc_x[m/s2],acc_y[m/s2],acc_z[m/s2],t\n" + "".join(f"0,0,0,{n / 50}\n" for n in range(64))


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return make_keys(tmp_path, "key")


@pytest.fixture
def signed(tmp_path: Path, keys: tuple[Path, Path]) -> Path:
    write_tiny_bundle(tmp_path / "plain")
    bundle = Bundle.open(tmp_path / "plain")
    write_bundle(
        tmp_path / "signed", bundle.manifest, bundle.catalogue.clusters,
        {"model.onnx": bundle.model_bytes}, sign=load_private_key(keys[0]).sign,
    )  # fmt: skip
    return tmp_path / "signed"


def strip_all(bundle: Path) -> None:
    (bundle / "manifest.sig").unlink()
    (bundle / "catalogue.sig").unlink()


def strip_names(bundle: Path) -> None:
    """Other names for the same model, by somebody who can write to the folder and has no key."""
    write_catalogue(bundle, Bundle.open(bundle).catalogue.renamed({0: "standing"}))
    assert not (bundle / "catalogue.sig").exists()


def forge(bundle: Path) -> None:
    (bundle / "manifest.sig").write_bytes(bytes(64))


def another_key(bundle: Path) -> None:
    private, _ = make_keys(bundle.parent, "stranger")
    shutil.rmtree(bundle)
    plain = Bundle.open(bundle.parent / "plain")
    write_bundle(
        bundle, plain.manifest, plain.catalogue.clusters, {"model.onnx": plain.model_bytes},
        sign=load_private_key(private).sign,
    )  # fmt: skip


ATTACKS: list[tuple[Callable[[Path], None], str]] = [
    (strip_all, "is not signed"),
    (strip_names, r"catalogue\.json of bundle .* is not signed"),
    (forge, "signed by none of the 1 trusted keys"),
    (another_key, "signed by none of the 1 trusted keys"),
]
cases = pytest.mark.parametrize(("attack", "says"), ATTACKS, ids=[attack.__name__ for attack, _ in ATTACKS])


def config_file(tmp_path: Path, bundle: Path, key: Path) -> Path:
    """Settings of a server whose broker is not there: what it opens, it opens before that."""
    file = tmp_path / "serve.yaml"
    file.write_text(
        f"bundle: {bundle}\ntrusted_key: {key}\nhttp: null\nstate: {tmp_path / 'state'}\n"
        f"broker: mqtt://127.0.0.1:{free_port()}\n"
    )
    return file


@cases
def test_serve_refuses_it_by_its_configuration_file(
    attack: Callable[[Path], None], says: str, signed: Path, tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    attack(signed)
    with pytest.raises(BundleError, match=says):
        Server(load_serve_config(config_file(tmp_path, signed, keys[1]), {}))


@cases
def test_serve_refuses_it_by_its_option(
    attack: Callable[[Path], None], says: str, signed: Path, keys: tuple[Path, Path]
) -> None:
    attack(signed)
    with pytest.raises(BundleError, match=says):
        invoke("serve", "--bundle", signed, "--trusted-key", keys[1], "--no-http")


@cases
def test_label_refuses_it(
    attack: Callable[[Path], None], says: str, signed: Path, tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    attack(signed)
    (tmp_path / "a.csv").write_text(RECORDING)
    with pytest.raises(BundleError, match=says):
        invoke("label", tmp_path / "a.csv", "--bundle", signed, "--trusted-key", keys[1])


def test_data_export_refuses_it(signed: Path, tmp_path: Path, keys: tuple[Path, Path]) -> None:
    forge(signed)
    (tmp_path / "state").mkdir()
    with pytest.raises(BundleError, match="signed by none"):
        invoke(
            "data", "export", "--bundle", signed, "--trusted-key", keys[1], "--state", tmp_path / "state",
            "--out", tmp_path / "out",
        )  # fmt: skip


def test_what_a_trusted_key_signed_is_taken(
    signed: Path, tmp_path: Path, keys: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.csv").write_text(RECORDING)
    _, other = make_keys(tmp_path, "other")
    with caplog.at_level(logging.INFO):
        result = invoke(
            "label", tmp_path / "a.csv", "--bundle", signed, "--trusted-key", other, "--trusted-key", keys[1]
        )
        server = Server(load_serve_config(config_file(tmp_path, signed, keys[1]), {}))
    server.stop(1.0)
    assert "no signature" not in result.output + caplog.text
    assert server.model is not None
    assert server.model.version == Bundle.open(signed).version


def test_without_a_key_it_is_said_once_that_nothing_was_checked(
    signed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.csv").write_text(RECORDING)
    result = invoke("label", tmp_path / "a.csv", "--bundle", signed)
    assert result.stderr.count("no signature of the bundle was checked") == 1
    caplog.clear()
    settings = {"bundle": signed, "http": None, "broker": f"mqtt://127.0.0.1:{free_port()}"}
    with caplog.at_level(logging.INFO):
        server = Server(load_serve_config(None, {**settings, "state": tmp_path / "state"}))
        with pytest.raises(BrokerError):
            server.start()
        server.stop(1.0)
    said = [record for record in caplog.records if "no signature of bundle" in record.message]
    assert len(said) == 1


@pytest.mark.parametrize("value", ["[]", "''"])
def test_an_empty_list_of_keys_is_no_way_to_ask_for_nothing(value: str, tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(f"bundle: b\ntrusted_key: {value}\n")
    with pytest.raises(ConfigError, match=r"'trusted_key' in .* is not usable: name at least one key"):
        load_serve_config(file, {})


def test_several_keys_stand_in_a_list(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("bundle: b\ntrusted_key: [a.pem, b.pem]\n")
    assert load_serve_config(file, {}).trusted_key == (Path("a.pem"), Path("b.pem"))


def invoke(*args: str | Path) -> Result:
    result = CliRunner().invoke(app, list(map(str, args)))
    if result.exception is not None:
        raise result.exception
    return result
