"""``disc-stream serve --collect`` as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path


class Collector:
    """A server that receives and keeps everything, and labels nothing.

    Args:
        environment: how it connects.
        state: its folder.
        options: further ones of the command.
    """

    def __init__(self, environment: Mapping[str, str], state: Path, *options: str) -> None:
        self._environment, self.state = environment, state
        self._command = [
            sys.executable, "-m", "disc_stream", "serve", "--collect", "--json", "--state", str(state),
            *options,
        ]  # fmt: skip
        self._said: list[str] = []

    def start(self) -> None:
        """Start it, and wait until it receives."""
        inherited = {name: value for name, value in os.environ.items() if "DISC_STREAM_BROKER" not in name}
        self.process = subprocess.Popen(
            self._command,
            env={**inherited, **self._environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        ready = self.process.stdout.readline()
        assert ready, "".join(self.process.stderr)
        assert json.loads(ready)["event"] == "ready"
        self._threads = [
            threading.Thread(target=self._drain, args=(self.process.stdout, None), daemon=True),
            threading.Thread(target=self._drain, args=(self.process.stderr, self._said), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @staticmethod
    def _drain(stream: object, into: list[str] | None) -> None:
        """Read to its end, or the process would stand still once a pipe is full."""
        for line in stream:  # type: ignore[attr-defined]
            if into is not None:
                into.append(line)

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self._wait()

    def stop(self) -> str:
        """End it gracefully; what it has logged."""
        self.process.terminate()
        self._wait()
        return "".join(self._said)

    def _wait(self) -> None:
        self.process.wait(60)
        for thread in self._threads:
            thread.join(60)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


def start_serve(url: str, state: Path) -> Collector:
    """Start one without a page, on any broker."""
    collector = Collector({"DISC_STREAM_BROKER": url}, state, "--no-http")
    collector.start()
    return collector
