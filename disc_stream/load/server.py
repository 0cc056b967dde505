"""The server under load, and how far it has come."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from disc_stream.errors import BrokerError
from disc_stream.interpreter import python_module
from disc_stream.load.plan import Load
from disc_stream.load.processes import Lines, read_line
from disc_stream.load.viewer import Viewer
from disc_stream_server.memory import family_bytes

UNLIMITED = MappingProxyType({"device_messages_s": 1e9, "device_bytes_s": 1e12})
"""Settings for devices that are to send as fast as it goes."""


@dataclass(slots=True)
class Progress:
    """Counts over time."""

    count: int = 0
    at: float = 0.0
    first_count: int = 0
    first_at: float = 0.0

    def note(self, count: int, warm: int) -> None:
        """A new count; the clock starts when ``warm`` messages are through."""
        if count == self.count:
            return
        self.count, self.at = count, time.monotonic()
        if not self.first_at and count >= warm:
            self.first_count, self.first_at = count, self.at

    @property
    def rate(self) -> float | None:
        """Messages per second since the clock started; None if all came between two counts."""
        seconds = self.at - self.first_at
        return round((self.count - self.first_count) / seconds, 1) if seconds > 0 else None


class Server:
    """``disc-stream serve`` as a process, with its live page and those who look at it.

    Args:
        broker: URL.
        prefix: of the topics.
        load: how it is loaded.
        folder: for its bundle (which is there), its configuration and its state.
        further: settings that differ from these and from the defaults.
    """

    def __init__(
        self,
        broker: str,
        prefix: str,
        load: Load,
        folder: Path,
        further: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        config = folder / "serve.yaml"
        settings = {
            "bundle": str(folder / "bundle"), "prefix": prefix, "state": str(folder / "state"),
            "http": "127.0.0.1:0" if load.page else None,
            "client_id": f"{prefix.replace('/', '-')}-server", "status_interval_s": 0.1,
            "receive_maximum": load.receive_maximum, "max_devices": max(20_000, load.devices), "threads": 1,
            **further,
        }  # fmt: skip
        config.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
        self.counters: dict[str, int] = {}
        self.first: dict[str, int] = {}
        self.warm: dict[str, int] = {}
        """Counters when the clock started; empty before."""
        self.rejected: dict[str, int] = {}
        self.limited: dict[str, dict[str, int]] = {}
        """Devices that send more than they may, by the last status."""
        self.provider = ""
        """What runs the model."""
        self.progress = Progress()
        self._warm = load.warm
        self._log = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `stop`
        self.process = subprocess.Popen(
            python_module("disc_stream", "serve", "--config", str(config), "--json"),
            stdout=subprocess.PIPE, stderr=self._log, text=True,
            env={**os.environ, "DISC_STREAM_BROKER": broker},
        )  # fmt: skip
        try:
            ready = read_line(self.process)
        except BrokerError:
            raise BrokerError(f"the server did not start: {self._last_words()}") from None
        self.provider = str(ready.get("provider", ""))
        self._reading = Lines(self.process, self._note)
        self.url: str = ready["http"] or ""
        """Of its live page; "" without one."""
        self.viewers = [Viewer(ready["http"]) for _ in range(load.viewers if load.page else 0)]

    def _note(self, line: dict[str, Any]) -> None:
        if line["event"] == "status":
            self.counters, self.rejected = line["counters"], line["rejected"]
            self.limited = line.get("limited", {})
            self.first = self.first or self.counters
            taken = self.counters.get("messages", 0) - self.counters.get("metas", 0)  # without a model: none
            self.progress.note(taken, self._warm)
            if self.progress.first_at and not self.warm:
                self.warm = self.counters

    def _last_words(self) -> str:
        """The last line of its log."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    @property
    def batches(self) -> int:
        """Batches that it has taken, repetitions left out."""
        return self.counters.get("batches", 0)

    def rss_bytes(self) -> int:
        """Memory of both processes of the server."""
        return family_bytes(self.process.pid)

    def stop(self) -> int:
        """End it gracefully; its exit code."""
        for viewer in self.viewers:
            viewer.close()
        self.process.terminate()
        code = self.process.wait(60)
        self._reading.join()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self._log.close()
        return code
