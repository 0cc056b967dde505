"""Broker URLs and what must never be shown of them."""

from __future__ import annotations

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
