"""Where the broker is: ``mqtt[s]://[user[:password]@]host[:port][?version=…&ca=…&cert=…&key=…&password-file=…]``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple
from urllib.parse import unquote

from disc_stream.errors import ConfigError
from disc_stream.wire.secrecy import is_loopback, read_secret, warn_of_command_line, warn_once

Protocol = Literal["5", "3.1.1"]
PASSWORD_VARIABLE = "DISC_STREAM_BROKER_PASSWORD"  # noqa: S105 - a variable's name
PASSWORD_FILE_VARIABLE = "DISC_STREAM_BROKER_PASSWORD_FILE"  # noqa: S105
_DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}
_FILES = ("ca", "cert", "key")
_OPTIONS = ("version", *_FILES, "password-file")

_FORM = "Use mqtt://host:port, or mqtts:// for TLS"
_ESCAPE = "In a user name or password, write"
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST_CHARACTER = re.compile(r"[\w.-]")
_ADDRESS = re.compile(r"(?:\[(?P<ip6>[0-9A-Fa-f:.]+)\]|(?P<name>[\w.-]*))(?::(?P<port>[0-9]{1,5}))?")


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
            ConfigError: if the URL is not of the form above, or may be meant in more than one way, or if the
                file with the password cannot be read.
        """
        parts = _split(url)
        options = _options(parts.query)
        tls = parts.scheme == "mqtts"
        _check_files(options, tls=tls)
        broker = cls(
            host=parts.host,
            port=parts.port or _DEFAULT_PORTS[parts.scheme],
            tls=tls,
            protocol=_protocol(options.get("version", "5")),
            username=parts.username,
            password=_password(parts, options),
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


class _Parts(NamedTuple):
    """A broker URL, taken apart; user name and password are decoded."""

    scheme: str
    username: str | None
    password: str | None
    host: str
    port: int | None
    query: str


def _split(url: str) -> _Parts:
    """Take a URL apart; what can be meant in more than one way is refused.

    The general rules for URLs would take ``mqtt://user:p@ss#1@host`` for the host ``ss``: the password would
    be looked up as a name, and shown.
    """
    _check_characters(url)
    scheme, found, rest = url.partition("://")
    scheme = scheme.lower()
    if not found or not _SCHEME.fullmatch(scheme):
        raise ConfigError("broker URL is not valid: it does not begin with mqtt:// or mqtts://", remedy=_FORM)
    rest, _, query = rest.partition("?")
    if "?" in query:
        raise _ambiguous("?", "in more than one place")
    if "@" in query:
        raise _invalid("there is an '@' behind a '?'", f"{_ESCAPE} '?' as %3F; in an option, '@' as %40")
    if rest.count("@") > 1:
        raise _ambiguous("@", "in more than one place")
    userinfo, credentials, address = rest.rpartition("@")
    username, password = _credentials(userinfo) if credentials else (None, None)
    host, port = _address(address.removesuffix("/"))
    if scheme not in _DEFAULT_PORTS or not host:
        raise ConfigError(f"broker URL {f'{scheme}://{host}'!r} is not valid", remedy=_FORM)
    return _Parts(scheme, username, password, host, port, query)


def _check_characters(url: str) -> None:
    if "#" in url:
        raise _ambiguous("#", "which would end the URL")
    for character in url:
        if character.isspace() or not character.isprintable():
            name = "space" if character == " " else f"character U+{ord(character):04X}"
            escape = "".join(f"%{byte:02X}" for byte in character.encode(errors="replace"))
            raise _invalid(f"there is a {name} in it", f"Write it as {escape} if it belongs there")
    if _BAD_ESCAPE.search(url):
        raise _ambiguous("%", "without two hexadecimal digits behind it")


def _credentials(userinfo: str) -> tuple[str | None, str | None]:
    for character in "/[]":
        if character in userinfo:
            raise _ambiguous(character, "before the '@'")
    if userinfo.count(":") > 1:
        raise _ambiguous(":", "more than once before the '@'")
    username, given, password = userinfo.partition(":")
    if not username and password:
        raise _invalid("it has a password and no user name", "Write mqtts://USER:PASSWORD@host")
    try:
        decoded = unquote(username, errors="strict"), unquote(password, errors="strict")
    except UnicodeDecodeError:  # its text would show a part of the password
        raise _invalid("its user name or password is not UTF-8", "Escape the bytes of UTF-8") from None
    if any("\0" in text for text in decoded):
        raise _invalid("its user name or password has a NUL in it", "Leave out the %00")
    return decoded[0] or None, (decoded[1] or None) if given else None


def _address(address: str) -> tuple[str, int | None]:
    if "/" in address:
        raise _ambiguous("/", "behind the host")
    match = _ADDRESS.fullmatch(address)
    if match is None:
        for character in address:
            if character not in ":[]" and not _HOST_CHARACTER.fullmatch(character):
                raise _ambiguous(character, "in the host's name")
        text = "its host or port is not valid; a port is a number from 1 to 65535"
        raise _invalid(text, f"{_FORM}, mqtt://[::1]:port for an IPv6 address; {_ESCAPE.lower()} ':' as %3A")
    port = match["port"]
    if port is not None and not 1 <= int(port) <= 65_535:
        raise _invalid("its port is not a number from 1 to 65535", _FORM)
    return (match["ip6"] or match["name"]).lower(), None if port is None else int(port)


def _ambiguous(character: str, where: str) -> ConfigError:
    escape = "".join(f"%{byte:02X}" for byte in character.encode())
    return _invalid(f"there is a {character!r} {where}", f"{_ESCAPE} {character!r} as {escape}")


def _invalid(what: str, remedy: str) -> ConfigError:
    return ConfigError(f"broker URL is not valid: {what}", remedy=remedy)


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if name not in _OPTIONS:
            known = ", ".join(_OPTIONS)
            raise ConfigError(f"broker URL has an unknown option {name!r}", remedy=f"Known: {known}")
        if name in options:
            raise ConfigError(f"broker URL has the option {name!r} twice", remedy="Give it once")
        if not value:
            raise ConfigError(f"the option {name!r} of the broker URL is empty", remedy="Give it a value")
        options[name] = unquote(value)
    return options


def _check_files(options: Mapping[str, str], *, tls: bool) -> None:
    given = [name for name in _FILES if name in options]
    if given and not tls:
        raise ConfigError(
            f"the option {given[0]!r} of the broker URL is for TLS only",
            remedy="Use mqtts:// instead of mqtt://",
        )
    if "key" in options and "cert" not in options:
        raise ConfigError("the broker URL has a key without a certificate", remedy="Add cert=FILE")


def _password(parts: _Parts, options: Mapping[str, str]) -> str | None:
    username = parts.username
    file = options.get("password-file")
    if file is not None and parts.password:
        raise ConfigError("the broker URL has a password and a password file", remedy="Give one of them")
    if file is not None and username is None:
        raise ConfigError(
            "the broker URL has a password file and no user name", remedy="Write mqtts://USER@host"
        )
    if parts.password:
        return parts.password
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
