"""Where a password comes from, and what is warned of."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from disc_stream.errors import ConfigError
from disc_stream.wire import secrecy
from disc_stream.wire.broker import PASSWORD_FILE_VARIABLE, PASSWORD_VARIABLE, Broker
from disc_stream.wire.secrecy import is_loopback

SECRET = "pa55-of-the-test"  # noqa: S105


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(secrecy, "_said", set())
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    monkeypatch.delenv(PASSWORD_FILE_VARIABLE, raising=False)
    caplog.set_level(logging.WARNING)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(f"{SECRET}\r\nsecond line\n")
    path.chmod(0o600)
    return path


def test_from_a_file_named_in_the_url(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    broker = Broker.parse(f"mqtts://me@host?password-file={file}")
    assert broker.password == SECRET
    assert SECRET not in repr(broker) + str(broker)
    assert caplog.messages == []


def test_from_a_file_named_in_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_FILE_VARIABLE, str(file))
    assert Broker.parse("mqtts://me@host").password == SECRET
    assert Broker.parse("mqtts://host").password is None, "an anonymous connection needs none"


def test_the_nearest_one_wins(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    other.write_text("from the variable's file")
    other.chmod(0o600)
    monkeypatch.setenv(PASSWORD_FILE_VARIABLE, str(other))
    monkeypatch.setenv(PASSWORD_VARIABLE, "from the variable")
    assert Broker.parse("mqtts://me:url@host").password == "url"  # noqa: S105
    assert Broker.parse(f"mqtts://me@host?password-file={file}").password == SECRET
    assert Broker.parse("mqtts://me@host").password == "from the variable"  # noqa: S105
    monkeypatch.delenv(PASSWORD_VARIABLE)
    assert Broker.parse("mqtts://me@host").password == "from the variable's file"  # noqa: S105


@pytest.mark.parametrize(
    "content", [b"", b"\nsecond", b"\xff\xfe" + SECRET.encode(), (SECRET * 400).encode(), b"pa55\0word"]
)
def test_a_file_without_a_password_is_refused_and_not_quoted(content: bytes, file: Path) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        Broker.parse(f"mqtts://me@host?password-file={file}")
    assert f"'{file}' holds no password" in str(caught.value)
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in repr(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone': No such file"):
        Broker.parse(f"mqtts://me@host?password-file={tmp_path / 'gone'}")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mqtts://me:x@host?password-file=f", "a password and a password file"),
        ("mqtts://host?password-file=f", "no user name"),
        ("mqtts://me@host?password-file=", "'password-file' of the broker URL is empty"),
        ("mqtt://host?ca=f", "'ca' of the broker URL is for TLS only"),
        ("mqtt://host?cert=f", "'cert' of the broker URL is for TLS only"),
        ("mqtts://host?key=f", "a key without a certificate"),
        (f"mqtts://me:what?{SECRET}@host", "is not valid"),
    ],
)
def test_what_does_not_go_together(url: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Broker.parse(url)
    assert says in str(caught.value)
    assert SECRET not in str(caught.value)


def test_files_of_tls() -> None:
    broker = Broker.parse("mqtts://host?ca=/a%20b/ca.crt&cert=c.pem&key=k.pem")
    assert (broker.ca_file, broker.cert_file, broker.key_file) == ("/a b/ca.crt", "c.pem", "k.pem")
    assert Broker.parse("mqtts://host?cert=both.pem").key_file is None


def test_a_password_in_the_command_line_earns_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"mqtts://me:{SECRET}@host"
    Broker.parse(url)
    assert caplog.messages == [], "it came from somewhere else"
    for arguments in (["serve", "--broker", url], ["serve", f"--broker={url}"]):
        monkeypatch.setattr(sys, "argv", arguments)
        monkeypatch.setattr(secrecy, "_said", set())
        caplog.clear()
        Broker.parse(url)
        Broker.parse(url)
        (message,) = caplog.messages
        assert "`ps`" in message
        assert PASSWORD_VARIABLE in message
        assert SECRET not in message


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True), (0o602, True)])
def test_a_file_that_everybody_may_read_earns_a_warning(
    mode: int, warned: bool, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.chmod(mode)
    assert Broker.parse(f"mqtts://me@host?password-file={file}").password == SECRET
    assert [f"chmod o= {file}" in message for message in caplog.messages] == [True] * warned


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("mqtt://me:pw@broker.example", True),
        ("mqtt://me:pw@192.168.1.7", True),
        ("mqtt://me:pw@localhost", False),
        ("mqtt://me:pw@127.3.2.1", False),
        ("mqtt://me:pw@[::1]", False),
        ("mqtt://broker.example", False),
        ("mqtts://me:pw@broker.example", False),
    ],
)
def test_a_password_in_the_open_earns_a_warning(
    url: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    Broker.parse(url)
    assert ["unencrypted" in message for message in caplog.messages] == [True] * warned


@pytest.mark.parametrize(
    ("host", "local"),
    [("localhost", True), ("a.localhost", True), ("localhost.example", False), ("::2", False)],
)
def test_loopback(host: str, local: bool) -> None:
    assert is_loopback(host) is local
