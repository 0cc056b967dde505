"""Mosquitto as a child process that cannot outlive us."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from disc_stream.errors import BrokerError
from disc_stream.localbroker.ports import HOST, free_port, wait_until_up

_STOP_S = 5.0
_TRIES = 3  # a free port can be taken by somebody else between asking and binding

# Runs in a fresh interpreter that turns into Mosquitto: the kernel is asked to end it when its parent (we)
# dies in whatever way, even by SIGKILL (prctl(2), PR_SET_PDEATHSIG = 1, SIGTERM = 15). Doing the same
# between fork and exec inside this process, which has threads, could deadlock.
_BECOME = """
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 15)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the demo ended before its broker began")
os.execv(sys.argv[2], sys.argv[2:])
"""


class Mosquitto:
    """A broker process with a configuration of its own; it keeps nothing on disk.

    Args:
        program: the executable.
        port: TCP port on loopback; None for one that is free.

    Raises:
        BrokerError: if it does not start, with the last line that it logged.
    """

    kind = "mosquitto"
    notice = None

    def __init__(self, program: Path, port: int | None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="disc-stream-mosquitto-")
        self._log = Path(self._folder.name) / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        try:
            self._start_somewhere(
                program, [port] if port is not None else [free_port() for _ in range(_TRIES)]
            )
        except BaseException:
            self.stop()
            raise

    def _start_somewhere(self, program: Path, ports: list[int]) -> None:
        for port in ports:
            try:
                self._start(program, port)
            except BrokerError as error:
                if port == ports[-1] or "in use" not in error.message:
                    raise
            else:
                return

    def _start(self, program: Path, port: int) -> None:
        self.port = port
        config = Path(self._folder.name) / "mosquitto.conf"
        config.write_text(_settings(port), encoding="utf-8")
        become = [sys.executable, "-I", "-S", "-c", _BECOME, str(os.getpid())]
        with self._log.open("wb") as sink:
            self._process = subprocess.Popen(
                [*become, str(program), "-c", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,  # Ctrl-C is for us: we drain first and end it last
            )
        wait_until_up(self, f"mosquitto ({program})")

    def is_up(self) -> bool:
        """Whether its log confirms it: another program may answer at the port."""
        return b" running" in self._log.read_bytes()

    def why_dead(self) -> str | None:
        """Its last word, once it has ended."""
        if self._process is None or self._process.poll() is None:
            return None
        said = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return said[-1].strip()[:200] if said else f"it ended with exit code {self._process.returncode}"

    @property
    def url(self) -> str:
        """For ``Broker.parse``."""
        return f"mqtt://{HOST}:{self.port}"

    def stop(self) -> None:
        """End the process. May be called twice."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._folder.cleanup()


def _settings(port: int) -> str:
    """Loopback only; no limit at which messages would be dropped silently, no traces on disk."""
    lines = [
        f"listener {port} {HOST}",
        "allow_anonymous true",
        "persistence false",
        "max_queued_messages 0",
        "max_inflight_messages 1000",
        "set_tcp_nodelay true",  # as `disc-stream broker config` has it
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type information",  # that it is running
        "connection_messages false",
    ]
    if os.geteuid() == 0:
        # Started by root it would become another user, which cancels the parent-death signal.
        lines.append("user root")
    return "\n".join(lines) + "\n"
