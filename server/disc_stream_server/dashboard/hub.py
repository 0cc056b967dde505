"""Fan-out of board updates to browsers; a slow one falls behind alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from disc_stream_server.dashboard.board import Board

INTERVAL_S = 0.125
HURRIED_S = 1.0
QUEUE = 16  # updates a client may be behind: two seconds
MAX_CLIENTS = 64
_HEARTBEAT_S = 1.0


class _Client:
    """One browser's bounded queue of encoded events."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUE)
        self.behind = False

    def offer(self, event: bytes) -> None:
        """Queue an event; when the queue is full, drop all and let the client start from a snapshot."""
        if self.behind:
            return
        if self.queue.full():
            self.behind = True
            self.clear()
        self.queue.put_nowait(event)

    def end(self) -> None:
        self.clear()
        self.queue.put_nowait(None)

    def clear(self) -> None:
        while not self.queue.empty():
            self.queue.get_nowait()


class Hub:
    """Drains the board a few times a second and sends one encoded delta to every client.

    Args:
        board: the state; touched on this hub's event loop only, but for ``Board.post``.
    """

    def __init__(self, board: Board) -> None:
        self.board = board
        self._clients: set[_Client] = set()
        self._closed = False
        self.hurried = False
        """Whether the server has more important things to do: updates are then rarer."""

    @property
    def full(self) -> bool:
        """Whether no further client is taken."""
        return len(self._clients) >= MAX_CLIENTS

    async def run(self) -> None:
        """Tick until cancelled."""
        quiet = 0.0
        while True:
            interval = HURRIED_S if self.hurried else INTERVAL_S
            await asyncio.sleep(interval)
            self.board.drain()
            delta = self.board.delta()
            quiet += interval
            if self._clients and (delta["changed"] or delta["gone"] or quiet >= _HEARTBEAT_S):
                quiet = 0.0
                event = encode_event("update", delta)
                for client in self._clients:
                    client.offer(event)

    def close(self) -> None:
        """End every stream."""
        self._closed = True
        for client in self._clients:
            client.end()

    async def events(self) -> AsyncIterator[bytes]:
        """Server-sent events for one client: a snapshot, then updates."""
        client = _Client()
        self._clients.add(client)
        try:
            yield encode_event("state", self.board.snapshot())
            while not self._closed:
                event = await client.queue.get()
                if event is None:
                    return
                if client.behind:
                    client.behind = False
                    client.clear()
                    event = encode_event("state", self.board.snapshot())
                yield event
        finally:
            self._clients.discard(client)


def encode_event(name: str, value: dict[str, Any]) -> bytes:
    """One server-sent event (WHATWG HTML, section 9.2)."""
    return f"event: {name}\ndata: {dumps(value)}\n\n".encode()


def dumps(value: dict[str, Any]) -> str:
    """Compact JSON on one line; what JSON does not know becomes text."""
    return json.dumps(value, separators=(",", ":"), default=str)
