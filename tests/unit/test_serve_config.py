"""Settings of the server, from a file and from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from disc_stream.config import ServeConfig, load_serve_config
from disc_stream.errors import ConfigError, InputNotFoundError
from disc_stream_server.exposing import parse_address


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "serve.yaml"


def test_the_command_line_wins_over_the_file_and_the_file_over_the_defaults(file: Path) -> None:
    file.write_text("bundle: models/a\nmax_batch: 32\ntop_k: 5\nhttp: null\n")
    config = load_serve_config(file, {"top_k": 2})
    assert (config.bundle, config.max_batch, config.top_k, config.http) == (Path("models/a"), 32, 2, None)
    assert config.prefix == ServeConfig.model_fields["prefix"].default


def test_an_empty_file_is_no_settings(file: Path) -> None:
    file.write_text("# nothing yet\n")
    assert load_serve_config(file, {"bundle": "b"}).bundle == Path("b")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "bundle: b\nmax_bach: 3\n",
            r"unknown key 'max_bach' in '.*serve\.yaml'\. Known: bundle, models",
        ),
        (
            "bundle: b\nreceive_maximum: 70000\n",
            r"'receive_maximum' in '.*serve\.yaml' is not usable: .*65535",
        ),
        ("bundle: b\nshutdown_s: .inf\n", r"'shutdown_s' in '.*serve\.yaml' is not usable: .*finite"),
        ("bundle: b\nprovider: tpu\n", r"'provider' in '.*serve\.yaml' is not usable: .*'cuda'"),
        ("top_k: 3\n", "the setting 'bundle' is missing. Give --bundle"),
        ("- a\n- b\n", "does not hold settings"),
        ("1: 2\n", "does not hold settings"),
        ("a: [\n", "not valid YAML at line 2"),
        ("just words\n", "does not hold settings"),
    ],
)
def test_errors_name_the_key_and_the_file(file: Path, text: str, says: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=says):
        load_serve_config(file, {})


def test_errors_name_the_option() -> None:
    with pytest.raises(ConfigError, match=r"option --bridge-s is not usable: .*greater than or equal to 0"):
        load_serve_config(None, {"bundle": "b", "bridge_s": -1})


def test_files_that_cannot_be_read(file: Path) -> None:
    with pytest.raises(InputNotFoundError, match="does not exist"):
        load_serve_config(file, {})
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot read"):
        load_serve_config(file, {})


def test_a_password_is_never_shown(file: Path) -> None:
    file.write_text("bundle: b\nbroker: [mqtt://me:s3cret@host]\n")
    with pytest.raises(ConfigError) as caught:
        load_serve_config(file, {})
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(load_serve_config(None, {"bundle": "b", "broker": "mqtt://me:s3cret@host"}))


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:8765", "127.0.0.1", 8765), ("[::1]:0", "::1", 0), ("host:1", "host", 1)],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert parse_address(text) == (host, port)


@pytest.mark.parametrize(
    "text", ["", "8765", ":8765", "host", "host:", "host:x", "host:65536", "host:-1", "host:²"]
)
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not HOST:PORT"):
        parse_address(text)
