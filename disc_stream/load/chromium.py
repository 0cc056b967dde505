"""A real browser in a benchmark: Chromium without a window, over its DevTools protocol."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from disc_stream.errors import BrokerError
from disc_stream_server.memory import family_bytes

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_SWITCHES = (
    "headless",
    "disable-gpu",
    "disable-quic",
    "disable-dev-shm-usage",
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "remote-debugging-port=0",
)
_START_S, _ANSWER_S = 60.0, 120.0


def find_chromium() -> str | None:
    """The program; None if there is none."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


class Chromium:
    """One page of one browser; use it in a ``with`` statement.

    Args:
        program: see ``find_chromium``.
        folder: for its profile; empty.
        size: of the window, in CSS pixels.

    Raises:
        BrokerError: if it does not start.
    """

    def __init__(self, program: str, folder: Path, size: tuple[int, int] = (1300, 900)) -> None:
        from websockets.sync.client import connect

        rights = ("no-sandbox",) if os.geteuid() == 0 else ()  # as root it has no other way
        switches = (
            *_SWITCHES, *rights, f"user-data-dir={folder}", f"window-size={size[0]},{size[1]}",
        )  # fmt: skip
        self._process = subprocess.Popen(
            [program, *(f"--{name}" for name in switches), "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            self._socket = connect(self._find_page(folder), max_size=None, open_timeout=_START_S)
        except BaseException:
            self._end()
            raise
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._end()

    def _find_page(self, folder: Path) -> str:
        """The address of the page's DevTools, which Chromium writes down once it listens."""
        file, deadline = folder / "DevToolsActivePort", time.monotonic() + _START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            lines = file.read_text().splitlines() if file.exists() else []
            if len(lines) >= 2:
                with urllib.request.urlopen(
                    f"http://127.0.0.1:{int(lines[0])}/json/list", timeout=10
                ) as answer:
                    pages = [one for one in json.load(answer) if one["type"] == "page"]
                if pages:
                    return str(pages[0]["webSocketDebuggerUrl"])
            time.sleep(0.05)
        raise BrokerError(
            "Chromium did not start", remedy="Try it by hand, or leave it out with --no-browser"
        )

    def _end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def send(self, method: str, parameters: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Give a command of the protocol, and return what comes of it.

        Raises:
            BrokerError: if it is refused.
        """
        self._number += 1
        order = {"id": self._number, "method": method, "params": dict(parameters or {})}
        self._socket.send(json.dumps(order))
        while True:
            answer = json.loads(self._socket.recv(timeout=_ANSWER_S))
            if answer.get("id") == self._number:
                break
        if "error" in answer:
            raise BrokerError(f"Chromium: {answer['error']['message']}")
        found: dict[str, Any] = answer["result"]
        return found

    def run(self, script: str) -> Any:
        """The value of an expression in the page; of a promise, what it becomes.

        Raises:
            BrokerError: if it throws.
        """
        told = self.send(
            "Runtime.evaluate", {"expression": script, "returnByValue": True, "awaitPromise": True}
        )
        if "exceptionDetails" in told:
            raise BrokerError(f"a script failed in the page: {told['exceptionDetails']['text']}")
        return told["result"].get("value")

    def open(self, url: str) -> None:
        """Load a page."""
        self.send("Page.navigate", {"url": url})

    def wait(self, script: str, timeout_s: float = 60.0) -> Any:
        """Until an expression is true; returns its value.

        Raises:
            BrokerError: if it does not become so.
        """
        deadline = time.monotonic() + timeout_s
        while not (value := self.run(script)):
            if time.monotonic() > deadline:
                raise BrokerError(f"the page did not get so far within {timeout_s:g} s: {script}")
            time.sleep(0.05)
        return value

    def mouse(self, kind: str, x: float, y: float, *, down: bool) -> None:
        """A mouse event as the browser's own: ``mousePressed``, ``mouseMoved`` or ``mouseReleased``."""
        button = "none" if kind == "mouseMoved" and not down else "left"
        event = {"type": kind, "x": x, "y": y, "button": button, "buttons": int(down), "clickCount": 1}
        self.send("Input.dispatchMouseEvent", event)

    def heap_bytes(self) -> int:
        """What the page's objects take, after a collection."""
        self.send("HeapProfiler.collectGarbage")
        return int(self.send("Runtime.getHeapUsage")["usedSize"])

    def rss_bytes(self) -> int:
        """Memory of all its processes."""
        return family_bytes(self._process.pid)
