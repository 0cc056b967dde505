"""The server's end of the receiving process: starts it, hears it, starts it again when it dies."""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import asdict
from typing import Any

from disc_stream import errors
from disc_stream.errors import BrokerError, DiscStreamError
from disc_stream.interpreter import python_module
from disc_stream.text import log_form
from disc_stream_server.receiving.rivals import End
from disc_stream_server.receiving.settings import ReceiverSettings

log = logging.getLogger(__name__)

_START_S = 110.0  # two connections, each with a look-up of the broker's name and a broker that takes its time
_FIRST_DELAY_S, _LONGEST_DELAY_S = 0.5, 15.0
_SILENT_S = 45.0  # a process that has reported nothing for so long is taken for dead
_KILL_S = 2.0
_MAX_ENDS = 64
_ENDED = "the receiving process ended"
_MOST_HELD = 200  # devices
_LATE_S = 5.0  # for which a report may still name a device that was erased


class ReceiverProcess:
    """Keeps one receiving process alive.

    Args:
        settings: passed to it.
        on_head: called on a thread of ours whenever rows were added to the spool, or its state changed.
    """

    def __init__(
        self,
        settings: ReceiverSettings,
        *,
        on_head: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._on_head = on_head
        self._process: subprocess.Popen[str] | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._started = threading.Event()
        self._problem: DiscStreamError | None = None
        self._heard = time.monotonic()
        self._before: dict[str, int] = {}  # counts of processes that have ended
        self._counts: dict[str, int] = {}
        self.trouble = ""
        """Why there is no receiving process that works, "" while there is one."""
        self.head = 0
        """Position of the last durable row."""
        self.connected = False
        """Whether it has a connection to the broker."""
        self.since = 0.0
        """When its present connection began, or the last one was lost, monotonic seconds of this machine."""
        self.ends: deque[End] = deque(maxlen=_MAX_ENDS)
        """Connections that the broker ended without a reason; whoever reads it empties it."""
        self.waits = ""
        """What it does to get a connection, "" while it has one."""
        self.blocked = ""
        """Why nothing is acknowledged at the moment, "" if it is."""
        self.restarts = 0
        """How often it had to be started again."""
        self.limited: dict[str, dict[str, int]] = {}
        """Devices that send more than they may, with what waits of them and what was refused."""
        self._held: list[str] = []
        self._erased: dict[str, float] = {}  # until when reports may still name them

    def start(self) -> None:
        """Start it and wait until it receives.

        Raises:
            BrokerError: if the broker cannot be reached or refuses, or if the process cannot be started.
            StorageError: if the spool cannot be used.
        """
        try:
            self._spawn()
        except OSError as error:
            raise BrokerError(
                f"the receiving process cannot be started: {error.strerror or error}",
                remedy="Check the limits of processes, open files and memory",
            ) from error
        self._thread = threading.Thread(target=self._keep_alive, name="receiver", daemon=True)
        self._thread.start()
        self._started.wait(_START_S)
        if self._problem is not None or not self._started.is_set():
            self.stop(1.0)
            raise self._problem or BrokerError(f"the receiving process did not start within {_START_S:g} s")

    def stop(self, timeout_s: float) -> bool:
        """Let it commit and acknowledge what it has, and end; False if it had to be killed."""
        self._stopping.set()
        process, thread = self._process, self._thread
        if process is None:
            return True
        self._tell(process, "stop")
        finished = True
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            finished = False
            process.kill()
        if thread is not None:
            thread.join(_KILL_S)
        return finished

    def check(self) -> None:
        """The watchdog: kill a process that does not report any more; it is then started again."""
        process = self._process
        if process is not None and time.monotonic() - self._heard > _SILENT_S and not self._stopping.is_set():
            log.error("the receiving process has said nothing for %g s and is killed", _SILENT_S)
            self._heard = time.monotonic()
            process.kill()

    def hold(self, devices: Collection[str]) -> None:
        """Let nothing of these devices into the spool until the next call; what they send waits."""
        held = sorted(devices)[:_MOST_HELD]
        if held != self._held:
            self._held = held
            self._order({"hold": held})

    def forget(self, device: str) -> None:
        """Let the process drop a device that was erased."""
        self._erased[device] = time.monotonic() + _LATE_S
        self._note_limited(self.limited)
        self._order({"forget": device})

    def _order(self, order: dict[str, Any]) -> None:
        if self._process is not None:
            self._tell(self._process, json.dumps(order))

    @property
    def pid(self) -> int | None:
        """Of the present process."""
        return None if self._process is None else self._process.pid

    @property
    def counts(self) -> dict[str, int]:
        """Totals over all processes since the start."""
        names = {**self._before, **self._counts}
        return {name: self._before.get(name, 0) + self._counts.get(name, 0) for name in names}

    # -- the process -----------------------------------------------------------------------------------

    def _spawn(self) -> None:
        """Start a process.

        Raises:
            OSError: if the machine does not allow it (memory, processes, open files).
        """
        process = subprocess.Popen(
            python_module("disc_stream_server.receiving"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        self._heard = time.monotonic()
        self._process = process
        level = logging.getLogger().getEffectiveLevel()
        self._tell(
            process, json.dumps({**asdict(self._settings), "log_level": level, "log_format": log_form()})
        )
        if self._held:
            self._tell(process, json.dumps({"hold": self._held}))

    @staticmethod
    def _tell(process: subprocess.Popen[str], line: str) -> None:
        assert process.stdin is not None  # noqa: S101 - it was opened so
        try:
            process.stdin.write(line + "\n")
            process.stdin.flush()
        except (OSError, ValueError):  # it has ended; whoever waits for it sees that
            return

    def _keep_alive(self) -> None:
        """Hear the process until it ends, and start another, until we are to stop.

        Nothing but a stop ends this: what goes wrong is tried again after a delay that grows.
        """
        delay_s = _FIRST_DELAY_S
        running = True
        while True:
            began = time.monotonic()
            if running:
                self._hear_guarded()
            if self._stopping.is_set() or not self._started.is_set() or self._problem is not None:
                return
            if time.monotonic() - began > _LONGEST_DELAY_S:
                delay_s = _FIRST_DELAY_S
            log.error("%s; starting it again in %g s", self.trouble, delay_s)
            if self._stopping.wait(delay_s):
                return
            delay_s = min(2 * delay_s, _LONGEST_DELAY_S)
            running = self._start_again()

    def _start_again(self) -> bool:
        """Whether it could be started."""
        self._before, self._counts = self.counts, {}
        try:
            self._spawn()
        except OSError as error:
            self.trouble = f"the receiving process cannot be started ({error.strerror or error})"
            self._on_head()
            return False
        self.restarts += 1
        if self._stopping.is_set() and self._process is not None:  # since the wait: nobody else tells it
            self._tell(self._process, "stop")
        return True

    def _hear_guarded(self) -> None:
        """Hear the process until it has ended, whatever goes wrong with the pipes to it."""
        process = self._process
        assert process is not None  # noqa: S101 - one was started
        try:
            self._hear(process)
        except Exception:
            log.exception("the receiving process cannot be heard any more")
            process.kill()
        finally:
            with contextlib.suppress(OSError, ValueError):  # what it was not told any more breaks the pipe
                process.stdin.close()  # type: ignore[union-attr]
        process.wait()
        self.connected = False
        self.trouble = _ENDED
        if not self._started.is_set():
            self._problem = self._problem or BrokerError(
                "the receiving process ended before it could receive"
            )
            self._started.set()
        self._on_head()

    def _hear(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None  # noqa: S101 - it was opened so
        with process.stdout:
            for line in process.stdout:
                self._heard = time.monotonic()
                try:
                    self._note(json.loads(line))
                except Exception:
                    log.exception("error at a report of the receiving process: %.200s", line.rstrip())

    def _note(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "head":
                self.head = event["head"]
                self._on_head()
            case "ready":
                self.head, self.connected, self.trouble = event["head"], True, ""
                self._started.set()
                self._on_head()
            case "ended":
                self.ends.append(End(self._settings.client_id, event["at"]))
            case "state":
                self.since = event["since"]
                changed = self.connected != event["connected"] or self.blocked != event["blocked"]
                self.waits = event["waits"]
                self.connected, self.blocked = event["connected"], event["blocked"]
                self.head, self._counts = event["head"], event["counts"]
                self._note_limited(event.get("limited", {}))
                if changed:
                    self._on_head()
            case "failed":
                self._fail(event)

    def _note_limited(self, limited: dict[str, dict[str, int]]) -> None:
        now = time.monotonic()
        erased = {device for device, until in list(self._erased.items()) if until > now}
        self._erased = {device: self._erased[device] for device in erased}
        self.limited = {device: facts for device, facts in limited.items() if device not in erased}

    def _fail(self, event: dict[str, Any]) -> None:
        """It ended with an error: at the start that is the server's too, later it is started again."""
        kind = getattr(errors, event["kind"], BrokerError)
        if not self._started.is_set():
            self._problem = kind(event["message"], remedy=event["remedy"])
        else:
            log.error("the receiving process failed: %s", event["message"])
