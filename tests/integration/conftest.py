"""A real broker, a listener on it, a tiny bundle; places where a retraining can be made."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from disc_stream.config import ServeConfig
from disc_stream_server.app import Server
from disc_stream_server.observers import Observer
from tests.support.broker import Mosquitto
from tests.support.device import Sender
from tests.support.listener import Listener
from tests.support.tiny_bundle import write_tiny_bundle

if TYPE_CHECKING:
    from tests.support.places import Place


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


@pytest.fixture(scope="session")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server without a model has collected."""
    from tests.support.places import write_collected  # loads torch, which most tests here do without

    return write_collected(tmp_path_factory.mktemp("collected"))


@pytest.fixture(scope="session")
def grown(collected: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A first model is in production, its clusters have names, and more was received since."""
    from tests.support.places import write_grown  # loads torch, which most tests here do without

    return write_grown(collected, tmp_path_factory.mktemp("grown"))


@pytest.fixture
def new(collected: Path, tmp_path: Path) -> Place:
    """A copy of the collected one."""
    from tests.support.places import Place

    return Place(Path(shutil.copytree(collected, tmp_path / "place")))


@pytest.fixture
def place(grown: Path, tmp_path: Path) -> Place:
    """A copy of the grown one."""
    from tests.support.places import Place

    return Place(Path(shutil.copytree(grown, tmp_path / "place")))
