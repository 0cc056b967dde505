"""The live feed: what comes, what was missed, who does not read, and who sends garbage."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support.api import PREFIX, ApiPlace, api_place, close_code, raw_websocket
from tests.support.device import LEFT, REST


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiPlace]:
    with api_place(tmp_path_factory.mktemp("live")) as place:
        yield place


def more(place: ApiPlace, device: str = "watch-1", mean: tuple[float, float, float] = REST) -> None:
    """Five more labels of a device."""
    seqs = place.__dict__.setdefault("seqs", {})
    seqs[device] = seqs.get(device, -1) + 1
    before = len(place.labels)
    place.send(device, seqs[device], mean)
    place.wait_for_labels(before + 4)


Event = tuple[str, str, dict[str, Any]]


def sse(answer: httpx2.Response) -> Iterator[Event]:
    name = mark = ""
    for line in answer.iter_lines():
        key, _, value = line.partition(": ")
        if key == "event":
            name = value
        elif key == "id":
            mark = value
        elif key == "data":
            yield name, mark, json.loads(value)
            name = mark = ""


def labels_of(events: Iterator[Event], n: int) -> tuple[list[dict[str, Any]], str]:
    """The next n labels, and the mark behind them."""
    found: list[dict[str, Any]] = []
    for name, mark, data in events:
        if name == "labels":
            found += data["labels"]
            if len(found) >= n:
                return found, mark
    raise AssertionError("the stream has ended")


def ws(place: ApiPlace, query: str = "", **more: Any) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{place.port}{PREFIX}/live/ws{query}", **more)


def ws_events(socket: ClientConnection) -> Iterator[Event]:
    for message in socket:
        event = json.loads(message)
        yield event["event"], event["id"], event["data"]


def test_labels_come_as_events_for_whom_they_interest(place: ApiPlace) -> None:
    with place.client() as client, client.stream("GET", "/live", params={"device": "watch-2"}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = sse(answer)
        assert next(events)[0] == "status"
        more(place, "watch-1")
        more(place, "watch-2", LEFT)
        labels, mark = labels_of(events, 4)
        assert {label["device"] for label in labels} == {"watch-2"}
        assert labels[0]["name"] == "left"
        assert mark


def test_a_snapshot_has_the_last_label_of_every_device(place: ApiPlace) -> None:
    more(place, "watch-1")
    with place.client() as client, client.stream("GET", "/live?snapshot=true") as answer:
        name, _, data = next(sse(answer))
        assert name == "snapshot"
        by_device = {label["device"]: label["window"] for label in data["labels"]}
        assert by_device["watch-1"] == max(one.window for one in place.labels if one.device == "watch-1")


def test_filters_by_tag_and_cluster(place: ApiPlace) -> None:
    with place.client() as client:
        client.put("/devices/tagged/tags", json={"tags": ["ward 3"]})
        with ws(place, "?tag=ward%203") as tagged, ws(place, "?cluster=1") as left:
            more(place, "watch-1", REST)
            more(place, "tagged", LEFT)
            assert {one["device"] for one in labels_of(ws_events(tagged), 4)[0]} == {"tagged"}
            assert {one["cluster"] for one in labels_of(ws_events(left), 4)[0]} == {1}
            tagged.send(json.dumps({"devices": ["watch-1"]}))
            found: set[str] = set()
            while "watch-1" not in found:
                more(place, "watch-1", REST)
                found = {one["device"] for one in labels_of(ws_events(tagged), 1)[0]}


def test_who_comes_back_gets_what_was_missed(place: ApiPlace) -> None:
    with place.client() as client:
        with client.stream("GET", "/live") as answer:
            more(place)
            _, mark = labels_of(sse(answer), 1)
        before = {(one.device, one.window) for one in place.labels}
        more(place)
        more(place, "watch-2")
        missed = {(one.device, one.window) for one in place.labels} - before
        with client.stream("GET", "/live", headers={"last-event-id": mark}) as answer:
            events = sse(answer)
            name, _, data = next(events)
            assert (name, data["complete"]) == ("resumed", True)
            labels, _ = labels_of(events, len(missed))
        assert missed <= {(one["device"], one["window"]) for one in labels}


def test_who_comes_back_to_another_run_gets_it_from_the_store(place: ApiPlace) -> None:
    more(place)
    first = place.labels[0]
    wanted = {
        (one.device, one.boot, one.window) for one in place.labels if one.published_us > first.published_us
    }
    with place.client() as client:
        while client.get("/export/labels").text.count("\n") <= len(place.labels):
            more(place)
        mark = f"abc-0-{first.published_us}"
        with client.stream("GET", "/live", headers={"last-event-id": mark}) as answer:
            events = sse(answer)
            assert next(events)[0] == "resumed"
            labels, _ = labels_of(events, len(wanted))
    assert wanted <= {(one["device"], one["boot"], one["window"]) for one in labels}


def test_traces_come_for_devices_that_were_asked_for(place: ApiPlace) -> None:
    with ws(place, "?trace=watch-1&device=watch-1") as socket:
        more(place, "watch-1", LEFT)
        more(place, "watch-1", LEFT)
        for name, _, data in ws_events(socket):
            if name == "trace":
                assert (data["device"], data["names"]) == ("watch-1", ["acc_x", "acc_y", "acc_z"])
                assert data["points"][-1] == [10.0, 0.0, 0.0]
                break


@pytest.mark.parametrize(
    "garbage",
    ["", "{", '{"devices": ["../x"]}', '{"nothing": 1}', '{"clusters": ["a"]}', b"\xff\x00", "[" * 5_000],
)
def test_garbage_ends_a_websocket_and_nothing_else(place: ApiPlace, garbage: str | bytes) -> None:
    with ws(place) as socket, ws(place) as other:
        socket.send(garbage)
        assert close_code(socket) in (1007, 1008)
        more(place)
        labels_of(ws_events(other), 1)


def test_too_many_messages_and_too_large_ones_end_a_websocket(place: ApiPlace) -> None:
    for messages, code in (["{}"] * 50, 1008), (["{" + " " * 20_000], 1009):
        with ws(place) as socket:
            with contextlib.suppress(ConnectionClosed):
                for message in messages:
                    socket.send(message)
            assert close_code(socket) == code


def test_frames_that_are_none_break_only_their_connection(place: ApiPlace) -> None:
    with socket.create_connection(("127.0.0.1", place.port), timeout=30) as raw:
        raw.sendall(raw_websocket())
        assert raw.recv(12) == b"HTTP/1.1 101"
        raw.sendall(bytes(range(256)) * 16)
        while raw.recv(65_536):
            pass
    with place.client() as client:
        assert client.get("/health").status_code == 200


def test_who_never_reads_is_counted_and_slows_nobody(place: ApiPlace) -> None:
    """Its own socket takes little, so the server's queue for it fills; the other viewer gets everything."""
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.connect(("127.0.0.1", place.port))
        lazy.sendall(raw_websocket())
        with place.client() as client, ws(place) as good:
            events, seen, sent = ws_events(good), 0, 0
            while client.get("/health").json()["dropped"] == 0:
                place.send("busy", sent, REST, 4_000)
                sent += 1
                seen += len(labels_of(events, 1)[0])
                assert sent < 400, "nothing was ever dropped"
            while seen < sum(one.device == "busy" for one in place.labels):
                seen += len(labels_of(events, 1)[0])
            assert client.get("/health").json()["ready"] is True
