"""A whole server with its API: a real broker, a registry with a version in production, labels."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from disc_stream.config import ServeConfig
from disc_stream.registry import Lineage, Registry, RowIds
from disc_stream.types import Label
from disc_stream_server.api.auth.roles import Role
from disc_stream_server.api.auth.tokens import TokenStore
from disc_stream_server.app import Server
from disc_stream_server.storage.people import PeopleStore
from tests.support.broker import Mosquitto
from tests.support.device import LEFT, REST, Sender, constant, make_batch
from tests.support.tiny_bundle import FS, for_people, write_tiny_bundle

PREFIX = "/api/v1"


class ApiPlace:
    """A running server and who may ask it what.

    Args:
        folder: for everything.
        http: address to listen on.
        roles: to make a token for each; none for a server that asks for none.
        unknown_above: of the model: squared distance from which on a window is unknown.
        settings: further ones of the server.
    """

    def __init__(
        self,
        folder: Path,
        http: str = "127.0.0.1:0",
        *,
        roles: bool = False,
        unknown_above: float | None = None,
        **settings: Any,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.state, self.models = folder / "state", folder / "models"
        (folder / "broker").mkdir()
        self.broker = Mosquitto(folder / "broker")
        self.broker.start()
        self.tokens: dict[str, str] = {}
        if roles:
            self.state.mkdir(mode=0o700)
            self.tokens = {str(role): self.make_token(role) for role in Role}
        write_tiny_bundle(folder / "tiny", files=for_people(), unknown_above=unknown_above)
        with Registry.create(self.models) as registry:
            info = registry.add(folder / "tiny", Lineage(method="trivial"), RowIds.all_fresh(3, None))
            registry.promote(info.number, "test", "the first")
        self._labelled = _Labelled()
        self._begun = round((time.time() - 3600) * FS)
        defaults = {
            "models": self.models, "broker": self.broker.url, "http": http, "state": self.state,
            "status_interval_s": 0.1, "checkpoint_s": 0.1, "follow_s": 0.1, "api_requests_s": 1e6,
            "bundle": None,
        }  # fmt: skip
        self._config = ServeConfig.model_validate({**defaults, **settings})
        self.server = Server(self._config, observers=[self._labelled])
        self.server.start()
        self.sender = Sender(self.broker.url)
        url = self.server.url
        assert url is not None
        self.port = int(url.rpartition(":")[2])
        self.url = f"http://127.0.0.1:{self.port}"

    def make_token(
        self, role: Role, name: str = "", expires_us: int | None = None, now_us: int | None = None
    ) -> str:
        """A token, made as the command makes it."""
        with PeopleStore(self.state) as store:
            now_us = time.time_ns() // 1000 if now_us is None else now_us
            return TokenStore(store).add(
                name or f"{role}-1", role, by="test", now_us=now_us, expires_us=expires_us
            )[0]

    def client(self, token: str = "", *, address: str = "127.0.0.1") -> httpx2.Client:
        """Asks below the API's path, from an address of loopback; the caller closes it."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        transport = httpx2.HTTPTransport(local_address=address)
        return httpx2.Client(base_url=f"{self.url}{PREFIX}", headers=headers, timeout=30, transport=transport)

    def send(self, device: str, seq: int, mean: tuple[float, float, float] = REST, n: int = 40) -> None:
        """Samples of a device; 40 are five windows of the tiny model, or four at first."""
        start = self._begun + seq * n  # by a clock that shows the time of day, an hour ago
        self.sender.send(make_batch(device, seq, constant(mean, n), start=start))

    def wait_for_labels(self, n: int) -> None:
        """Until so many labels were made in all."""
        self._labelled.wait(n)

    @property
    def labels(self) -> list[Label]:
        """All that were made so far."""
        return self._labelled.labels

    def fill(self) -> None:
        """Labels of two devices, a dead letter, and all of it stored."""
        for seq in range(4):
            self.send("watch-1", seq, REST if seq < 2 else LEFT, 400)
            self.send("watch-2", seq, LEFT, 400)
        self.sender.raw("watch-3", b"not a batch")
        self.wait_for_labels(390)
        self.stored(letters=True)

    def stored(self, *, letters: bool = False) -> None:
        """Until all labels are in the store, and dead letters if there are to be some."""
        with self.client(self.tokens.get("admin", "")) as client:
            for _ in range(400):
                stored = client.get("/export/labels").text.count("\n") - 1
                found = client.get("/dead-letter-counts").json()["reasons"]
                if stored == len(self.labels) and (found or not letters):
                    return
                self._labelled.wait_a_moment()
        raise AssertionError("nothing was stored")

    def restart_server(self) -> None:
        """Stop the server, and start another one with the same settings."""
        self.server.stop(5.0)
        self.server = Server(self._config, observers=[self._labelled])
        self.server.start()

    def stop(self) -> None:
        """End everything."""
        self.sender.link.close()
        self.server.stop(5.0)
        self.broker.discard()


class _Labelled:
    """Counts labels as an observer."""

    def __init__(self) -> None:
        self.labels: list[Label] = []
        self._more = threading.Condition()

    def wait(self, n: int, timeout_s: float = 60) -> None:
        with self._more:
            assert self._more.wait_for(lambda: len(self.labels) >= n, timeout_s), (
                f"only {len(self.labels)} labels"
            )

    def wait_a_moment(self) -> None:
        """Until the next status, which comes every tenth of a second."""
        with self._more:
            self._more.wait(0.1)

    def on_label(self, label: Label) -> None:
        with self._more:
            self.labels.append(label)
            self._more.notify_all()

    def on_status(self, status: object) -> None:
        with self._more:
            self._more.notify_all()

    def on_batch(self, batch: object) -> None: ...

    def on_problem(self, device: object, problem: object) -> None: ...


@contextmanager
def api_place(
    folder: Path, http: str = "127.0.0.1:0", *, roles: bool = False, **settings: Any
) -> Iterator[ApiPlace]:
    """One that is stopped at the end."""
    place = ApiPlace(folder, http, roles=roles, **settings)
    try:
        yield place
    finally:
        place.stop()


def close_code(socket: ClientConnection) -> int:
    """The code with which the server ends a WebSocket, whatever comes before."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            socket.recv(timeout=30)
    assert socket.protocol.close_rcvd is not None
    return int(socket.protocol.close_rcvd.code)


def raw_websocket() -> bytes:
    """What asks for the live feed by WebSocket."""
    return (
        f"GET {PREFIX}/live/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        "Sec-WebSocket-Version: 13\r\n\r\n"
    ).encode()
