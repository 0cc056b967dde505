"""Who gets into the API: every route against every role and none, wrong tokens, other sites, other names."""

from __future__ import annotations

import base64
import contextlib
import logging
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from disc_stream.clock import ManualClock
from disc_stream.errors import ConfigError, InputNotFoundError
from disc_stream_server.api.app import make_routes, openapi_document
from disc_stream_server.api.auth.guesses import FREE, Guesses
from disc_stream_server.api.auth.roles import Role
from disc_stream_server.api.auth.tokens import TokenStore
from disc_stream_server.storage.people import FILE, PeopleStore
from tests.support.api import PREFIX, ApiPlace, api_place, close_code

METHODS = ("get", "put", "post", "patch", "delete")
EXAMPLES = {
    "device": "watch-1", "cluster": "1", "version": "1", "other": "current", "position": "1", "number": "1",
    "token": "0" * 12, "what": "labels",
}  # fmt: skip
DOCUMENT = openapi_document()
OPERATIONS = [
    (method, path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
]
NAMED = pytest.mark.parametrize(
    ("method", "path", "operation"), OPERATIONS, ids=[f"{method} {path}" for method, path, _ in OPERATIONS]
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiPlace]:
    folder = tmp_path_factory.mktemp("access")
    with api_place(folder, "0.0.0.0:0", roles=True, http_hosts=["fleet.example"]) as place:
        yield place


def status_of(place: ApiPlace, method: str, path: str, token: str = "", **headers: str) -> int:
    """The status alone: one of the routes streams for ever. Each token comes from an address of its own."""
    for name, value in EXAMPLES.items():
        path = path.replace(f"{{{name}}}", value)
    address = f"127.0.1.{zlib.crc32(token.encode()) % 250 + 1}"
    with (
        place.client(token, address=address) as client,
        client.stream(method.upper(), path, headers=headers) as answer,
    ):
        return int(answer.status_code)


@NAMED
def test_every_route_names_its_role_and_asks_for_it(
    place: ApiPlace, method: str, path: str, operation: dict[str, Any]
) -> None:
    assert method in METHODS
    needed = operation["x-role"]
    if needed == "none":
        assert operation["security"] == []
        assert status_of(place, method, path) not in (401, 403)
        return
    assert status_of(place, method, path) == 401
    for role in Role:
        status = status_of(place, method, path, place.tokens[role])
        if role.includes(Role(needed)):
            assert status not in (401, 403), f"{role} may not {method} {path}"
        else:
            assert status == 403, f"{role} may {method} {path}"


def test_changes_need_more_than_a_viewer_and_the_document_has_every_route() -> None:
    for method, path, operation in OPERATIONS:
        if method != "get" and path not in ("/login", "/logout"):
            assert operation["x-role"] in ("operator", "admin"), f"{method} {path}"
    documented = {(method.upper(), path) for method, path, _ in OPERATIONS}
    served = {
        (method, route.path)
        for route in make_routes().routes
        for method in getattr(route, "methods", None) or ()
    }
    assert served <= documented | {("HEAD", path) for _, path, _ in OPERATIONS}


@pytest.mark.parametrize("role", list(Role))
def test_a_websocket_needs_a_token(place: ApiPlace, role: Role) -> None:
    address = f"ws://127.0.0.1:{place.port}{PREFIX}/live/ws"
    with pytest.raises(InvalidStatus) as refused:
        connect(address)
    assert refused.value.response.status_code == 401
    headers = {"authorization": f"Bearer {place.tokens[role]}"}
    if not role.includes(Role.VIEWER):
        with pytest.raises(InvalidStatus) as refused:
            connect(address, additional_headers=headers)
        assert refused.value.response.status_code == 403
        return
    with connect(address, additional_headers=headers) as socket:
        assert socket.recv(timeout=30)


def test_a_devices_token_opens_no_page(place: ApiPlace) -> None:
    with place.client(place.tokens["device"], address="127.0.3.1") as client:
        client.base_url = place.url
        assert client.get("/").status_code in (401, 403)
        assert client.get(f"/?token={place.tokens['device']}").status_code in (401, 403)
        assert client.get(f"{PREFIX}/models/current.zip").status_code == 200


def test_nothing_is_served_to_other_machines_without_tokens(tmp_path: Path) -> None:
    for _ in range(2):
        done = subprocess.run(
            [
                sys.executable, "-m", "disc_stream", "serve", "--collect", "--http", "0.0.0.0:0",
                "--state", str(tmp_path / "state"),
            ],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert "disc-stream token add" in line
        with PeopleStore(_made(tmp_path / "state")) as store:  # an expired one is none
            TokenStore(store).add("ann", Role.ADMIN, by="test", now_us=1, expires_us=2)


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def test_the_page_asks_for_a_token_as_well(place: ApiPlace) -> None:
    with place.client(address="127.0.2.1") as client:
        client.base_url = place.url
        assert client.get("/").status_code == 401
        assert client.get("/api/state").status_code == 401
        assert client.get("/healthz").status_code == 200
        assert client.get("/?token=ds_000000000000_" + "x" * 43).status_code == 401
        answer = client.get(f"/?token={place.tokens['viewer']}")
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert place.tokens["viewer"] not in answer.headers["set-cookie"]
        assert client.get("/").status_code == 200
        assert client.get(f"{PREFIX}/me").json()["role"] == "viewer"


def test_a_browser_logs_in_and_out(place: ApiPlace) -> None:
    with place.client(address="127.0.2.2") as client:
        assert client.post("/login", json={"token": "nonsense"}).status_code == 401
        answer = client.post("/login", json={"token": place.tokens["operator"]})
        assert answer.json() == {
            "name": "operator-1",
            "role": "operator",
            "token": place.tokens["operator"][3:15],
        }
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert place.tokens["operator"].lower() not in cookie
        assert client.get("/me").status_code == 200
        kept = dict(client.cookies)
        assert client.post("/logout").status_code == 204
        assert client.get("/me").status_code == 401
        client.cookies.update(kept)
        assert client.get("/me").status_code == 401, "the login has ended at the server, too"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://evil.example", "sec-fetch-site": "same-origin"},
        {"origin": "http://127.0.0.1.evil.example"},
        {"origin": "garbage"},
    ],
    ids=str,
)
def test_the_page_of_another_site_changes_nothing(place: ApiPlace, headers: dict[str, str]) -> None:
    with place.client() as client:
        client.post("/login", json={"token": place.tokens["admin"]})
        answer = client.put("/devices/watch-1/tags", json={"tags": ["evil"]}, headers=headers)
        assert answer.status_code == 403
        assert "another site" in answer.json()["detail"]
        assert client.get("/devices/watch-1/tags").json()["tags"] == []
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    if "origin" in headers:
        with pytest.raises(InvalidStatus) as refused:
            connect(
                f"ws://127.0.0.1:{place.port}{PREFIX}/live/ws",
                origin=headers["origin"],  # type: ignore[arg-type]
                additional_headers={"cookie": cookie},
            )
        assert refused.value.response.status_code == 403


def test_the_own_page_may_change_things(place: ApiPlace) -> None:
    with place.client(place.tokens["operator"]) as client:
        for origin, host in ((place.url, None), ("https://fleet.example", "fleet.example")):
            headers = {"origin": origin, "sec-fetch-site": "same-origin"} | ({"host": host} if host else {})
            answer = client.put("/devices/own/tags", json={"tags": ["mine"]}, headers=headers)
            assert answer.status_code == 200, answer.text


def test_another_name_is_refused_for_http_and_websockets(place: ApiPlace) -> None:
    token = place.tokens["admin"]
    assert status_of(place, "get", "/me", token, host="evil.example") == 421
    with pytest.raises(InvalidStatus) as refused:
        connect(
            f"ws://evil.example{PREFIX}/live/ws",
            sock=_socket(place),
            additional_headers={"authorization": f"Bearer {token}"},
        )
    assert refused.value.response.status_code == 421


def _socket(place: ApiPlace) -> Any:
    import socket

    return socket.create_connection(("127.0.0.1", place.port), timeout=30)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/../state", "/api/v1/%2e%2e/state", "/api/v1//me", "/api/v1/./me", "/API/v1/me",
        "/api/v1/me/", "/api/v1%2fme", "/api/v1/login/../tokens", "/api/v1/login%2f..%2ftokens",
        "/api/v1/login/", "/api/v1", "/api/v1/",
        "//api/v1/me", "/api/v1/devices/..%2f..%2fetc%2fpasswd", "/api/v1/export/..%2flabels",
        "/api/v1/me%0a", "/api/v1/models/a%0ab", "/api/v1%0a/me",
        "/api/v1/me%00", "/api/v1/me;x=1", "/api/v1/%6de", "/api/v1/login?token=x",
    ],
)  # fmt: skip
def test_tricks_with_paths_get_nobody_in(place: ApiPlace, path: str) -> None:
    import socket

    with socket.create_connection(("127.0.0.1", place.port), timeout=30) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := raw.recv(65_536):
            answer += part
    status = int(answer.split(b" ")[1])
    assert status in (400, 401, 404, 405, 307), answer[:200]
    assert b'"role"' not in answer


def test_an_expired_and_a_revoked_token_are_refused_and_end_what_is_open(place: ApiPlace) -> None:
    now_us = time.time_ns() // 1000
    expired = place.make_token(Role.ADMIN, "late", expires_us=now_us - 1, now_us=now_us - 10)
    assert status_of(place, "get", "/me", expired) == 401
    token = place.make_token(Role.VIEWER, "leaver")
    with place.client(place.tokens["admin"]) as admin, place.client(address="127.0.2.3") as browser:
        browser.post("/login", json={"token": token})
        assert browser.get("/me").status_code == 200
        address = f"ws://127.0.0.1:{place.port}{PREFIX}/live/ws"
        with connect(address, additional_headers={"authorization": f"Bearer {token}"}) as socket:
            assert admin.delete(f"/tokens/{token[3:15]}").status_code == 200
            assert status_of(place, "get", "/me", token) == 401
            assert browser.get("/me").status_code == 401
            assert close_code(socket) == 1008


def test_tokens_are_made_through_the_api_by_admins_and_never_shown_again(place: ApiPlace) -> None:
    with place.client(place.tokens["admin"]) as admin:
        made = admin.post("/tokens", json={"name": "bob", "role": "viewer"}).json()
        assert status_of(place, "get", "/me", made["token"]) == 200
        everything = admin.get("/tokens?limit=1000").text + admin.get("/audit?limit=1000").text
        secret = made["token"][16:]
        assert made["id"] in everything
        assert secret not in everything
        assert admin.post("/tokens", json={"name": "x", "role": "god"}).status_code == 422
    assert secret.encode() not in (place.state / FILE).read_bytes()


def test_guesses_are_slowed_down_and_logged_sparsely(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with api_place(tmp_path, "0.0.0.0:0", roles=True) as place:
        caplog.set_level(logging.WARNING)
        with place.client() as client:
            mine, other = ({"authorization": f"Bearer {place.tokens[role]}"} for role in ("viewer", "admin"))
            assert client.get("/me", headers=mine).status_code == 200
            answers = [
                client.get("/me", headers={"authorization": f"Bearer ds_{n:012x}_{'x' * 43}"})
                for n in range(40)
            ]
            assert [one.status_code for one in answers[:FREE]] == [401] * FREE
            looked_at = sum(one.status_code == 401 for one in answers)
            assert looked_at < FREE + 5, "they come within seconds, and each waits twice as long"
            refused = [one for one in answers if one.status_code == 429]
            assert len(refused) == len(answers) - looked_at
            assert int(refused[-1].headers["retry-after"]) >= 1
            assert len([one for one in caplog.records if "a token from 127.0.0.1" in one.getMessage()]) == 1
            assert "x" * 43 not in caplog.text
            assert client.get("/me", headers=mine).status_code == 200, "who was in before stays in"
            assert client.get("/me", headers=other).status_code == 429, "others at that address wait"
        with place.client(place.tokens["admin"], address="127.0.3.1") as elsewhere:
            assert elsewhere.get("/me").status_code == 200


def test_an_address_waits_longer_with_each_guess_and_is_forgiven() -> None:
    clock = ManualClock()
    guesses = Guesses(clock.monotonic)
    waits = []
    for _ in range(FREE + 8):
        guesses.wrong("a")
        waits.append(guesses.wait_s("a", "t"))
        clock.advance(waits[-1])
    assert waits[: FREE - 1] == [0.0] * (FREE - 1)
    assert waits[FREE - 1 :] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert guesses.wait_s("b", "t") == 0
    clock.advance(1_000)
    assert guesses.wrong("a") == 1


def test_a_server_on_loopback_without_tokens_asks_for_none_until_the_first(tmp_path: Path) -> None:
    with api_place(tmp_path) as place:
        with place.client() as client:
            assert client.get("/me").json() == {"name": "local", "role": "admin", "token": ""}
            refused = client.post("/tokens", json={"name": "ann", "role": "admin"})
            assert refused.status_code == 409
            assert "disc-stream token add" in refused.json()["remedy"]
        token = place.make_token(Role.VIEWER)
        assert status_of(place, "get", "/me") == 401
        assert status_of(place, "get", "/me", token) == 200
        with PeopleStore(place.state) as store:
            TokenStore(store).revoke(token[3:15], time.time_ns() // 1000)
        assert status_of(place, "get", "/me") == 401, "the last token's end opens nothing"


def test_a_proxy_in_front_of_loopback_is_not_taken_for_this_machine(tmp_path: Path) -> None:
    with api_place(tmp_path, http_hosts=["fleet.example"]) as place:
        assert status_of(place, "get", "/me", host="fleet.example") == 401
        assert status_of(place, "get", "/me") == 401


def test_whoever_sees_a_public_page_may_read_and_no_more(tmp_path: Path) -> None:
    with api_place(tmp_path, "0.0.0.0:0", http_public=True) as place:
        assert status_of(place, "get", "/me") == 200
        assert status_of(place, "put", "/devices/watch-1/tags") == 403
        assert status_of(place, "get", "/audit") == 403


def test_requests_are_bounded_in_number_size_and_time(tmp_path: Path) -> None:
    with api_place(tmp_path, api_requests_s=2.0) as place, place.client() as client:
        answers = [client.get("/me") for _ in range(30)]
        assert 429 in {one.status_code for one in answers}
        assert int(next(one for one in answers if one.status_code == 429).headers["retry-after"]) >= 1
    with api_place(tmp_path / "again") as place, place.client() as client:
        large = client.put("/devices/watch-1/tags", content=b'{"tags": ["' + b"a" * 100_000 + b'"]}')
        assert large.status_code == 413
        parts = (b"x" * 1_000 for _ in range(1_000))
        with contextlib.suppress(httpx2.WriteError):  # refused while it was still being sent
            assert client.put("/devices/watch-1/tags", content=parts).status_code == 413


def test_a_change_that_cannot_be_written_down_is_not_made(tmp_path: Path) -> None:
    import sqlite3

    with api_place(tmp_path) as place, place.client() as client:
        with sqlite3.connect(place.state / FILE) as connection:
            connection.execute("DROP TABLE audit")
        connection.close()
        answer = client.put("/devices/watch-1/tags", json={"tags": ["a"]})
        assert answer.status_code == 503
        assert client.get("/devices/watch-1/tags").json()["tags"] == []


def test_the_store_keeps_hashes_and_says_what_it_does_not_know(tmp_path: Path) -> None:
    with PeopleStore(tmp_path) as store:
        tokens = TokenStore(store)
        token, info = tokens.add("ann", Role.VIEWER, by="test", now_us=5)
        assert tokens.identify(token, 6) is not None
        for wrong in (
            token[:-1] + ("A" if token[-1] != "A" else "B"),
            token.upper(),
            "",
            "ds_",
            f"ds_{info.id}_",
        ):
            assert tokens.identify(wrong, 6) is None
        with pytest.raises(ConfigError, match="expired already"):
            tokens.add("ann", Role.VIEWER, by="test", now_us=5, expires_us=5)
        with pytest.raises(InputNotFoundError, match="no token"):
            tokens.revoke("f" * 12, 6)
        with pytest.raises(ConfigError):
            tokens.add("line\nbreak", Role.VIEWER, by="test", now_us=5)
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0
    raw = (tmp_path / FILE).read_bytes()
    secret = token[16:]
    assert secret.encode() not in raw
    assert base64.urlsafe_b64decode(secret + "=") not in raw
