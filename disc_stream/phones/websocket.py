"""SensorServer: the phone is the server; we connect, and connect again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from websockets.exceptions import InvalidHandshake, InvalidURI, WebSocketException
from websockets.sync.client import connect

from disc_stream.errors import ConfigError, PayloadError
from disc_stream.phones.phone import STREAM_MESSAGES_S, Phone
from disc_stream.sparselog import SparseLog
from disc_stream_edge.phones import sensorserver

log = logging.getLogger(__name__)

_AGAIN_S = 3.0
_OPEN_S = 5.0
_MAX_BYTES = 4_096  # of a message, which is one reading


class WebSocketSource:
    """Reads a phone's WebSocket on a thread until stopped.

    Args:
        url: ``ws://HOST:PORT`` of the phone.
        phone: whose readings these are.
        take: takes each message.

    Raises:
        ConfigError: if the address is none of a WebSocket.
    """

    def __init__(self, url: str, phone: Phone, take: Callable[[Phone, str, bytes], None]) -> None:
        if not url.startswith(("ws://", "wss://")):
            raise ConfigError(
                f"{url!r} is no address of a WebSocket", remedy="Give what SensorServer shows: ws://HOST:PORT"
            )
        self._url, self._phone, self._take = url, phone, take
        self._log = SparseLog(log)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"websocket-{phone.device}", daemon=True)

    def start(self) -> None:
        """Connect, and read."""
        self._thread.start()

    def stop(self) -> None:
        """End the connection."""
        self._stop.set()
        self._thread.join(_OPEN_S + 1)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._read()
            except (OSError, WebSocketException, InvalidHandshake, InvalidURI) as error:
                self._phone.trouble = f"{self._url} does not answer as SensorServer does: {error}"
                self._log.warning(self._phone.device, "away", "%s: %s", self._url, error)
            self._stop.wait(_AGAIN_S)

    def _read(self) -> None:
        address = sensorserver.address(self._url)
        with connect(address, open_timeout=_OPEN_S, max_size=_MAX_BYTES, proxy=None) as socket:
            self._phone.trouble = ""
            self._phone.open()
            while not self._stop.is_set():
                try:
                    message = socket.recv(timeout=0.5)
                except TimeoutError:
                    continue
                payload = message.encode() if isinstance(message, str) else bytes(message)
                if not self._phone.admits(len(payload), STREAM_MESSAGES_S):
                    self._phone.refused += 1
                    continue
                try:
                    self._take(self._phone, "sensorserver", payload)
                except PayloadError as error:
                    self._log.warning(self._phone.device, "payload", "%s: %s", self._url, error)
