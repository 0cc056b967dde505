"""Names from files and from strangers move nothing on a terminal: they are printed with escapes."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from disc_stream.cli.common import say
from disc_stream.interpreter import python_module
from disc_stream.text import PrintableFormatter, printable
from disc_stream.watching.events import shown

CLI = Path(__file__).parents[2] / "disc_stream" / "cli"
HOSTILE = "walk\x1b[2J\x1b]0;owned\x07\x9b31m\u202edrow"
HARMLESS = r"walk\x1b[2J\x1b]0;owned\x07\x9b31m\u202edrow"


def run(*args: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        python_module("disc_stream", *map(str, args)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )  # fmt: skip


def assert_harmless(text: str) -> None:
    assert printable(HOSTILE) == HARMLESS
    assert HARMLESS in text
    assert all(line.isprintable() for line in text.split("\n"))


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A recording whose activity has a hostile name."""
    file = tmp_path / "a.csv"
    rows = "".join(f"{n / 50},0,0,1,{HOSTILE}\n" for n in range(400))
    file.write_text(f"t,acc_x[g],acc_y[g],acc_z[g],label\n{rows}")
    return file


def test_names_of_recordings_and_activities_in_a_file_of_ours(recording: Path, tmp_path: Path) -> None:
    source = tmp_path / "from"
    source.mkdir()
    recording.rename(source / f"{HOSTILE.replace('/', '')}.csv")
    out = tmp_path / "mine.npz"
    assert run("data", "import", "csv", "--path", source, "--out", out).returncode == 0
    result = run("data", "info", out, "--recordings")
    assert result.returncode == 0, result.stderr
    assert_harmless(result.stdout)
    assert "walk-2J-0-owned" in result.stdout  # names of recordings are made plain when they are imported


def test_the_name_of_a_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        f"t,acc{HOSTILE.replace('[', '').replace(']', '')}[g]\n0.00,1\n0.02,1\n0.04,1\n"
    )
    result = run("data", "import", "csv", "--path", tmp_path / "a.csv", "--out", tmp_path / "mine.npz")
    assert result.returncode == 1
    assert "cannot be the name of a channel" in result.stderr
    assert result.stderr.rstrip("\n").isprintable()


def test_errors_that_name_files(tmp_path: Path) -> None:
    folder = tmp_path / HOSTILE / "HAPT Data Set"
    folder.mkdir(parents=True)
    (folder / "activity_labels.txt").write_text("x")
    result = run("data", "info", "hapt", "--path", tmp_path / HOSTILE)
    assert result.returncode == 1
    assert_harmless(result.stderr.rstrip("\n"))


def test_a_file_name_that_is_no_text(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff\x1b[2J")
    folder.mkdir()
    result = run("data", "info", "hapt", "--path", folder)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert result.stderr.rstrip("\n").isprintable()


def test_lines_of_the_log(tmp_path: Path) -> None:
    program = (
        "import logging, sys\n"
        "from disc_stream.cli.common import setup_logging\n"
        "setup_logging(False)\n"
        "log = logging.getLogger('disc_stream.test')\n"
        "log.warning('message on %s', sys.argv[1])\n"
        "try: raise ValueError(sys.argv[1] + chr(10) + '2026-01-01 ERROR forged')\n"
        "except ValueError: log.exception('it failed')\n"
    )
    result = subprocess.run(
        [sys.executable, "-P", "-c", program, HOSTILE], capture_output=True, text=True, timeout=60, check=True
    )
    assert_harmless(result.stderr)
    assert f"message on {HARMLESS}\n" in result.stderr


def test_a_message_makes_one_line_of_the_log() -> None:
    record = logging.LogRecord("x", logging.INFO, "x", 1, "topic %s", ("a\nERROR forged",), None)
    assert PrintableFormatter("%(levelname)s %(message)s").format(record) == r"INFO topic a\nERROR forged"


def test_findings_of_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    from disc_stream.cli.doctor import _table
    from disc_stream_server.doctor.findings import Finding, State

    state = next(iter(State))
    Console(width=400, force_terminal=False).print(
        _table([Finding("broker", HOSTILE, state, HOSTILE, HOSTILE)])
    )
    assert_harmless(capsys.readouterr().out)


def test_what_watch_shows() -> None:
    assert shown(HOSTILE) == HARMLESS
    assert shown("x" * 200) == "x" * 119 + "…"


def test_what_commands_say(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"first {HOSTILE}\nsecond")
    assert capsys.readouterr().out == f"first {HARMLESS}\nsecond\n"


def test_commands_print_through_one_function() -> None:
    places = {file.name for file in CLI.glob("*.py") if "typer.echo(" in file.read_text()}
    codes = {"phone.py", "provisioning.py"}  # they draw codes, of what we made
    assert places == {"app.py", "common.py", *codes}
