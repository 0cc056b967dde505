"""A real Chromium, driven over the W3C WebDriver protocol (https://www.w3.org/TR/webdriver2/).

Only the few commands that these tests need: small enough to do without a browser-automation library.
"""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

# Headless, no GPU, and none of the services that a browser calls home for.
_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's name for an element reference


class Browser:
    """One browser window.

    Args:
        profile: empty folder for the browser's profile.
        size: (width, height) of the window in CSS pixels.
        dark: whether the page is asked to be dark.
        more: further arguments of the browser.
    """

    def __init__(
        self,
        profile: Path,
        *,
        size: tuple[int, int] = (1300, 900),
        dark: bool = False,
        more: tuple[str, ...] = (),
    ) -> None:
        driver = shutil.which("chromedriver")
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        if driver is None or chromium is None:
            raise FileNotFoundError(
                "chromium and chromedriver are needed for the browser tests. "
                "On Debian: apt-get install chromium chromium-driver"
            )
        self._driver = subprocess.Popen(
            [driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            self._port = self._read_port()
            self._session = ""
            arguments = [
                *_ARGUMENTS,
                *more,
                f"--user-data-dir={profile}",
                f"--window-size={size[0]},{size[1]}",
            ]
            if dark:
                arguments.append("--blink-settings=preferredColorScheme=0")
            options = {"binary": chromium, "args": arguments}
            answer = self._call(
                "POST", "/session", {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
            )
            self._session = f"/session/{answer['sessionId']}"
        except BaseException:
            self._end_driver()
            raise

    def _read_port(self) -> int:
        assert self._driver.stdout is not None
        for line in self._driver.stdout:
            if "started successfully on port" in line:
                return int(line.rstrip().rstrip(".").rpartition(" ")[2])
        raise RuntimeError("chromedriver did not start")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            self._call("DELETE", self._session)
        finally:
            self._end_driver()

    def _end_driver(self) -> None:
        self._driver.terminate()
        self._driver.wait(10)
        assert self._driver.stdout is not None
        self._driver.stdout.close()

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None)
            answer = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        if isinstance(answer, dict) and "error" in answer:
            raise RuntimeError(f"{answer['error']}: {answer['message'].splitlines()[0]}")
        return answer

    def open(self, url: str) -> None:
        """Load a page."""
        self._call("POST", f"{self._session}/url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """Run JavaScript in the page; ``return`` hands a value back."""
        body = {"script": script, "args": list(arguments)}
        return self._call("POST", f"{self._session}/execute/sync", body)

    def type(self, selector: str, text: str) -> None:
        """Type into an element as a person would."""
        found = self._call("POST", f"{self._session}/element", {"using": "css selector", "value": selector})
        self._call("POST", f"{self._session}/element/{found[_ELEMENT]}/value", {"text": text})

    def press(self, key: str) -> None:
        """Press a key (a character, or one of the protocol's codes for special keys)."""
        strokes = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        keyboard = {"type": "key", "id": "keyboard", "actions": strokes}
        self._call("POST", f"{self._session}/actions", {"actions": [keyboard]})

    def resize(self, width: int, height: int) -> None:
        """Show the page as on a screen of this size, which may be narrower than a window can be."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": True}
        body = {"cmd": "Emulation.setDeviceMetricsOverride", "params": metrics}
        self._call("POST", f"{self._session}/goog/cdp/execute", body)

    def on_load(self, script: str) -> None:
        """Run JavaScript in each page from now on before its own scripts."""
        body = {"cmd": "Page.addScriptToEvaluateOnNewDocument", "params": {"source": script}}
        self._call("POST", f"{self._session}/goog/cdp/execute", body)

    def screenshot(self, path: Path) -> None:
        """Save what is seen as PNG."""
        path.write_bytes(base64.b64decode(self._call("GET", f"{self._session}/screenshot")))

    def errors(self) -> list[str]:
        """What the page wrote to the console as an error (scripts, refused resources), since last asked."""
        entries = self._call("POST", f"{self._session}/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def wait(self, script: str, *, until: Callable[[Any], bool] = bool, timeout_s: float = 120.0) -> Any:
        """Run a script until its value satisfies ``until``, and return the value."""
        deadline = time.monotonic() + timeout_s
        while True:
            value = self.run(script)
            if until(value):
                return value
            if time.monotonic() > deadline:
                raise AssertionError(f"after {timeout_s:g} s still {value!r}: {script}")
            time.sleep(0.05)
