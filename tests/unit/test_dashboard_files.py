"""The files of the dashboard: whose they are, and how they are served."""

from __future__ import annotations

import hashlib
import json

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from disc_stream_server.dashboard.files import page_files, static, static_routes


def test_libraries_are_unchanged_and_come_with_their_licences() -> None:
    folder = static() / "vendor"
    entries = json.loads((folder / "vendor.json").read_text())
    known = {"vendor.json"}
    for entry in entries:
        assert entry["version"]
        assert entry["integrity"].startswith("sha512-")
        assert any(name.endswith(".LICENCE") for name in entry["files"])
        assert set(entry["sha256"]) == set(entry["files"])
        known |= set(entry["files"])
        for name, digest in entry["sha256"].items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    ours = {file.name for file in folder.iterdir() if file.name.endswith(".d.ts")}
    assert {file.name for file in folder.iterdir()} == known | ours


@pytest.mark.parametrize("has_api", [False, True], ids=["cards", "dashboard"])
def test_the_root_is_the_page_that_the_server_can_answer(has_api: bool) -> None:
    client = TestClient(Starlette(routes=list(static_routes(has_api=has_api))))
    assert ("app/main.js" in client.get("/").text) is has_api
    assert "cards" not in client.get("/").text or not has_api
    assert "main.js" in client.get("/cards").text
    assert (client.get("/app/main.js").status_code == 200) is has_api
    for path in ("/vendor/vendor.json", "/app/", "/app/../app.html", "/vendor/htm-preact.d.ts"):
        assert client.get(path).status_code == 404, path


def test_files_are_compressed_for_those_who_take_it() -> None:
    client = TestClient(Starlette(routes=list(static_routes(has_api=True))))
    for path, file in page_files().items():
        plain = client.get(path, headers={"accept-encoding": "identity"})
        assert "content-encoding" not in plain.headers, path
        packed = client.get(path, headers={"accept-encoding": "gzip"})
        assert plain.content == packed.content == file.read_bytes()
        assert packed.headers["vary"] == "accept-encoding"
        assert int(packed.headers["content-length"]) <= len(plain.content)


def test_nothing_is_loaded_from_elsewhere_and_nothing_is_evaluated() -> None:
    for path, file in page_files().items():
        if path.startswith("/vendor/"):
            continue
        text = file.read_text(encoding="utf-8")
        assert "https://" not in text, path
        assert "innerHTML" not in text, path
        assert 'style="' not in text, path
