"""A browser's part in a load test: it follows the live page's stream, and draws nothing."""

from __future__ import annotations

import http.client
import threading
import time
from typing import Any

_TIMEOUT_S = 5.0
_RETRY_S = 0.2


class Viewer:
    """Reads the stream of a live page on a thread of its own, and connects again when it breaks.

    Args:
        url: of the page, such as ``http://127.0.0.1:8765``.
    """

    def __init__(self, url: str) -> None:
        self._address = url.removeprefix("http://")
        self.connections = self.events = self.bytes = 0
        self.longest_silence_s = 0.0
        """Between two events of one connection."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="viewer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._closing.set()
        self._thread.join(_TIMEOUT_S + 1)

    def summary(self) -> dict[str, Any]:
        """What came."""
        return {
            "connections": self.connections,
            "events": self.events,
            "megabytes": round(self.bytes / 1e6, 2),
            "longest_silence_s": round(self.longest_silence_s, 2),
        }

    def _run(self) -> None:
        while not self._closing.is_set():
            try:
                self._follow()
            except (OSError, http.client.HTTPException):  # the server is down, or was killed
                self._closing.wait(_RETRY_S)

    def _follow(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=_TIMEOUT_S)
        try:
            connection.request("GET", "/api/stream")
            answer = connection.getresponse()
            self.connections += answer.status == http.client.OK
            last = time.monotonic()
            while not self._closing.is_set() and (line := answer.readline()):
                self.bytes += len(line)
                if line.startswith(b"event:"):
                    self.events += 1
                    now = time.monotonic()
                    self.longest_silence_s, last = max(self.longest_silence_s, now - last), now
        finally:
            connection.close()
