"""Broker URLs and what must never be shown of them."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from disc_stream.errors import ConfigError
from disc_stream.wire.broker import PASSWORD_VARIABLE, Broker


@pytest.mark.parametrize(
    ("url", "host", "port", "tls"),
    [
        ("mqtt://localhost", "localhost", 1883, False),
        ("mqtts://example.org", "example.org", 8883, True),
        ("mqtt://10.0.0.7:2883", "10.0.0.7", 2883, False),
        ("mqtts://[::1]:1", "::1", 1, True),
    ],
)
def test_host_port_and_encryption(url: str, host: str, port: int, tls: bool) -> None:
    broker = Broker.parse(url)
    assert (broker.host, broker.port, broker.tls, broker.protocol) == (host, port, tls, "5")


def test_credentials_are_read_and_never_shown() -> None:
    broker = Broker.parse("mqtt://me:s%40crt@host")
    assert (broker.username, broker.password) == ("me", "s@crt")
    for text in (str(broker), repr(broker), f"{broker}"):
        assert "s@crt" not in text
        assert "s%40crt" not in text


def test_the_password_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "from-outside")
    assert Broker.parse("mqtt://me@host").password == "from-outside"  # noqa: S105
    assert Broker.parse("mqtt://me:inside@host").password == "inside"  # noqa: S105


def test_options() -> None:
    broker = Broker.parse("mqtts://host?version=3.1.1&ca=/etc/ca.pem")
    assert (broker.protocol, broker.ca_file) == ("3.1.1", "/etc/ca.pem")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://host", "broker URL 'http://host' is not valid. Use mqtt://host:port"),
        ("host:1883", "is not valid"),
        ("mqtt://", "is not valid"),
        ("", "is not valid"),
        ("mqtt://host:x", "is not valid"),
        ("mqtt://host:99999", "is not valid"),
        ("mqtt://host?version=4", "MQTT version '4' is not known. Use 5 or 3.1.1"),
        ("mqtt://host?tls=1", "unknown option 'tls'. Known: version, ca"),
    ],
)
def test_other_urls_are_refused(url: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Broker.parse(url)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://me:s3cret@host:1883",
        "mqtt://me:s3cret/x@host",
        "mqtt://me:1:s3cret@host:y",
        "//me:s3cret@host",
        "mqtt_tls://me:s3cret@host",
    ],
)
def test_a_refused_url_does_not_give_the_password_away(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Broker.parse(url)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "character", "escape"),
    [
        ("mqtt://user:{}#{}@host", "'#'", "%23"),
        ("mqtt://user:{}?{}@host", "'?'", "%3F"),
        ("mqtt://user:{}@{}@host", "'@'", "%40"),
        ("mqtt://user:{}/{}@host", "'/'", "%2F"),
        ("mqtt://user:{}:{}@host", "':'", "%3A"),
        ("mqtt://user:{}[{}@host", "'['", "%5B"),
        ("mqtt://user:{}%{}@host", "'%'", "%25"),
        ("mqtt://user:{} {}@host", "space", "%20"),
        ("mqtt://user:{}\t{}@host", "U+0009", "%09"),
        ("mqtt://user:{}\n{}@host", "U+000A", "%0A"),
        ("mqtt://user:{}\u200b{}@host", "U+200B", "%E2%80%8B"),
        ("mqtt://user:{}\0{}@host", "U+0000", "%00"),
        ("mqtt://user:{}@{}#1@host", "'#'", "%23"),
        ("mqtt://user:{}{}@host/path", "'/'", "%2F"),
        ("mqtt://user:{}{}@ho!st", "'!'", "%21"),
        ("mqtt://user:{}{}@host?ca=a@b", "'@'", "%40"),
    ],
)
def test_what_may_be_meant_in_more_than_one_way_is_refused_by_its_character(
    url: str, character: str, escape: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        Broker.parse(url.format("s3c", "ret"))
    text = str(caught.value)
    assert character in text
    assert escape in text
    assert "s3c" not in text
    assert "ret" not in text
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__


@pytest.mark.parametrize("password", ["p@ss#1", "a/b:c?d", "100%", "with space", "[x]", "grüße", "a&b=c+d;e"])
def test_every_password_can_be_written_with_escapes(password: str) -> None:
    broker = Broker.parse(f"mqtt://us%40er:{quote(password, safe='')}@host:1")
    assert (broker.username, broker.password, broker.host) == ("us@er", password, "host")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mqtt://:s3cret@host", "a password and no user name"),
        ("mqtt://me:s3cret%ff@host", "not UTF-8"),
        ("mqtt://me:s3cret%00@host", "NUL"),
        ("mqtt://::1:1883", "mqtt://[::1]:port for an IPv6 address"),
        ("mqtt://host:0", "from 1 to 65535"),
        ("mqtt://host?version=5&version=3.1.1", "the option 'version' twice"),
    ],
)
def test_further_urls_that_cannot_be_meant(url: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Broker.parse(url)
    assert says in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_options_are_taken_as_they_are_but_for_escapes() -> None:
    assert Broker.parse("mqtts://host/?ca=/a+b/c%20d.pem").ca_file == "/a+b/c d.pem"
