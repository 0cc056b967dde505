"""The command line within this process: a Python of its own costs a second for each command."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from disc_stream.cli.app import main


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    returncode: int
    stdout: str
    stderr: str


class CommandLine:
    """Runs commands as the installed script does, on a wide terminal without colours and an empty stdin.

    Args:
        monkeypatch: takes back what is changed.
        capture: of stdout and stderr.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capture = monkeypatch, capture
        for name in [name for name in os.environ if name.startswith("DISC_STREAM_")]:
            monkeypatch.delenv(name)
        for name, value in {"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}.items():
            monkeypatch.setenv(name, value)

    def __call__(self, *words: object) -> Done:
        """Run one command to its end."""
        self._monkeypatch.setattr(sys, "argv", ["disc-stream", *map(str, words)])
        self._capture.readouterr()
        with Path(os.devnull).open(encoding="utf-8") as nothing:
            self._monkeypatch.setattr(sys, "stdin", nothing)
            with pytest.raises(SystemExit) as ended:
                main()
        said = self._capture.readouterr()
        return Done(int(ended.value.code or 0), said.out, said.err)
