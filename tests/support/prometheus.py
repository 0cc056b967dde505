"""A real Prometheus of the test's own, and a receiver for its alerts."""

from __future__ import annotations

import json
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.broker import free_port
from tests.support.tools import need

PATIENCE_S = 120.0


class Prometheus:
    """Scrapes and evaluates until the end of the test.

    Args:
        config: its configuration file.
        data: folder for its database.
    """

    def __init__(self, config: Path, data: Path) -> None:
        self.port = free_port()
        self._process = subprocess.Popen(
            [
                need("prometheus", "prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={data}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        self._said: list[str] = []
        self._ready = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        if not self._ready.wait(PATIENCE_S):
            pytest.fail("Prometheus is not ready:\n" + "".join(self._said))

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            for line in stream:
                self._said.append(line)
                if "ready to receive web requests" in line:
                    self._ready.set()
        self._ready.set()

    def ask(self, path: str, **query: str) -> Any:
        """The data of an answer of its HTTP API."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            body = json.load(answer)
        assert body["status"] == "success", body
        return body["data"]

    def value(self, expression: str) -> float | None:
        """Of an expression that has one; None if it has none."""
        result = self.ask("query", query=expression)["result"]
        return float(result[0]["value"][1]) if result else None

    def wait_for(self, expression: str, done: Callable[[float], bool]) -> float:
        """Ask until the value suits."""
        pause = threading.Event()
        for _ in range(int(PATIENCE_S / 0.1)):
            found = self.value(expression)
            if found is not None and done(found):
                return found
            pause.wait(0.1)  # Prometheus tells nobody when it has scraped
        raise AssertionError(f"{expression} is still {self.value(expression)}")

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(60)


class AlertReceiver:
    """Takes alerts as Alertmanager does."""

    def __init__(self) -> None:
        receiver = self
        self._changed = threading.Condition()
        self.firing: dict[str, dict[str, Any]] = {}

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver._take(json.loads(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _take(self, alerts: list[dict[str, Any]]) -> None:
        with self._changed:
            self.firing.update({alert["labels"]["alertname"]: alert for alert in alerts})
            self._changed.notify_all()

    def wait_for(self, name: str) -> dict[str, Any]:
        """Wait until an alert fires."""
        with self._changed:
            assert self._changed.wait_for(lambda: name in self.firing, PATIENCE_S), self.firing
            return self.firing[name]

    def stop(self) -> None:
        """Free the port."""
        self._server.shutdown()
        self._server.server_close()
