"""A real Mosquitto of the test's own."""

from __future__ import annotations

import contextlib
import getpass
import random
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

_PORTS = iter(random.SystemRandom().sample(range(12_000, 30_000), 18_000))


def free_port() -> int:
    """A TCP port on loopback that nobody uses right now.

    Linux gives ports above 32767 to outgoing connections: one of those may be taken before the test's server
    listens, or while it is down. Below are only servers; each process tries the ports in an order of its own.
    """
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    pytest.fail("all ports from 12000 to 29999 are in use")


class Mosquitto:
    """A broker process that can be stopped and started again on the same port.

    Args:
        folder: for its configuration and its saved state.
        settings: further lines of ``mosquitto.conf``; without any, everybody may do everything.
    """

    def __init__(self, folder: Path, settings: str = "allow_anonymous true") -> None:
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            f"listener {self.port} 127.0.0.1\n"
            f"user {getpass.getuser()}\n"  # started by root it would become somebody who cannot write here
            f"persistence true\npersistence_location {folder}/\n"
            f"max_queued_messages 0\nmax_packet_size 1048576\n{settings}\n"
        )
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start and wait until it listens."""
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        if not Path(program).exists():
            pytest.fail("there is no mosquitto on PATH; install it, as `make test` does")
        self._process = subprocess.Popen(
            [program, "-c", str(self._config)], stderr=subprocess.PIPE, text=True, bufsize=1
        )
        self._said, self._running = [], threading.Event()
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()
        if not self._running.wait(120):
            pytest.fail("mosquitto did not start:\n" + "".join(self._said))

    def _read(self, process: subprocess.Popen[str]) -> None:
        """Read its log for ever, or it would stand still once the pipe is full."""
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                self._said.append(line)
                if "running" in line:
                    self._running.set()

    def stop(self) -> None:
        """Stop it; it saves its sessions and retained messages."""
        process, self._process = self._process, None
        if process is not None:
            # One that has just started has been seen to miss the signal (2.0.11), so it is said again.
            for _ in range(120):
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=1)
                    return
            raise subprocess.TimeoutExpired(process.args, 120)

    def discard(self) -> None:
        """End it after a test, when nobody needs what it would save."""
        process = self._process
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            assert process is not None
            process.kill()
            process.wait()

    def restart(self) -> None:
        """Stop and start on the same port."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the process: connections stay up, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on where ``pause`` stopped it."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
