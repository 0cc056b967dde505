"""Where the broker is: ``mqtt[s]://[user[:password]@]host[:port][?version=…&ca=…&cert=…&key=…&password-file=…]``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from disc_stream.errors import ConfigError
from disc_stream.wire.secrecy import is_loopback, read_secret, warn_of_command_line, warn_once

Protocol = Literal["5", "3.1.1"]
PASSWORD_VARIABLE = "DISC_STREAM_BROKER_PASSWORD"  # noqa: S105 - a variable's name
PASSWORD_FILE_VARIABLE = "DISC_STREAM_BROKER_PASSWORD_FILE"  # noqa: S105
_DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}
_FILES = ("ca", "cert", "key")
_OPTIONS = ("version", *_FILES, "password-file")


@dataclass(frozen=True, slots=True)
class Broker:
    """Address and credentials of an MQTT broker; its repr and str never show the password.

    Args:
        host: name or address.
        port: TCP port.
        tls: whether the connection is encrypted.
        protocol: MQTT version; 3.1.1 only for brokers that know no other.
        username: or None for an anonymous connection.
        password: or token; from the URL, from a file, or from the environment.
        ca_file: certificate authority to trust instead of the system's.
        cert_file: certificate to show to the broker, with those that lead to its authority.
        key_file: its private key; None if that is in the same file.
    """

    host: str
    port: int
    tls: bool = False
    protocol: Protocol = "5"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    @classmethod
    def parse(cls, url: str) -> Broker:
        """Read a broker URL, and the password from wherever it is.

        The password is the first of: the URL's own, ``?password-file=``, ``DISC_STREAM_BROKER_PASSWORD``,
        the file that ``DISC_STREAM_BROKER_PASSWORD_FILE`` names. Whatever makes a password easy to get hold
        of is warned of, once.

        Raises:
            ConfigError: if the URL is not of the form above, or the file with the password cannot be read.
        """
        parts, port = _split(url)
        options = _options(parts)
        tls = parts.scheme == "mqtts"
        _check_files(options, tls=tls)
        username = unquote(parts.username) if parts.username else None
        broker = cls(
            host=parts.hostname or "",
            port=port or _DEFAULT_PORTS[parts.scheme],
            tls=tls,
            protocol=_protocol(options.get("version", "5")),
            username=username,
            password=_password(parts, options, username),
            ca_file=options.get("ca"),
            cert_file=options.get("cert"),
            key_file=options.get("key"),
        )
        if parts.password:
            warn_of_command_line(url, PASSWORD_VARIABLE)
        if broker.username and broker.password and not tls and not is_loopback(broker.host):
            warn_once(
                f"user name and password cross the network to {broker} unencrypted; use mqtts:// if the "
                "broker can"
            )
        return broker

    def __str__(self) -> str:
        scheme = "mqtts" if self.tls else "mqtt"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"


def _split(url: str) -> tuple[SplitResult, int | None]:
    form = "Use mqtt://host:port, or mqtts:// for TLS"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its text may show a part of the password
        raise ConfigError(
            "broker URL is not valid: its port is not a number up to 65535",
            remedy=f"{form}; in a password, write '/', '@' and ':' as %2F, %40 and %3A",
        ) from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        shown = f"{parts.scheme}://{parts.hostname or ''}" if parts.scheme else url.rpartition("@")[2]
        raise ConfigError(f"broker URL {shown!r} is not valid", remedy=form)
    return parts, port


def _options(parts: SplitResult) -> dict[str, str]:
    query = parse_qs(parts.query, keep_blank_values=True)
    unknown = sorted(set(query) - set(_OPTIONS))
    if unknown:
        known = ", ".join(_OPTIONS)
        if parts.password is None and "@" in parts.query:  # a password with '?' in it was cut there
            raise ConfigError(
                "broker URL is not valid: there is an '@' behind a '?'",
                remedy="In a password, write '?' as %3F, '/' as %2F and '@' as %40",
            )
        raise ConfigError(f"broker URL has an unknown option {unknown[0]!r}", remedy=f"Known: {known}")
    for name, values in query.items():
        if not values[-1]:
            raise ConfigError(f"the option {name!r} of the broker URL is empty", remedy="Give it a value")
    return {name: values[-1] for name, values in query.items()}


def _check_files(options: Mapping[str, str], *, tls: bool) -> None:
    given = [name for name in _FILES if name in options]
    if given and not tls:
        raise ConfigError(
            f"the option {given[0]!r} of the broker URL is for TLS only",
            remedy="Use mqtts:// instead of mqtt://",
        )
    if "key" in options and "cert" not in options:
        raise ConfigError("the broker URL has a key without a certificate", remedy="Add cert=FILE")


def _password(parts: SplitResult, options: Mapping[str, str], username: str | None) -> str | None:
    file = options.get("password-file")
    if file is not None and parts.password:
        raise ConfigError("the broker URL has a password and a password file", remedy="Give one of them")
    if file is not None and username is None:
        raise ConfigError(
            "the broker URL has a password file and no user name", remedy="Write mqtts://USER@host"
        )
    if parts.password:
        return unquote(parts.password)
    if file is not None:
        return read_secret(file, "password file")
    if (password := os.environ.get(PASSWORD_VARIABLE)) is not None:
        return password
    file = os.environ.get(PASSWORD_FILE_VARIABLE)
    return read_secret(file, f"password file of {PASSWORD_FILE_VARIABLE}") if file and username else None


def _protocol(version: str) -> Protocol:
    match version:
        case "5" | "3.1.1":
            return version
        case _:
            raise ConfigError(f"MQTT version {version!r} is not known", remedy="Use 5 or 3.1.1")
