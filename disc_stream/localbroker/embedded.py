"""A broker inside this process, for machines without Mosquitto (docs/adr/0003)."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import threading
import warnings
from typing import Any

from disc_stream.errors import MissingExtraError
from disc_stream.localbroker.ports import HOST, free_port, wait_until_up

_STOP_S = 5.0


class EmbeddedBroker:
    """amqtt, in a thread of its own.

    Args:
        port: TCP port on loopback; None for one that is free.

    Raises:
        MissingExtraError: if amqtt is not installed.
        BrokerError: if it does not start.
    """

    kind = "embedded"
    notice = (
        "The broker is a small one inside this process, for a first look only. "
        "It speaks MQTT 3.1.1, keeps nothing for a client that is away, and does not send again "
        "what a broken connection has lost. "
        "Install Mosquitto for the real thing (Debian: apt-get install mosquitto)."
    )

    def __init__(self, port: int | None) -> None:
        if importlib.util.find_spec("amqtt") is None:
            raise MissingExtraError("demo", "a demo without Mosquitto")
        self.port = port or free_port()
        self._error: str | None = None
        self._listens = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="embedded-broker", daemon=True)
        self._thread.start()
        try:
            wait_until_up(self, "the embedded broker")
        except BaseException:
            self.stop()
            raise

    def is_up(self) -> bool:
        """Whether the listener is there."""
        return self._listens.is_set()

    def why_dead(self) -> str | None:
        """The error that ended it."""
        return self._error

    @property
    def url(self) -> str:
        """For ``Broker.parse``."""
        return f"mqtt://{HOST}:{self.port}?version=3.1.1"

    def stop(self) -> None:
        """End it and free its port. May be called twice."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(_STOP_S)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve())
        except Exception as error:  # noqa: BLE001 - whatever the library throws is why it did not start
            self._error = str(error)

    async def _serve(self) -> None:
        logging.getLogger("amqtt").setLevel(logging.CRITICAL)  # it logs every closed connection as an error
        logging.getLogger("transitions").setLevel(logging.CRITICAL)
        broker = _make_broker(self.port)
        await broker.start()
        self._listens.set()
        try:
            await self._stopping.wait()
        finally:
            await broker.shutdown()


def _make_broker(port: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own
        from amqtt.broker import Broker

        return Broker(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"{HOST}:{port}"}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )
