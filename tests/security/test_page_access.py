"""Who may see the live page: on another address than loopback, whoever knows its token."""

from __future__ import annotations

import http.client
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from disc_stream.errors import ConfigError
from disc_stream_server.dashboard import Dashboard, PageAccess, read_token

TOKEN = "-".join(["made", "up", "for", "this", "test"])


@pytest.fixture
def page() -> Iterator[Dashboard]:
    page = Dashboard(PageAccess("0.0.0.0", 0, ("fleet.example",), TOKEN))  # noqa: S104 - it is what is tested
    page.start()
    yield page
    page.stop()


def ask(page: Dashboard, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=30)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


@pytest.mark.parametrize("address", ["0.0.0.0:8765", "[::]:0", "192.0.2.7:80"])
def test_nothing_is_served_to_other_machines_by_accident(address: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable, "-m", "disc_stream", "serve", "--collect", "--http", address,
            "--state", str(tmp_path / "state"),
        ],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "would show everybody who reaches this machine" in line
    assert "--http-token FILE" in line
    assert not (tmp_path / "state").exists()


def test_without_the_token_there_is_nothing_to_see(page: Dashboard) -> None:
    for path in ("/", "/main.js", "/api/state", "/api/stream", "/api/page", "/none"):
        answer = ask(page, path)
        assert answer.status == 401, path
        assert answer.getheader("www-authenticate") == "Bearer"
    for wrong in (f"{TOKEN}x", TOKEN[:-1], "", "ä"):
        assert (
            ask(page, "/api/state", Authorization=f"Bearer {wrong}".encode().decode("latin-1")).status == 401
        )
        assert (
            ask(page, "/api/state", Cookie=f"disc-stream-token={wrong}".encode().decode("latin-1")).status
            == 401
        )
    assert ask(page, "/?token=wrong").status == 401
    assert ask(page, f"/api/state?token={TOKEN}").status == 401, "in addresses it would stand in logs"


def test_a_browser_gives_it_once(page: Dashboard) -> None:
    answer = ask(page, f"/?token={TOKEN}")
    assert (answer.status, answer.getheader("location")) == (303, "/")
    cookie, _, options = (answer.getheader("set-cookie") or "").partition("; ")
    assert "httponly" in options.lower()
    assert "samesite" in options.lower()
    assert ask(page, "/api/state", Cookie=cookie).status == 200
    assert ask(page, "/", Cookie=cookie).status == 200


def test_programs_send_it_with_each_request(page: Dashboard) -> None:
    assert ask(page, "/api/state", Authorization=f"Bearer {TOKEN}").status == 200
    for probe in ("/healthz", "/readyz"):
        assert ask(page, probe).status in (200, 503)


def test_a_name_that_was_made_to_lead_here_is_refused(page: Dashboard) -> None:
    for name in ("evil.example", "evil.example:8765", "127.0.0.1.evil.example", "fleet.example.evil"):
        assert ask(page, "/api/state", Host=name, Authorization=f"Bearer {TOKEN}").status == 421, name
    for name in ("fleet.example", "FLEET.example:80", "192.0.2.7:8765", "[2001:db8::1]", "localhost"):
        assert ask(page, "/api/state", Host=name, Authorization=f"Bearer {TOKEN}").status == 200, name


def test_public_is_said_aloud() -> None:
    with pytest.raises(ConfigError):
        PageAccess("0.0.0.0")  # noqa: S104
    page = Dashboard(PageAccess("0.0.0.0", 0, public=True))  # noqa: S104
    page.start()
    try:
        assert ask(page, "/api/state").status == 200
        assert ask(page, "/api/state", Host="evil.example").status == 421
    finally:
        page.stop()


@pytest.mark.parametrize("content", ["", "\n", "short", "with spaces in the middle", "a" * 15, "ä" * 20])
def test_what_cannot_be_a_token_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        read_token(tmp_path / "token")
    assert str(tmp_path / "token") in str(refused.value)
    assert not content.strip() or content.strip() not in str(refused.value)


def test_a_token_is_the_first_line_of_a_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n", encoding="ascii")
    file.chmod(stat.S_IRUSR)
    assert read_token(file) == TOKEN
    assert caplog.text == ""
    file.chmod(0o644)
    read_token(file)
    assert "everybody on this machine may read the token file" in caplog.text
    with pytest.raises(ConfigError, match="No such file"):
        read_token(tmp_path / "none")
