"""The processes of a load test: each takes its order as a line of JSON and answers in lines of JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from disc_stream.errors import BrokerError, ConfigError
from disc_stream.interpreter import python_module
from disc_stream.wire.broker import Broker


def until_stdin_ends() -> threading.Event:
    """Set once whoever started this process has closed its stdin, or is gone."""
    ended = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    return ended


def spawn(module: str, order: Mapping[str, Any]) -> subprocess.Popen[str]:
    """Start a process of the benchmark and give it its order."""
    process = subprocess.Popen(
        python_module(module), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    tell(process, json.dumps(order))
    return process


def tell(process: subprocess.Popen[str], line: str) -> None:
    """Write a line to a process; nothing happens if it has ended."""
    assert process.stdin is not None  # noqa: S101
    try:
        process.stdin.write(line + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        return


def read_line(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The next line of JSON that a process writes."""
    assert process.stdout is not None  # noqa: S101
    line = process.stdout.readline()
    if not line:
        raise BrokerError(f"a process of the benchmark ended with code {process.wait()}")
    found: dict[str, Any] = json.loads(line)
    return found


class Lines:
    """Reads the JSON lines that a process writes, on a thread of its own.

    Args:
        process: which.
        note: called with every line.
    """

    def __init__(self, process: subprocess.Popen[str], note: Callable[[dict[str, Any]], None]) -> None:
        self._process, self._note = process, note
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101
        with self._process.stdout:
            for line in self._process.stdout:
                self._note(json.loads(line))

    def join(self) -> None:
        """Wait for the end of its output."""
        self._thread.join(10)


@contextmanager
def broker_of(url: str | None) -> Iterator[str]:
    """The broker to use: the one named, or a Mosquitto of our own."""
    if url is not None:
        if Broker.parse(url).tls:
            raise ConfigError(
                "the load generator speaks no TLS", remedy="Name a broker with mqtt://, on this machine best"
            )
        yield url
        return
    from disc_stream.localbroker.start import start_broker

    local = start_broker(None, embedded=False)
    try:
        if local.kind != "mosquitto":
            raise BrokerError(
                "there is no Mosquitto here", remedy="Install it, or name a broker with --broker"
            )
        yield local.url
    finally:
        local.stop()
