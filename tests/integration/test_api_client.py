"""The Python client, waiting and not, against a running server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from disc_stream.client import ApiError, AsyncClient, Client
from disc_stream.client.shared import Events, UnreachableError
from disc_stream.errors import ConfigError
from tests.support.api import ApiPlace, api_place
from tests.support.broker import free_port
from tests.support.device import LEFT


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiPlace]:
    with api_place(tmp_path_factory.mktemp("client"), roles=True) as place:
        place.fill()
        yield place


def test_what_is_asked_most(place: ApiPlace) -> None:
    with Client(place.url, place.tokens["operator"]) as client:
        assert client.health()["ready"] is True
        assert [one["id"] for one in client.devices()] == ["watch-1", "watch-2", "watch-3"]
        assert len(list(client.past_labels("watch-1"))) == 200
        assert [one["name"] for one in client.clusters()] == ["rest", "left", "right"]
        assert [one["facts"]["rate"] for one in client.devices(facts=True)] == [50.0, 50.0, None]
        assert client.explanation("watch-1")["kept"] == "yes"
        assert {one["name"] for one in client.examples(1)["items"]} == {"left"}
        assert client.set_tags("watch-1", ["ward 3"])["tags"] == ["ward 3"]
        assert [one["id"] for one in client.devices(tag="ward 3")] == ["watch-1"]
        assert [one["name"] for one in client.episodes("watch-1")]
        assert client.name_cluster(2, "running")["events"][0]["who"] == "operator-1"
        with pytest.raises(ApiError, match="does not retrain"):
            client.retrain("weekly")


def test_the_same_without_waiting(place: ApiPlace) -> None:
    async def ask() -> list[Any]:
        async with AsyncClient(place.url, place.tokens["viewer"]) as client:
            devices = [one["id"] async for one in client.devices()]
            labels = [one async for one in client.past_labels("watch-2")]
            with pytest.raises(ApiError) as refused:
                await client.set_tags("watch-1", [])
            assert refused.value.status == 403
            return [devices, len(labels), (await client.health())["ready"]]

    assert asyncio.run(ask()) == [["watch-1", "watch-2", "watch-3"], 200, True]


def test_labels_come_one_after_the_other(place: ApiPlace) -> None:
    with Client(place.url, place.tokens["viewer"]) as client:
        labels = client.labels(device="watch-2")
        feeding = threading.Thread(target=_feed, args=[place])
        feeding.start()
        assert {next(labels)["device"] for _ in range(4)} == {"watch-2"}
        feeding.join()


def test_labels_come_without_waiting(place: ApiPlace) -> None:
    async def listen() -> list[str]:
        async with AsyncClient(place.url, place.tokens["viewer"]) as client:
            found: list[str] = []
            feeding = threading.Thread(target=_feed, args=[place])
            feeding.start()
            async for label in client.labels(device=["watch-1", "watch-2"]):
                found.append(label["device"])
                if len(found) == 4:
                    feeding.join()
                    return found
            raise AssertionError

    assert set(asyncio.run(listen())) == {"watch-2"}


def _feed(place: ApiPlace) -> None:
    """Labels of watch-2, once somebody looks on."""
    with place.client(place.tokens["viewer"]) as client:
        while client.get("/health").json()["viewers"] == 0:
            pass
    seq = place.__dict__.setdefault("seq", [1_000])
    for _ in range(8):
        seq[0] += 1
        place.send("watch-2", seq[0], LEFT, 40)


def test_what_cannot_be_asked_says_why(place: ApiPlace) -> None:
    for wrong in ("127.0.0.1:8765", "ftp://host", "", "http://"):
        with pytest.raises(ConfigError, match="no address"):
            Client(wrong)
    with (
        Client(f"http://127.0.0.1:{free_port()}") as client,
        pytest.raises(UnreachableError, match="no server"),
    ):
        client.health()
    with Client(place.url, "ds_wrong") as client:
        with pytest.raises(ApiError, match="token is wrong"):
            next(client.labels())
        with pytest.raises(ApiError, match="token is wrong"):
            client.health()


def test_a_break_is_bridged(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The server stops and another one comes up at its port, on its state: nothing is missed."""
    port = free_port()
    folder = tmp_path_factory.mktemp("break")
    with api_place(folder, f"127.0.0.1:{port}") as place, Client(place.url) as client:
        labels = client.labels()
        place.send("watch-1", 0)
        first = _with_more(place, labels)
        place.restart_server()
        before = {(one.device, one.window) for one in place.labels}
        place.send("watch-1", 40)
        place.wait_for_labels(len(before) + 1)
        seen = {(first["device"], first["window"])}
        newest = max(one.window for one in place.labels)
        while ("watch-1", newest) not in seen:
            label = next(labels)
            seen.add((label["device"], label["window"]))
        wanted = {(one.device, one.window) for one in place.labels if first["window"] < one.window <= newest}
        assert seen >= wanted


def _with_more(place: ApiPlace, labels: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """The first label, of a feed that may have begun behind those that were sent before."""
    done = threading.Event()

    def send() -> None:
        seq = 1
        while not done.is_set() and seq < 30:
            place.send("watch-1", seq)
            seq += 1
            done.wait(0.1)

    sending = threading.Thread(target=send)
    sending.start()
    try:
        return next(labels)
    finally:
        done.set()
        sending.join()


def test_events_are_read_by_the_standard() -> None:
    events = Events()
    lines = ["retry: 1", "", ": alive", "", "id: a-1-2", "event: labels", 'data: {"labels":', "data: []}", ""]
    found = [event for line in lines if (event := events.take(line)) is not None]
    assert found == [("labels", {"labels": []})]
    assert events.mark == "a-1-2"
    assert [events.take(line) for line in ("event: x", "id:b", "data:1")] == [None, None, None]
    assert events.mark == "a-1-2", "not before the event is complete"
    assert events.take("") == ("x", 1)
    assert events.mark == "b"
