"""Sending updates to browsers: each gets a state and then what changed, and nobody waits for a slow one."""

from __future__ import annotations

import asyncio
import json
from itertools import chain
from typing import Any

import pytest

from disc_stream.clock import ManualClock
from disc_stream_server.dashboard.board import Board
from disc_stream_server.dashboard.hub import HURRIED_S, IDLE_S, INTERVAL_S, LONGEST_S, QUEUE, Hub, _Client
from disc_stream_server.dashboard.view import Query
from tests.support.shown import label


def test_a_client_that_falls_behind_gets_a_snapshot_and_nobody_waits() -> None:
    async def run() -> list[str]:
        board = Board(clock=ManualClock())
        board.on_label(label(0, 1))
        hub = Hub(board)
        events = hub.events(Query())
        names = [_name(await anext(events))]
        (client,) = hub._audiences[Query()].clients
        for _ in range(QUEUE + 5):  # the client does not read meanwhile
            client.offer(b"event: update\ndata: {}\n\n")
        assert client.queue.qsize() <= QUEUE
        names.append(_name(await anext(events)))
        client.offer(b"event: update\ndata: {}\n\n")
        names.append(_name(await anext(events)))
        hub.close()
        names += [_name(event) async for event in events]
        return names

    assert asyncio.run(run()) == ["state", "state", "update"]


def test_closing_ends_a_full_client_too() -> None:
    async def run() -> bytes | None:
        client = _Client()
        for _ in range(QUEUE):
            client.offer(b"x")
        client.end()
        return await client.queue.get()

    assert asyncio.run(run()) is None


def test_a_browser_that_comes_later_is_told_nothing_twice() -> None:
    async def run() -> tuple[list[int], list[int]]:
        board = Board(clock=ManualClock())
        hub = Hub(board)
        first = hub.events(Query())
        await anext(first)
        board.on_label(label(0, 1))
        second = hub.events(Query())
        windows = [_windows(await anext(second))]
        board.on_label(label(1, 2))
        hub.tick()
        early = [_windows(await anext(first)), _windows(await anext(first))]
        windows.append(_windows(await anext(second)))
        await first.aclose()  # type: ignore[attr-defined]
        await second.aclose()  # type: ignore[attr-defined]
        assert hub._audiences == {}
        return list(chain(*early)), list(chain(*windows))

    assert asyncio.run(run()) == ([1, 2], [1, 2])


def test_the_status_is_sent_once_and_every_change_of_it() -> None:
    async def run() -> list[Any]:
        clock = ManualClock()
        board = Board(clock=clock)
        board.on_status({"state": "online", "model": "m1"})
        hub = Hub(board)
        events = hub.events(Query())
        seen = [_data(await anext(events))["server"].get("status")]
        for status in (None, {"state": "offline"}):
            if status is not None:
                board.on_status(status)
            clock.advance(1.0)
            hub.tick()
            seen.append(_data(await anext(events))["server"].get("status"))
        await events.aclose()  # type: ignore[attr-defined]
        return seen

    assert asyncio.run(run()) == [{"state": "online", "model": "m1"}, None, {"state": "offline"}]


def test_updates_are_rarer_when_nobody_looks_the_server_is_behind_or_they_cost_much() -> None:
    async def run() -> None:
        board = Board(clock=ManualClock())
        hub = Hub(board)
        assert hub._interval(0.0) == IDLE_S
        events = hub.events(Query())
        await anext(events)
        assert hub._interval(0.001) == INTERVAL_S
        assert hub._interval(0.02) == pytest.approx(1.0)  # a fiftieth of one processor
        assert hub._interval(9.0) == LONGEST_S
        board.on_status({"backlog": 5_000})
        assert hub._interval(0.001) == HURRIED_S
        await events.aclose()  # type: ignore[attr-defined]

    asyncio.run(run())


def test_an_update_that_fails_is_logged_and_the_next_one_comes(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(clock=ManualClock())
    hub = Hub(board)
    with monkeypatch.context() as broken:
        broken.setattr(board, "update", lambda: 1 / 0)
        hub._guarded_tick()
        hub._guarded_tick()
    assert caplog.text.count("an update of the live page failed") == 1
    hub._guarded_tick()


def _data(event: bytes) -> Any:
    return json.loads(event.decode().split("\n")[1].removeprefix("data: "))


def _windows(event: bytes) -> list[int]:
    data = _data(event)
    return [w for device in data.get("devices", data.get("changed")) for w in device.get("windows", [])]


def _name(event: bytes) -> str:
    _data(event)
    return event.decode().split("\n")[0].removeprefix("event: ")
