"""The README's main job, the tutorials and the guide to learning, typed into a shell word for word.

Only the address of the dashboard differs (any free port of 127.0.0.1); the broker is the one that
DISC_STREAM_BROKER names.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.broker import Mosquitto
from tests.support.commands import ROOT

pytestmark = [pytest.mark.broker, pytest.mark.long]

LIMIT_S = 900  # two cores may be shared with much else


class Terminal:
    """One of a person's terminals: a folder that looks like a fresh clone after `make demo`."""

    def __init__(self, folder: Path, broker: Mosquitto) -> None:
        self.folder = folder
        self._environment = {
            **os.environ,
            "DISC_STREAM_BROKER": broker.url,
            "XDG_STATE_HOME": str(folder / "state"),
            "PATH": "/usr/bin:/bin",
            "TERM": "dumb",
        }
        program = folder / ".venv" / "bin" / "disc-stream"
        program.parent.mkdir(parents=True)
        program.write_text(
            f'#!/bin/sh\nif [ "$1" = serve ]; then shift; set -- serve --http 127.0.0.1:0 "$@"; fi\n'
            f'exec {sys.executable} -m disc_stream "$@"\n'
        )
        program.chmod(0o755)
        python = program.parent / "python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        (folder / "docs").symlink_to(ROOT / "docs")
        (program.parent / "activate").write_text(f'PATH="{program.parent}:$PATH"\n')

    def run(self, block: str) -> str:
        """Type a block and wait for its end; its output."""
        result = subprocess.run(
            ["bash", "-euc", block], cwd=self.folder, env=self._environment, capture_output=True, text=True,
            timeout=LIMIT_S, check=False,
        )  # fmt: skip
        assert result.returncode == 0, f"{block}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    @contextmanager
    def running(self, block: str) -> Iterator[Lines]:
        """Type a block whose command goes on until Ctrl-C."""
        process = subprocess.Popen(
            ["bash", "-euc", f". .venv/bin/activate\n{block.strip()}"], cwd=self.folder,
            env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        lines = Lines(process)
        try:
            yield lines
        finally:
            os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does, to all of a pipe
            process.wait(60)
            lines.close()


class Lines:
    """What a running command prints."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: list[str] = []
        self._more = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._more:
                self._lines.append(line)
                self._more.notify_all()

    def wait_for(self, *words: str) -> None:
        """Wait until each of the words was printed."""
        with self._more:
            found = self._more.wait_for(lambda: all(w in "".join(self._lines) for w in words), LIMIT_S)
        assert found, f"{words} did not come:\n{''.join(self._lines)}"

    def find(self, pattern: str) -> str:
        """The first of what was printed that fits."""
        found = re.search(pattern, "".join(self._lines))
        assert found, pattern
        return found[0]

    def close(self) -> None:
        self._reader.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()


def shell_blocks(page: str, begin: str, end: str | None = None) -> list[str]:
    """The shell blocks of a page between two headings, or from one to the end."""
    text = "\n" + (ROOT / page).read_text(encoding="utf-8")
    part = text.split(f"\n{begin}\n")[1]
    part = part.split(f"\n{end}\n")[0] if end else part
    return re.findall(r"^```sh\n(.*?)^```", part, re.MULTILINE | re.DOTALL)


@pytest.mark.timeout(1200)
def test_the_main_job_of_the_readme(mosquitto: Mosquitto, tmp_path: Path) -> None:
    learn, serve, publish, watch = shell_blocks("README.md", "## The main job", "### With a public dataset")
    terminal = Terminal(tmp_path, mosquitto)
    output = terminal.run(learn)
    assert "next: disc-stream export runs/first" in output
    with terminal.running(serve) as server:
        server.wait_for("serving synthetic-guided", "live page at http://127.0.0.1:")
        with terminal.running(watch) as labels, terminal.running(publish):
            labels.wait_for(*(f"wearable-00{n} window 1 cluster" for n in (1, 2, 3)))
        server.wait_for("first samples of wearable-001", "first label of wearable-003")


@pytest.mark.timeout(3600)
def test_the_first_hour_then_names_then_tokens(mosquitto: Mosquitto, tmp_path: Path) -> None:
    page = "docs/tutorials/first-hour.md"
    _demo, begin, _broker, start, one, people, learn, live, watch, _doctor, dead = shell_blocks(
        page, "# First hour: labels from a wearable of your own"
    )
    terminal = Terminal(tmp_path, mosquitto)
    init, serve = start.splitlines()
    assert "models is a registry of models now" in terminal.run(begin + init)
    with terminal.running(begin + serve) as server:
        server.wait_for("collecting what is sent")
        with terminal.running(begin + one):
            server.wait_for("messages stored so far")
        assert terminal.run(begin + people).count("960 confirmed, 0 lost") == 4
        assert "it is in production" in terminal.run(begin + learn)
        server.wait_for("first label of eli")
        with terminal.running(begin + watch) as labels, terminal.running(begin + live):
            labels.wait_for("finn window 1 cluster")
            _name_clusters(terminal, labels)
        assert "no dead letters" in terminal.run(begin + dead)
    _open_to_others(terminal)


def _name_clusters(terminal: Terminal, labels: Lines) -> None:
    """docs/tutorials/names.md, where the first hour has left off."""
    begin, look, name, merge, mute, history, again, back = shell_blocks(
        "docs/tutorials/names.md", "# Name your clusters"
    )
    assert "windows" in terminal.run(begin + look)
    said = terminal.run(begin + name + merge + mute + history)
    assert "walking" in said
    labels.wait_for("finn window 2 ")
    output = terminal.run(f"{begin}set +e\n{again}")
    for word in ("walking", "standing", "lying", "cycling"):
        assert word in output
    terminal.run(f"{begin}{back}" if "it is in production" in output else begin)


def _open_to_others(terminal: Terminal) -> None:
    """docs/guides/elsewhere.md, on loopback alone."""
    begin, serve, first, second, serve_all, request, revoke = shell_blocks(
        "docs/guides/elsewhere.md", "# The dashboard on another port, with tokens"
    )
    here = serve.replace("127.0.0.1:9000", "127.0.0.1:0")
    with terminal.running(begin + here) as server:
        server.wait_for("live page at http://127.0.0.1:")
    terminal.run(begin + first + second)
    ben = json.loads((terminal.folder / "ben.json").read_text())
    with terminal.running(begin + serve_all.replace("0.0.0.0:9000", "127.0.0.1:0")) as server:
        server.wait_for("live page at http://127.0.0.1:")
        address = server.find(r"http://127\.0\.0\.1:\d+")
        request = f"TOKEN={ben['token']}\n{request.replace('http://127.0.0.1:9000', address)}"
        assert "finn" in terminal.run(request)
        terminal.run(begin + revoke.replace("0f3a9c21d7e4", ben["id"]))
        refused = f"set +e\n{request}\nexit $(($? == 22 ? 0 : 1))"  # curl's code for an answer from 400 on
        terminal.run(refused)


@pytest.mark.timeout(3600)
def test_training_on_recordings(mosquitto: Mosquitto, tmp_path: Path) -> None:
    begin, *blocks = shell_blocks("docs/tutorials/recordings.md", "# Train on your recordings")
    terminal = Terminal(tmp_path, mosquitto)
    said = "".join(terminal.run(f"{begin}{block}") for block in blocks)
    for words in ("1 g is expected", "P01_day: person 1", "labels 100.00% equal", "resting"):
        assert words in said
    assert (tmp_path / "labels.csv").is_file()


@pytest.mark.timeout(3600)
def test_the_guide_to_a_fleet_that_keeps_learning(mosquitto: Mosquitto, tmp_path: Path) -> None:
    guide = "docs/guides/learning.md"
    start, publish, learn, look, name, again, back = shell_blocks(
        guide, "## 1. A registry, and a server that follows it", "## Erasing a device"
    )
    activate = ". .venv/bin/activate\n"
    init, serve = start.splitlines()
    terminal = Terminal(tmp_path, mosquitto)
    assert "models is a registry of models now" in terminal.run(activate + init)
    with terminal.running(serve) as server:
        server.wait_for(
            "registry models has no version in production yet", "--models models --state collected"
        )
        assert "7200 confirmed, 0 lost" in terminal.run(activate + publish)
        assert "version 1 " in terminal.run(activate + learn)
        server.wait_for("first model ", "first label of wearable-001")
        assert "windows" in terminal.run(activate + look)
        assert name.count("clusters name") == 3
        terminal.run(activate + name)
        output = terminal.run(activate + again + "disc-stream clusters list --models models --retired\n")
        for word in ("version 2 ", "walking", "standing", "lying"):
            assert word in output
        assert "version 1 " in terminal.run(activate + back)
        for word in ("walking", "standing", "lying"):
            assert word in terminal.run(activate + "disc-stream clusters list --models models\n")
