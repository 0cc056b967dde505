"""The whole examination, in the order in which one thing rests on another."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

from disc_stream.wire.broker import Broker
from disc_stream.wire.topics import Topics
from disc_stream_server.doctor.access import check_account, check_device_with_witness, check_strangers
from disc_stream_server.doctor.clock import check_clock
from disc_stream_server.doctor.connection import check_connection, check_encryption, check_session
from disc_stream_server.doctor.devices import check_devices
from disc_stream_server.doctor.findings import Finding
from disc_stream_server.doctor.machine import check_disk, check_providers, check_runtime, check_versions


def examine(
    broker: Broker, topics: Topics, state: Path, as_device: Broker | None = None
) -> Iterator[Finding]:
    """Look at everything, one thing after the other.

    Args:
        broker: address and credentials.
        topics: with the prefix.
        state: the server's state folder; it need not be there.
        as_device: credentials of a device, to try what it must not be able to do.

    Raises:
        ConfigError: if a file of certificates or keys cannot be used.
    """
    client_id = f"disc-stream-doctor-{secrets.token_hex(4)}"
    findings, reached = check_connection(broker, client_id)
    yield from findings
    if reached is not None:
        yield from check_encryption(reached)
        yield check_session(reached, client_id)
        yield from check_strangers(reached, client_id)
        if as_device is None:
            yield from check_account(reached, topics, client_id)
        else:
            yield from check_device_with_witness(reached, as_device, topics, client_id)
        yield from check_clock(reached, topics, client_id)
        yield from check_devices(reached, topics, client_id)
    yield from check_disk(state)
    yield check_runtime()
    yield check_providers()
    yield check_versions()
