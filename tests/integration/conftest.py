"""A real broker, a listener on it, and a tiny bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from disc_stream.config import ServeConfig
from disc_stream_server.app import Server
from disc_stream_server.observers import Observer
from tests.support.broker import Mosquitto
from tests.support.device import Sender
from tests.support.listener import Listener
from tests.support.tiny_bundle import write_tiny_bundle


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A Mosquitto of this test alone, on a free port of 127.0.0.1, open to everybody."""
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    broker = Mosquitto(folder)
    broker.start()
    yield broker
    broker.discard()


@pytest.fixture
def listener(mosquitto: Mosquitto) -> Iterator[Listener]:
    """Hears the labels and the server's status."""
    listener = Listener(mosquitto.url)
    listener.link.connect()
    yield listener
    listener.link.close()


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clusters by the mean acceleration; windows of 16 samples at 50 Hz, 8 of them encoded."""
    path = tmp_path_factory.mktemp("bundles") / "tiny"
    write_tiny_bundle(path)
    return path


StartServer = Callable[..., Server]


@pytest.fixture
def start_server(mosquitto: Mosquitto, tiny_bundle: Path, tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers within this process, with any settings; they are stopped at the end."""
    servers = []

    def start(*, observers: Sequence[Observer] = (), **settings: object) -> Server:
        defaults = {
            "bundle": tiny_bundle, "broker": mosquitto.url, "http": None, "status_interval_s": 0.1,
            "state": tmp_path / "state",
        }  # fmt: skip
        server = Server(ServeConfig.model_validate({**defaults, **settings}), observers=observers)
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop(2.0)


@pytest.fixture
def sender(mosquitto: Mosquitto) -> Iterator[Sender]:
    """Publishes as devices."""
    sender = Sender(mosquitto.url)
    yield sender
    sender.link.close()
