"""TLS without MQTT: what a broker shows, and what it makes of a certificate."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

from disc_stream.wire.broker import Broker


def hand_shake(broker: Broker, certificate: Path, key: Path, version: ssl.TLSVersion) -> ssl.SSLSocket:
    """Connect as somebody who does not look at the own certificate first.

    Raises:
        SSLError: with the broker's alert; TLS 1.3 tells it only to those who listen.
    """
    context = ssl.create_default_context(cafile=broker.ca_file)
    context.load_cert_chain(certificate, key)
    context.maximum_version = version
    plain = socket.create_connection((broker.host, broker.port), 10)
    try:
        return context.wrap_socket(plain, server_hostname=broker.host)
    except BaseException:
        plain.close()
        raise


def shown_certificate(broker: Broker) -> bytes | None:
    """What the broker says to be, as DER."""
    context = ssl.create_default_context(cafile=broker.ca_file)
    with (
        socket.create_connection((broker.host, broker.port), 10) as plain,
        context.wrap_socket(plain, server_hostname=broker.host) as connection,
    ):
        return connection.getpeercert(binary_form=True)
