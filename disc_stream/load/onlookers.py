"""Viewers of the dashboard without a browser: ``python -P -m disc_stream.load.onlookers``.

Each does over the API what the page does: a WebSocket for the labels of the devices that it looks at, all
devices at the page's pace, and what the server says of itself. The order is a line of JSON on stdin; every
half second it writes how many events each has got, and it ends when stdin does.
"""

from __future__ import annotations

import gzip
import http.client
import json
import sys
import threading
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

from disc_stream.load.processes import until_stdin_ends

SEEN = 27
"""Devices that a page of 900 pixels has rows of."""
_FRESH_S, _EACH_S, _CLUSTERS_S = 5.0, 0.0005, 30.0  # as in fleet.js and main.js
_TELL_S = 0.5
_TIMEOUT_S = 30.0
_RETRY_S = 0.5


@dataclass(frozen=True, slots=True)
class OnlookersOrder:
    """Who looks on.

    Args:
        address: HOST:PORT of the server.
        viewers: how many.
    """

    address: str
    viewers: int


class Onlooker:
    """One of them, on two threads.

    Args:
        address: HOST:PORT.
        number: which; each looks at other devices.
        ended: set when all is over.
    """

    def __init__(self, address: str, number: int, ended: threading.Event) -> None:
        self._address, self._number, self._ended = address, number, ended
        self._ids: list[str] = []
        self._known = threading.Event()
        self.updates = self.bytes = self.dropped = self.failures = 0
        for work in (self._read, self._follow):
            threading.Thread(target=self._again, args=(work,), daemon=True).start()

    def _again(self, work: Any) -> None:
        from websockets.exceptions import WebSocketException

        while not self._ended.is_set():
            try:
                work()
            except (OSError, ValueError, http.client.HTTPException, WebSocketException):
                self.failures += not self._ended.is_set()
                self._ended.wait(_RETRY_S)

    def _read(self) -> None:
        mark, clusters_at = "", 0.0
        while not self._ended.is_set():
            # The server closes what is silent for five seconds, which a browser sees, and asks anew.
            with closing(http.client.HTTPConnection(self._address, timeout=_TIMEOUT_S)) as connection:
                if time.monotonic() >= clusters_at:
                    clusters_at = time.monotonic() + _CLUSTERS_S
                    self._ask(connection, "/clusters?retired=true&limit=1000")
                self._ask(connection, "/health")
                if not mark:
                    self._ask(connection, "/me")
                found = json.loads(self._ask(connection, f"/fleet?since={mark}" if mark else "/fleet"))
            if found["whole"]:
                self._ids = sorted(found["id"])
            mark = found["mark"]
            self._known.set()
            self._ended.wait(max(_FRESH_S, _EACH_S * len(self._ids)))

    def _ask(self, connection: http.client.HTTPConnection, path: str) -> bytes:
        connection.request("GET", f"/api/v1{path}", headers={"accept-encoding": "gzip"})
        answer = connection.getresponse()
        body = answer.read()
        self.bytes += len(body)
        return gzip.decompress(body) if answer.getheader("content-encoding") == "gzip" else body

    def _follow(self) -> None:
        from websockets.sync.client import connect

        self._known.wait()
        first = self._number * SEEN % max(1, len(self._ids) - SEEN)
        wanted = {"devices": self._ids[first : first + SEEN], "tags": [], "clusters": [], "traces": []}
        with connect(f"ws://{self._address}/api/v1/live/ws?device=0.nobody", max_size=None) as socket:
            socket.send(json.dumps(wanted))
            while not self._ended.is_set():
                with suppress(TimeoutError):
                    message = str(socket.recv(timeout=1.0))
                    self.bytes += len(message)
                    self.updates += message.startswith('{"event":"labels"')
                    self.dropped += message.startswith('{"event":"dropped"')


def main() -> None:
    """Look on until stdin ends."""
    order = OnlookersOrder(**json.loads(sys.stdin.readline()))
    ended = until_stdin_ends()
    onlookers = [Onlooker(order.address, number, ended) for number in range(order.viewers)]
    while not ended.wait(_TELL_S):
        facts = {
            "at": time.monotonic(),
            "updates": [one.updates for one in onlookers],
            "bytes": sum(one.bytes for one in onlookers),
            "dropped": sum(one.dropped for one in onlookers),
            "failures": sum(one.failures for one in onlookers),
        }
        with suppress(BrokenPipeError):
            print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
