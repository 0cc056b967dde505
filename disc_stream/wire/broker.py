"""Where the broker is: ``mqtt[s]://[user[:password]@]host[:port][?version=5|3.1.1]``."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

from disc_stream.errors import ConfigError

Protocol = Literal["5", "3.1.1"]
PASSWORD_VARIABLE = "DISC_STREAM_BROKER_PASSWORD"  # noqa: S105 - a variable's name
_DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True)
class Broker:
    """Address and credentials of an MQTT broker; its repr and str never show the password.

    Args:
        host: name or address.
        port: TCP port.
        tls: whether the connection is encrypted.
        protocol: MQTT version; 3.1.1 only for brokers that know no other.
        username: or None for an anonymous connection.
        password: read from the URL or from ``DISC_STREAM_BROKER_PASSWORD``.
        ca_file: certificate authority to trust instead of the system's.
    """

    host: str
    port: int
    tls: bool = False
    protocol: Protocol = "5"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None

    @classmethod
    def parse(cls, url: str) -> Broker:
        """Read a broker URL.

        Raises:
            ConfigError: if the URL is not of the form above.
        """
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
        query = parse_qs(parts.query, keep_blank_values=True)
        unknown = sorted(set(query) - {"version", "ca"})
        if unknown:
            raise ConfigError(f"broker URL has an unknown option {unknown[0]!r}", remedy="Known: version, ca")
        return cls(
            host=parts.hostname,
            port=port or _DEFAULT_PORTS[parts.scheme],
            tls=parts.scheme == "mqtts",
            protocol=_protocol(query.get("version", ["5"])[-1]),
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else os.environ.get(PASSWORD_VARIABLE),
            ca_file=query["ca"][-1] if "ca" in query else None,
        )

    def __str__(self) -> str:
        scheme = "mqtts" if self.tls else "mqtt"
        return f"{scheme}://{self.host}:{self.port}"


def _protocol(version: str) -> Protocol:
    match version:
        case "5" | "3.1.1":
            return version
        case _:
            raise ConfigError(f"MQTT version {version!r} is not known", remedy="Use 5 or 3.1.1")
