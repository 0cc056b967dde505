"""One HTTP POST to an address that an operator has chosen, and to no other.

Addresses come from the configuration alone, never from the network. Redirects are not followed, proxies of
the environment are not used, and names that lead to link-local addresses, where clouds keep the machine's
credentials, are refused at the moment of connecting. HTTP without TLS is for this machine alone.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from disc_stream.errors import ConfigError

_READ_AT_MOST = 4_096


@dataclass(frozen=True, slots=True)
class Target:
    """Where to: the parts of a URL."""

    tls: bool
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> Target:
        """Read a URL.

        Raises:
            ConfigError: if it cannot be used for a webhook; the part behind the host, which may be secret, is
                not shown.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            host, port, parts = "", None, urlsplit("")
        shown = f"the webhook at {host[:80]!r}"
        if parts.scheme not in {"https", "http"} or not host or not url.isascii() or not url.isprintable():
            raise ConfigError("a webhook's url is no https://HOST/…", remedy="Give a whole address in ASCII")
        if " " in url or parts.fragment:
            raise ConfigError(f"{shown} has a space or a # in its url", remedy="Write it as %20 or %23")
        if parts.username is not None:
            raise ConfigError(
                f"{shown} has a name or a password in its url", remedy="Leave it out: webhooks are signed"
            )
        if parts.scheme == "http" and not _is_here(host):
            raise ConfigError(f"{shown} is not on this machine and has no TLS", remedy="Use https://")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        tls = parts.scheme == "https"
        return cls(tls, host, port or (443 if tls else 80), path)

    def __str__(self) -> str:
        """For logs: without the path, which is a secret of some services."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Args:
        status: of HTTP.
        retry_after_s: seconds that the other side asks us to wait; None if it does not.
    """

    status: int
    retry_after_s: float | None = None


def post(target: Target, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Answer:
    """Send it, on a connection of its own.

    Raises:
        OSError: if there is no answer in time, or the address is one that is refused.
        http.client.HTTPException: if the answer is no HTTP.
    """
    connection: http.client.HTTPConnection
    if target.tls:
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(target.host, target.port, timeout=timeout_s, context=context)
    else:
        connection = http.client.HTTPConnection(target.host, target.port, timeout=timeout_s)
    connection._create_connection = _connect  # type: ignore[attr-defined]  # noqa: SLF001 - the only way in
    try:
        connection.request("POST", target.path, body, dict(headers))
        answer = connection.getresponse()
        answer.read(_READ_AT_MOST)
        return Answer(answer.status, _seconds(answer.getheader("Retry-After")))
    finally:
        connection.close()


def _connect(address: tuple[str, int], timeout: float, *_rest: Any) -> socket.socket:
    """A connection to what the name leads to now, looked at before anything is sent."""
    host, port = address
    last: OSError | None = None
    for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        where = str(found[4][0])
        try:
            _check_address(where)
            return socket.create_connection((where, port), timeout)
        except OSError as error:
            last = error
    raise last or OSError(f"{host!r} has no address")


def _check_address(text: str) -> None:
    address = ipaddress.ip_address(text.partition("%")[0])
    real = getattr(address, "ipv4_mapped", None) or address
    if real.is_link_local or real.is_multicast or real.is_unspecified:
        raise PermissionError(f"{text} is an address that webhooks are not sent to")


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _seconds(text: str | None) -> float | None:
    return (
        float(text) if text is not None and text.isascii() and text.isdecimal() and len(text) < 10 else None
    )
