"""Fan-out of updates to browsers; a slow one falls behind alone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from disc_stream_server.dashboard.board import Board
from disc_stream_server.dashboard.view import Query, View

log = logging.getLogger(__name__)

INTERVAL_S = 0.125
HURRIED_S = 1.0  # while the server has more important things to do
IDLE_S = 1.0  # while nobody looks
LONGEST_S = 2.0
SHARE = 0.02  # of one processor that the page may use; beyond it, updates become rarer
QUEUE = 16  # updates a client may be behind: two seconds
MAX_CLIENTS = 64
_HEARTBEAT_S = 1.0


class _Client:
    """One browser's bounded queue of encoded events.

    Args:
        address: of the machine that it is on, or of a proxy.
    """

    def __init__(self, address: str = "") -> None:
        self.address = address
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


class _Audience:
    """The browsers that look at the same devices; they share one view and its encoded updates."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.clients: set[_Client] = set()
        self.status: dict[str, Any] | None = None  # the one they know
        self.sent_at = 0.0


class Hub:
    """Sends each browser a few times a second what changed of the devices that it shows.

    Args:
        board: the state; read on this hub's event loop only.
    """

    def __init__(self, board: Board) -> None:
        self.board = board
        self._audiences: dict[Query, _Audience] = {}
        self._clients: dict[_Client, None] = {}  # of all audiences, in the order in which they came
        self._closed = self._failed = False
        self._joined = asyncio.Event()

    def has_room_for(self, address: str) -> bool:
        """Whether one more client of this address is taken.

        With all places taken, the address that holds the most gives up its oldest one to an address that
        holds fewer: nobody shuts others out by opening many.
        """
        if len(self._clients) < MAX_CLIENTS:
            return True
        held = Counter(client.address for client in self._clients)
        greedy, most = held.most_common(1)[0]
        if most <= held[address] + 1:
            return False
        oldest = next(client for client in self._clients if client.address == greedy)
        del self._clients[oldest]
        oldest.end()
        return True

    async def run(self) -> None:
        """Tick until cancelled."""
        used = time.thread_time()
        interval = IDLE_S
        while True:
            self._joined.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._joined.wait(), interval)
            self._guarded_tick()
            before, used = used, time.thread_time()
            interval = self._interval(used - before)

    def _guarded_tick(self) -> None:
        """An error of the page is logged once, and does not end its updates."""
        try:
            self.tick()
        except Exception:
            if not self._failed:
                self._failed = True
                log.exception("an update of the live page failed; it is tried again")

    def _interval(self, used_s: float) -> float:
        """Until the next tick: so long that the processor time used since the last one is a small share."""
        if not self._audiences:
            return IDLE_S
        base = HURRIED_S if self.board.hurried else INTERVAL_S
        return min(LONGEST_S, max(base, used_s / SHARE))

    def tick(self) -> None:
        """Take in what is new, and send it."""
        self.board.update()
        now = self.board.now()
        for audience in self._audiences.values():
            audience.view.choose(now)
            self._send(audience, now)

    def _send(self, audience: _Audience, now: float, *, at_once: bool = False) -> None:
        delta = audience.view.delta(now)
        due = at_once or now - audience.sent_at >= _HEARTBEAT_S
        if not (delta["changed"] or delta["gone"] or due):
            return
        audience.sent_at = now
        event = encode_event("update", {"server": self._server(audience), **delta})
        for client in audience.clients:
            client.offer(event)

    def _server(self, audience: _Audience) -> dict[str, Any]:
        """The server's line, with the status if these browsers do not know it yet."""
        line, status = self.board.server(), self.board.status
        if status is not audience.status:
            audience.status = status
            line["status"] = status
        return line

    def state(self, query: Query) -> dict[str, Any]:
        """What a browser with this query would show, once."""
        view = self.board.view(query)
        self.board.update()
        view.choose(self.board.now())
        view.delta(self.board.now())
        return self._snapshot(view)

    def _snapshot(self, view: View) -> dict[str, Any]:
        return {
            "server": {**self.board.server(), "status": self.board.status},
            **view.state(self.board.now()),
        }

    def close(self) -> None:
        """End every stream."""
        self._closed = True
        for audience in self._audiences.values():
            for client in audience.clients:
                client.end()

    async def events(self, query: Query, address: str = "") -> AsyncIterator[bytes]:
        """Server-sent events for one client: a snapshot, then updates."""
        audience = self._audiences.get(query)
        if audience is None:
            audience = self._audiences[query] = _Audience(self.board.view(query))
        client = _Client(address)
        self._clients[client] = None
        try:
            self._refresh(audience)
            audience.clients.add(client)
            self._joined.set()
            yield encode_event("state", self._snapshot(audience.view))
            while not self._closed:
                event = await client.queue.get()
                if event is None:
                    return
                if client.behind:
                    client.behind = False
                    client.clear()
                    self._refresh(audience)
                    client.clear()
                    event = encode_event("state", self._snapshot(audience.view))
                yield event
        finally:
            audience.clients.discard(client)
            self._clients.pop(client, None)
            if not audience.clients and self._audiences.get(query) is audience:
                del self._audiences[query]

    def _refresh(self, audience: _Audience) -> None:
        """Bring those who look already up to date, so that a snapshot and the next update fit together."""
        self.board.update()
        now = self.board.now()
        audience.view.choose(now)
        self._send(audience, now, at_once=True)


def encode_event(name: str, value: dict[str, Any]) -> bytes:
    """One server-sent event (WHATWG HTML, section 9.2)."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), dumps(value))


def dumps(value: dict[str, Any]) -> bytes:
    """Compact JSON on one line; what JSON does not know becomes text."""
    return msgspec.json.encode(value, enc_hook=str)
