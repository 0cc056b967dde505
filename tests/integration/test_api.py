"""The API of a running server: what it answers, and that what it changes takes effect."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import httpx2
import pyarrow.parquet as pq
import pytest

from disc_stream.registry import Registry
from tests.support.api import ApiPlace, api_place


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiPlace]:
    with api_place(tmp_path_factory.mktemp("api")) as place:
        place.fill()
        yield place


@pytest.fixture
def client(place: ApiPlace) -> Iterator[httpx2.Client]:
    with place.client() as client:
        yield client


def all_pages(client: httpx2.Client, path: str, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = client.get(path, params={**query, **cursor})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["items"]
        if page["next"] is None:
            return found
        cursor = {"cursor": page["next"]}


def test_devices_come_with_their_last_label_and_tags(client: httpx2.Client) -> None:
    assert client.put("/devices/watch-1/tags", json={"tags": ["left", "ward 3"]}).status_code == 200
    devices = {one["id"]: one for one in all_pages(client, "/devices", limit=1)}
    assert list(devices) == ["watch-1", "watch-2", "watch-3"]
    assert devices["watch-1"]["tags"] == ["left", "ward 3"]
    assert devices["watch-1"]["current"]["name"] == "left"
    assert [one["id"] for one in all_pages(client, "/devices", tag="ward 3")] == ["watch-1"]
    assert [one["id"] for one in all_pages(client, "/devices", words="2 WATCH")] == ["watch-2"]
    assert all_pages(client, "/tags") == [{"tag": "left", "devices": 1}, {"tag": "ward 3", "devices": 1}]


def test_labels_and_episodes_come_by_time_and_page_by_page(client: httpx2.Client) -> None:
    whole = all_pages(client, "/devices/watch-1/labels", limit=1_000)
    assert whole == all_pages(client, "/devices/watch-1/labels", limit=3)
    assert [one["begin_us"] for one in whole] == sorted(one["begin_us"] for one in whole)
    newest = all_pages(client, "/devices/watch-1/labels", limit=4, newest_first=True)
    assert newest == whole[::-1]
    middle = whole[len(whole) // 2]["begin_us"]
    late = all_pages(client, "/devices/watch-1/labels", **{"from": middle})
    assert late == [one for one in whole if one["begin_us"] >= middle]
    assert all_pages(client, "/devices/watch-1/labels", until=middle) == [
        one for one in whole if one not in late
    ]
    share = client.get("/devices/watch-2/share").json()
    assert sum(one["seconds"] for one in share) > 0
    assert client.get("/devices/watch-2/episodes").status_code == 200


def test_a_cursor_fits_only_its_list_and_its_filters(client: httpx2.Client) -> None:
    cursor = client.get("/devices", params={"limit": 1}).json()["next"]
    for path, query in (
        ("/devices", {"words": "watch"}),
        ("/dead-letters", {}),
        ("/clusters", {}),
    ):
        answer = client.get(path, params={**query, "cursor": cursor})
        assert answer.status_code == 422
        assert "cursor" in answer.json()["detail"]
    for garbage in ("x", "e30", "AAAA", "W10", "WyIiLCAiIl0"):
        assert client.get("/devices", params={"cursor": garbage}).status_code == 422


def test_a_name_is_on_the_next_label_and_can_be_undone(place: ApiPlace, client: httpx2.Client) -> None:
    seen = client.get("/clusters/1")
    answer = client.patch("/clusters/1", json={"name": "walking"}, headers={"If-Match": seen.headers["etag"]})
    assert answer.status_code == 200
    (event,) = answer.json()["events"]
    assert (event["what"], event["who"]) == ("name", "local")
    stale = client.patch("/clusters/1", json={"name": "running"}, headers={"If-Match": seen.headers["etag"]})
    assert stale.status_code == 412
    assert "has changed since" in stale.json()["detail"]
    seq, before = 100, len(place.labels)
    while not any(label.smoothed.name == "walking" for label in place.labels[before:]):
        place.send("watch-2", seq, (10.0, 0.0, 0.0))
        seq += 1
        place.wait_for_labels(len(place.labels) + 1)
        assert seq < 400
    undone = client.post("/cluster-events/undo", json={"event": event["number"]})
    assert undone.json()["events"][0]["undoes"] == event["number"]
    assert client.get("/clusters/1").json()["name"] == "left"
    assert client.patch("/clusters/77", json={"name": "x"}).status_code == 404
    assert [one["what"] for one in all_pages(client, "/clusters/1/history")][:2] == ["undo", "name"]


def test_models_say_what_is_in_production_and_why(client: httpx2.Client) -> None:
    (version,) = all_pages(client, "/models")
    assert version["state"] == "in production"
    assert client.get("/models/current").json() == version
    assert client.get(f"/models/{version['version'][:6]}").json() == version
    (deployment,) = all_pages(client, "/deployments")
    assert (deployment["who"], deployment["why"]) == ("test", "the first")
    assert client.post("/deployments/rollback", json={"why": "flips"}).status_code == 409
    assert client.post("/models/current/promote", json={"why": "again"}).status_code == 409
    assert client.get("/models/9").status_code == 404
    answer = client.post("/retraining", json={"why": "weekly"})
    assert answer.status_code == 409
    assert "does not retrain" in answer.json()["detail"]


def test_dead_letters_can_be_seen_and_sent_again(place: ApiPlace, client: httpx2.Client) -> None:
    (letter,) = all_pages(client, "/dead-letters", device="watch-3")
    whole = client.get(f"/dead-letters/{letter['position']}").json()
    assert bytes.fromhex(whole["payload"]) == b"not a batch"
    assert letter["reason"] in whole["today"]
    again = client.post("/dead-letter-replays", json={"positions": [letter["position"]]}).json()
    assert (again["chosen"], again["confirmed"], again["refused"]) == (1, 1, 0)
    assert client.get("/dead-letters/999999").status_code == 404


def test_labels_that_are_wrong_are_written_down_and_can_be_taken_back(client: httpx2.Client) -> None:
    label = all_pages(client, "/devices/watch-1/labels")[0]
    said = {
        "device": "watch-1", "from_us": label["begin_us"], "until_us": label["begin_us"] + 1,
        "cluster": 0, "instead": 1, "note": "she was walking",
    }  # fmt: skip
    made = client.post("/rejections", json=said)
    assert made.status_code == 201, made.text
    number = made.json()["number"]
    assert client.get("/rejections", params={"device": "watch-1"}).json()["items"][-1]["number"] == number
    assert client.delete(f"/rejections/{number}").json()["withdrawn_us"] is not None
    assert client.delete("/rejections/4711").status_code == 404
    assert client.post("/rejections", json={**said, "cluster": 99}).status_code == 404
    assert client.post("/rejections", json={**said, "until_us": 0}).status_code == 422


def test_exports_have_what_the_lists_have(client: httpx2.Client) -> None:
    labels = all_pages(client, "/devices/watch-1/labels", limit=1_000)
    answer = client.get("/export/labels", params={"device": "watch-1"})
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [int(row["begin_us"]) for row in rows] == [one["begin_us"] for one in labels]
    everything = client.get("/export/labels", params={"format": "parquet"}).content
    table = pq.read_table(io.BytesIO(everything))
    assert set(table["device"].to_pylist()) == {"watch-1", "watch-2"}
    assert table["device"].to_pylist().count("watch-1") == len(labels)
    episodes = pq.read_table(io.BytesIO(client.get("/export/episodes", params={"format": "parquet"}).content))
    assert "was" in episodes.column_names


def test_every_change_is_in_the_audit_log(client: httpx2.Client) -> None:
    client.put("/devices/watch-9/tags", json={"tags": ["audited"]})
    entries = client.get("/audit", params={"limit": 5}).json()["items"]
    (entry,) = [one for one in entries if one["target"].endswith("/devices/watch-9/tags")]
    assert entry["action"] == "PUT /devices/{device}/tags"
    assert (entry["who"], entry["role"], entry["status"]) == ("local", "admin", 200)
    assert entry["detail"] == {"tags": ["audited"]}
    before = len(all_pages(client, "/audit"))
    client.get("/devices")
    assert len(all_pages(client, "/audit")) == before


def test_health_says_what_the_server_does(client: httpx2.Client) -> None:
    health = client.get("/health").json()
    assert health["ready"] is True
    assert health["registry"] is True
    assert health["devices"] >= 2
    assert health["status"]["state"] == "online"


def test_errors_say_what_where_and_what_to_do(client: httpx2.Client) -> None:
    answer = client.put("/devices/watch-1/tags", json={"tags": [7], "more": 1})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert {one["where"] for one in body["errors"]} == {"body.tags.0", "body.more"}
    assert client.get("/no/such/path").json()["title"] == "Not Found"
    assert client.request("PURGE", "/devices").status_code == 405
    for path in ("/models/a%0Ab", "/no%0Asuch"):
        assert client.get(path).headers["content-type"] == "application/problem+json", path


def test_how_samples_come_is_told_of_each_device(place: ApiPlace, client: httpx2.Client) -> None:
    place.sender.link.publish(
        "ds/v1/watch-1/meta",
        b'{"schema":"disc-stream.meta/1","fs":50,"channels":["acc_x","acc_y","acc_z"],"units":"m/s2",'
        b'"placement":"wrist","battery":0.42}',
    )
    for _ in range(400):
        facts = client.get("/devices/watch-1").json()["facts"]
        if facts["description"]:
            break
        place._labelled.wait_a_moment()
    assert facts["description"] == {"placement": "wrist", "model": "", "firmware": "", "battery": 0.42}
    assert facts["rate"] == 50.0
    assert abs(facts["measured"] - 50.0) < 0.01
    assert facts["gaps"] == facts["missing"] == 0
    assert {one["facts"] for one in client.get("/devices").json()["items"]} == {None}
    listed = {one["id"]: one["facts"] for one in all_pages(client, "/devices", facts=True)}
    assert listed["watch-1"] == facts
    assert listed["watch-3"]["messages"] == 0


def test_a_label_is_explained_by_windows_that_the_model_learned_from(
    place: ApiPlace, client: httpx2.Client
) -> None:
    seq = 400
    told: dict[str, Any] = {"window": None}
    while told["window"] is None:
        place.send("watch-1", seq, (10.0, 0.0, 0.0))
        place.wait_for_labels(len(place.labels) + 1)
        told = client.get("/devices/watch-1/explanation").json()
        seq += 1
        assert seq < 500
    assert (told["kept"], told["names"]) == ("yes", ["acc_x", "acc_y", "acc_z"])
    assert told["window"]["name"] == told["nearest"][0]["name"]
    assert len(told["window"]["trace"]) == 8
    distances = [one["distance"] for one in told["nearest"]]
    assert distances == sorted(distances)
    assert [one["cluster"] for one in told["similar"]] == [told["nearest"][0]["cluster"]] * 3
    assert client.get("/devices/nobody/explanation").status_code == 404


def test_a_cluster_shows_its_windows_and_where_they_lie(place: ApiPlace, client: httpx2.Client) -> None:
    shown = client.get("/clusters/1/examples").json()
    places = [one["place"] for one in shown["items"]]
    assert {one["cluster"] for one in shown["items"]} == {1}
    assert places.count("centre") >= 8
    assert client.get("/clusters/77/examples").status_code == 404
    drawn = client.get("/models/current/map").json()
    assert [one["id"] for one in drawn["clusters"]] == [0, 1, 2]
    assert {one["cluster"] for one in drawn["points"]} == {0, 1, 2}
    assert client.get("/models/99/map").status_code == 404
    seq, live = 500, []
    while not live:
        client.get("/live-map")
        place.send("watch-2", seq, (0.0, 10.0, 0.0))
        place.wait_for_labels(len(place.labels) + 1)
        live = client.get("/live-map").json()["items"]
        seq += 1
        assert seq < 900
    right = drawn["clusters"][2]
    assert live[0]["device"] == "watch-2"
    if live[0]["cluster"] == 2:
        assert abs(live[0]["x"] - right["x"]) + abs(live[0]["y"] - right["y"]) < 0.5
    epochs = client.get("/models/current/training").json()["epochs"]
    assert [one["values"]["total"] for one in epochs[:2]] == [1.0, 0.5]


def test_a_version_whose_windows_were_taken_out_says_so(place: ApiPlace, client: httpx2.Client) -> None:
    with Registry.open(place.models) as registry:
        file = registry.version("current").path / "examples.bin"
    data = file.read_bytes()
    file.unlink()
    try:
        assert client.get("/clusters/1/examples").json()["kept"] == "no"
        assert client.get("/models/current/map").json() | {"model": ""} == {
            "model": "", "kept": "no", "clusters": [], "points": []
        }  # fmt: skip
        assert client.get("/live-map").json()["items"] == []
    finally:
        file.write_bytes(data)


def test_when_and_by_whom_a_cluster_is_done(place: ApiPlace, client: httpx2.Client) -> None:
    told = client.get("/clusters/0/activity").json()
    hour = int(place._begun / 50 // 3600 % 24)
    assert told["devices"] == len(told["most"])
    assert len(told["hours"]) == 24
    assert abs(sum(told["hours"]) - told["seconds"]) < 0.1
    if told["seconds"]:  # an episode has ended
        assert told["hours"][hour] > 0 or told["hours"][(hour + 1) % 24] > 0
    assert client.get("/clusters/77/activity").status_code == 404
    assert client.get("/clusters/0/activity", params={"days": 0}).status_code == 422


def test_latency_spool_and_drift_are_told(place: ApiPlace, client: httpx2.Client) -> None:
    told = client.get("/operation").json()
    delay = told["delay"]
    assert sum(delay["counts"]) > 0
    assert len(delay["counts"]) == len(delay["bounds"]) + 1
    assert 0 < delay["p50"] <= delay["p95"] <= delay["p99"]
    assert {"decode", "encode", "publish"} <= {one["name"] for one in told["stages"]}
    spool = told["spool"]
    assert 0 < spool["bytes"] < spool["disk"]
    assert spool["per_day"] is spool["days_left"] is None, "not before ten minutes of a run"
    drift = client.get("/drift").json()
    assert sum(one["windows"] for one in drift["points"]) >= 390
    assert all(one["unusual"] + one["unknown"] <= 2 * one["windows"] for one in drift["points"])
