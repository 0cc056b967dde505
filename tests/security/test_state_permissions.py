"""What a server keeps is for nobody else on the machine, in a folder that was there before too."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from disc_stream_server.doctor.machine import check_disk
from tests.integration.conftest import listener, mosquitto, sender, start_server, tiny_bundle  # noqa: F401
from tests.support.broker import Mosquitto
from tests.support.collector import start_serve
from tests.support.device import REST, Sender, constant, make_batch
from tests.support.listener import Listener

pytestmark = pytest.mark.broker


@pytest.fixture
def loose() -> Iterator[None]:
    """The umask of a machine whose users share what they write."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): oct(stat.S_IMODE(path.lstat().st_mode))
        for path in sorted(folder.rglob("*"))
    }


def assert_private(folder: Path) -> None:
    found = modes(folder)
    assert {"state.sqlite", "spool", "lock"} <= set(found)
    assert {name: mode for name, mode in found.items() if mode not in {"0o600", "0o700"}} == {}


def folder_finding(state: Path) -> tuple[str, str, str]:
    (found,) = [one for one in check_disk(state) if one.name == "state folder"]
    return found.state.value, found.detail, found.remedy


@pytest.mark.usefixtures("loose")
def test_a_server_within_a_program_writes_for_itself_alone(
    mosquitto: Mosquitto,  # noqa: F811
    start_server: object,  # noqa: F811
    sender: Sender,  # noqa: F811
    listener: Listener,  # noqa: F811
    tmp_path: Path,
) -> None:
    state = tmp_path / "state"
    state.mkdir()  # 0777
    start_server()  # type: ignore[operator]
    sender.send(make_batch("watch", 0, constant(REST, 8)))
    listener.wait_for_labels(1)
    assert_private(state)


def test_what_an_earlier_version_left_open_is_closed_and_told(
    mosquitto: Mosquitto,  # noqa: F811
    tmp_path: Path,
) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    start_serve(mosquitto.url, state).stop()
    state.chmod(0o700)
    assert folder_finding(state)[0] == "ok"
    for path in state.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    how, detail, remedy = folder_finding(state)
    assert how == "warning"
    assert "others on this machine may read" in detail
    assert remedy == f"chmod -R go= {state}"
    state.chmod(0o755)
    assert "gets into" in folder_finding(state)[1]

    log = start_serve(mosquitto.url, state).stop()
    assert_private(state)
    assert f"everybody on this machine gets into the state folder '{state}'; run: chmod o= {state}" in log
    state.chmod(0o700)
    assert folder_finding(state)[0] == "ok"
    assert "state folder" not in start_serve(mosquitto.url, state).stop()


def test_links_in_the_folder_are_not_followed(mosquitto: Mosquitto, tmp_path: Path) -> None:  # noqa: F811
    state, other = tmp_path / "state", tmp_path / "letter.txt"
    other.write_text("dear")
    other.chmod(0o644)
    (state / "spool").mkdir(parents=True)
    (state / "spool" / "letter.txt").symlink_to(other)
    (state / "notes.txt").write_text("somebody's own")
    (state / "notes.txt").chmod(0o644)
    start_serve(mosquitto.url, state).stop()
    assert stat.S_IMODE(other.stat().st_mode) == 0o644
    assert stat.S_IMODE((state / "notes.txt").stat().st_mode) == 0o644, "not ours"


def test_locks_of_a_database_outlive_the_closing(tmp_path: Path) -> None:
    """POSIX drops all locks of a process when it closes any descriptor of the file."""
    script = """
import sqlite3, sys
from pathlib import Path
from disc_stream_server.storage.private import close_to_others
folder = Path(sys.argv[1])
one = sqlite3.connect(folder / "state.sqlite", isolation_level=None)
one.execute("CREATE TABLE t (x)")
(folder / "state.sqlite").chmod(0o644)
one.execute("BEGIN EXCLUSIVE")
close_to_others(folder)
print("locked", flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        import sqlite3

        other = sqlite3.connect(tmp_path / "state.sqlite", timeout=0, isolation_level=None)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()
        holder.communicate("\n")
    assert stat.S_IMODE((tmp_path / "state.sqlite").stat().st_mode) == 0o600
