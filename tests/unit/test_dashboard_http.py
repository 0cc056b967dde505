"""The live page over real HTTP on a free loopback port."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from disc_stream.errors import ConfigError, PortInUseError
from disc_stream_server.dashboard import Dashboard, PageAccess, PageInfo
from tests.support.shown import label

ONLINE = {"state": "online", "model": "m1", "connected": True, "counters": {}, "rejected": {}}


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    page = Dashboard(
        PageAccess(port=0), info=PageInfo("mqtt://127.0.0.1:1", "ds/v1"), annotate=lambda _: "a note"
    )
    page.start()
    yield page
    page.stop()


def ask(page: Dashboard, path: str, host: str | None = None) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def ask_json(page: Dashboard, path: str) -> Any:
    return json.loads(ask(page, path)[2])


def test_the_page_loads_nothing_from_elsewhere_and_says_so(dashboard: Dashboard) -> None:
    status, headers, body = ask(dashboard, "/")
    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert b"http://" not in body
    assert b"https://" not in body
    assert b"<script>" not in body
    for name in ("style.css", "main.js", "stream.js", "cards.js", "draw.js", "palette.js", "icon.svg"):
        status, headers, content = ask(dashboard, f"/{name}")
        assert status == 200, name
        assert headers["x-content-type-options"] == "nosniff"
        assert b"https://" not in content
    assert ask(dashboard, "/../app.py")[0] == 404


def test_state_holds_what_was_observed(dashboard: Dashboard) -> None:
    dashboard.on_status(ONLINE)
    dashboard.on_label(label(0))
    state = ask_json(dashboard, "/api/state")
    assert state["server"]["status"]["model"] == "m1"
    (device,) = state["devices"]
    assert device["id"] == "d1"
    assert device["label"]["smoothed"] == {"label": 2, "name": "cluster-2", "confidence": 0.75}
    assert device["note"] == "a note"


def test_stream_sends_a_state_and_then_updates(dashboard: Dashboard) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", dashboard.port, timeout=10)
    connection.request("GET", "/api/stream")
    answer = connection.getresponse()
    assert answer.getheader("content-type", "").startswith("text/event-stream")
    assert _next_event(answer)[0] == "state"
    dashboard.on_label(label(0, cluster=5))
    name, update = _next_event(answer)
    while not update["changed"]:
        name, update = _next_event(answer)
    assert name == "update"
    assert update["changed"][0]["label"]["best"]["label"] == 5
    dashboard.stop()  # ends the stream instead of waiting for the client
    while answer.readline():
        pass
    connection.close()


def _next_event(answer: http.client.HTTPResponse) -> tuple[str, dict[str, Any]]:
    name = answer.readline().decode().strip().removeprefix("event: ")
    data = json.loads(answer.readline().decode().removeprefix("data: "))
    answer.readline()
    return name, data


def test_ready_only_while_labels_can_come(dashboard: Dashboard) -> None:
    assert ask(dashboard, "/healthz")[0] == 200
    assert ask(dashboard, "/readyz")[0] == 503
    dashboard.on_status(ONLINE)
    assert ask(dashboard, "/readyz")[0] == 200
    dashboard.on_status({**ONLINE, "connected": False})
    status, _, body = ask(dashboard, "/readyz")
    assert status == 503
    assert json.loads(body)["waiting_for"] == "the broker"
    assert ask(dashboard, "/healthz")[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_a_foreign_host_name_is_refused_on_loopback(dashboard: Dashboard, host: str) -> None:
    status, headers, body = ask(dashboard, "/api/state", host=host or " ")
    assert status == 421
    assert b"devices" not in body
    assert "content-security-policy" in headers


@pytest.mark.parametrize("host", ["localhost", "localhost:80", "127.0.0.1", "[::1]:8765"])
def test_loopback_names_are_answered(dashboard: Dashboard, host: str) -> None:
    assert ask(dashboard, "/api/state", host=host)[0] == 200


def test_an_occupied_port_is_an_error_before_anything_starts() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        before = threading.active_count()
        with pytest.raises(PortInUseError, match=f"port {port} on 127.0.0.1 is already in use"):
            Dashboard(PageAccess(port=port)).start()
        assert threading.active_count() == before


def test_an_address_of_another_machine_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1"):
        Dashboard(PageAccess("192.0.2.1", 0, public=True)).start()


def test_stop_frees_port_and_thread_and_may_be_repeated() -> None:
    page = Dashboard(PageAccess(port=0))
    page.start()
    port = page.port
    assert page.url == f"http://127.0.0.1:{port}"
    page.stop()
    page.stop()
    assert not any(t.name == "dashboard" for t in threading.enumerate())
    again = Dashboard(PageAccess(port=port))
    again.start()
    again.stop()


@pytest.mark.timeout(120)
def test_observing_never_waits_for_a_browser(dashboard: Dashboard) -> None:
    # A browser that opens the stream and reads nothing. A call that waited for it would never come back.
    idle = socket.create_connection(("127.0.0.1", dashboard.port))
    idle.sendall(b"GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    for window in range(20_000):
        dashboard.on_label(label(window))
    idle.close()
    assert ask(dashboard, "/healthz")[0] == 200
