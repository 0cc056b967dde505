"""The README's main job and the guides to a first fleet and to learning, typed into a shell word for word.

Only the port of the live page differs (any free one); the broker is the one that DISC_STREAM_BROKER names.
"""

from __future__ import annotations

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
            ["bash", "-euc", f". .venv/bin/activate\nexec {block.strip()}"], cwd=self.folder,
            env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        lines = Lines(process)
        try:
            yield lines
        finally:
            process.send_signal(signal.SIGINT)
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

    def close(self) -> None:
        self._reader.join(10)
        assert self._process.stdout is not None
        self._process.stdout.close()


def shell_blocks(page: str, begin: str, end: str | None = None) -> list[str]:
    """The shell blocks of a page between two headings, or from one to the end."""
    text = (ROOT / page).read_text(encoding="utf-8")
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


@pytest.mark.timeout(1800)
def test_the_guide_to_a_first_fleet(mosquitto: Mosquitto, tmp_path: Path) -> None:
    guide = "docs/guides/first-fleet.md"
    (collect,) = shell_blocks(guide, "## 2. Collect", "## 3. Send")
    _lines, synthetic = shell_blocks(guide, "## 3. Send", "## 4. Export what was collected, and train on it")
    (learn,) = shell_blocks(guide, "## 4. Export what was collected, and train on it", "## 5. Serve")
    serve, watch = shell_blocks(guide, "## 5. Serve", "## 6. Names")
    (rename,) = shell_blocks(guide, "## 6. Names", "## When there are no labels")
    _doctor, dead_letters = shell_blocks(guide, "## When there are no labels")
    activate = ". .venv/bin/activate\n"
    terminal = Terminal(tmp_path, mosquitto)
    with terminal.running(collect) as server:
        server.wait_for("collecting what is sent")
        assert "3840 confirmed, 0 lost" in terminal.run(activate + synthetic)
        server.wait_for("messages stored so far")
    output = terminal.run(activate + learn)
    assert "1,496 windows (0 labelled) of 4 devices" in output
    (tmp_path / "names.yaml").write_text("0: resting\n")
    assert "resting" in terminal.run(activate + rename)
    with terminal.running(serve) as server:
        server.wait_for("serving")
        with (
            terminal.running(watch) as labels,
            terminal.running("disc-stream edge publish --synthetic --device new"),
        ):
            labels.wait_for("new window 1 cluster")
        assert "no dead letters" in terminal.run(activate + dead_letters)


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
