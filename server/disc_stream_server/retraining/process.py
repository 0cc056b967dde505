"""One retraining in a process of its own, with limits: ``disc-stream retrain --json``, heard line by line.

Limits. Threads and priority are the process' own options. Memory is watched from here: what the process and
all below it have in memory. A limit of the address space (RLIMIT_AS) would count what torch, CUDA and the
stack and heap of every thread only reserve, and end in a crash of some library instead of a reason. Where
the machine itself runs out of memory first, the kernel is told to take this process before the server.

It ends with the server, whatever ends that: its stdin is a pipe that we hold. What it has done is on disk,
and the same command goes on there.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from disc_stream.config import RetrainConfig, ServeConfig
from disc_stream.interpreter import python_module
from disc_stream_server.memory import family_bytes

log = logging.getLogger(__name__)

_LOOK_S = 0.5
_LAST_LINES = 20  # of stderr that are kept
_KERNEL_TAKES_FIRST = 800  # of 1000; see proc_pid_oom_score_adj(5)
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
REJECTED = 3
"""Exit code of a retraining whose candidate the gate has rejected."""

Hear = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a retraining may use.

    Args:
        memory_bytes: resident, with all processes below it.
        grace_s: from asking it to stop to killing it.
        environment: variables that are set for it.
    """

    memory_bytes: int
    grace_s: float = 10.0
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, rules: RetrainConfig) -> Limits:
        """Those of the configuration."""
        environment = dict.fromkeys(_THREADS, str(rules.threads))
        if rules.gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = "" if rules.gpu == "none" else rules.gpu
        return cls(rules.memory_mb * 2**20, rules.grace_s, environment)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended.

    Args:
        code: exit code; negative for a signal.
        done: its last line, what came of the retraining; None if it did not get so far.
        error: what it said last on stderr, or why it was stopped.
        stopped: whether we have stopped it: ``memory``, ``asked``, or "" if not.
        peak_bytes: most memory that was seen.
    """

    code: int
    done: dict[str, Any] | None
    error: str
    stopped: str = ""
    peak_bytes: int = 0


def retrain_command(config: ServeConfig, state: Path, why: str, *, discard: bool = False) -> list[str]:
    """The command that retrains by the configuration of a server.

    Args:
        config: with a registry and rules for retraining.
        state: the state folder.
        why: for the history of the registry.
        discard: begin anew, even if an earlier one can go on.
    """
    rules = config.retrain or RetrainConfig()
    options: dict[str, Any] = {
        "models": config.models, "state": state, "prefix": config.prefix, "method": rules.method,
        "preset": rules.preset, "clusters": rules.clusters, "windows": rules.learn_windows,
        "half-life-days": rules.half_life_days, "window-s": rules.window_s, "seed": rules.seed,
        "threads": rules.threads, "nice": rules.nice, "sign": rules.sign, "who": "disc-stream serve",
        "why": why, "device": "cpu" if rules.gpu == "none" else "auto",
    }  # fmt: skip
    words = [f"--{name}={value}" for name, value in options.items() if value is not None]
    words += [f"--set={name}={json.dumps(value)}" for name, value in rules.settings.items()]
    words += [f"--trusted-key={key}" for key in config.trusted_key or ()]
    flags = {
        "--from-scratch": rules.from_scratch, "--no-examples": not rules.examples, "--discard": discard,
    }  # fmt: skip
    words += [flag for flag, wanted in flags.items() if wanted]
    return python_module("disc_stream", "retrain", *words, "--until-stdin-ends", "--json")


class RetrainProcess:
    """Starts it, hears it, holds it to its limits.

    Args:
        command: prints lines of JSON; the one with the event ``done`` is the last.
        limits: what it may use.
        hear: is told each line, on the thread of ``run``.
    """

    def __init__(self, command: Sequence[str], limits: Limits, hear: Hear) -> None:
        self._command, self._limits, self._hear = command, limits, hear
        self._process: subprocess.Popen[str] | None = None
        self._wanted, self._gone = threading.Event(), threading.Event()
        self._words: deque[str] = deque(maxlen=_LAST_LINES)
        self._stopped = ""
        self._peak = 0

    @property
    def pid(self) -> int | None:
        """Of the process, once there is one."""
        return None if self._process is None else self._process.pid

    def cancel(self) -> None:
        """Ask it to stop, and kill it after the grace; from any thread. Also before it was started."""
        self._stopped = self._stopped or "asked"
        self._wanted.set()

    def run(self) -> Ended:
        """Run it to its end."""
        if self._wanted.is_set():
            return Ended(0, None, "", self._stopped)
        try:
            process = self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                encoding="utf-8", errors="replace", env={**os.environ, **self._limits.environment},
            )  # fmt: skip
        except OSError as error:
            return Ended(-1, None, f"it cannot be started: {error.strerror or error}")
        with contextlib.suppress(OSError):  # not Linux
            Path(f"/proc/{process.pid}/oom_score_adj").write_text(str(_KERNEL_TAKES_FIRST))
        threads = [
            threading.Thread(target=work, args=(process,), name=f"retraining-{name}", daemon=True)
            for name, work in (("words", self._read_words), ("limits", self._hold))
        ]
        for thread in threads:
            thread.start()
        done = self._read_lines(process)
        code = process.wait()
        self._gone.set()
        self._wanted.set()
        for thread in threads:
            thread.join()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        return Ended(code, done, self._error(code, done), self._stopped if done is None else "", self._peak)

    def _error(self, code: int, done: dict[str, Any] | None) -> str:
        if done is not None:
            return ""
        if self._stopped == "memory":
            limit = self._limits.memory_bytes >> 20
            return f"it needed more than {limit:,} MiB; let it learn from fewer windows, or allow it more"
        last = next((line for line in reversed(self._words) if line.startswith("error: ")), "")
        if last:
            return last.removeprefix("error: ")
        if code < 0:  # what it said before has nothing to do with it
            return _by_signal(-code)
        return self._words[-1] if self._words else f"it ended with code {code}"

    def _read_lines(self, process: subprocess.Popen[str]) -> dict[str, Any] | None:
        assert process.stdout is not None  # noqa: S101 - it was opened so
        done = None
        for text in process.stdout:
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if not isinstance(line, dict):
                continue
            if line.get("event") == "done":
                done = line
            self._hear(line)
        return done

    def _read_words(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None  # noqa: S101 - it was opened so
        for text in process.stderr:
            if text.strip():
                self._words.append(text.strip())
                log.debug("retraining: %s", text.strip())

    def _hold(self, process: subprocess.Popen[str]) -> None:
        """Watch the memory; stop the process when it is over the limit, or when that is wanted."""
        while not self._wanted.wait(_LOOK_S):
            used = family_bytes(process.pid)
            self._peak = max(self._peak, used)
            if used > self._limits.memory_bytes:
                self._stopped = "memory"
                break
        if self._gone.is_set():
            return
        process.terminate()
        if not self._gone.wait(self._limits.grace_s):
            process.kill()


def _by_signal(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    hint = ": has the machine run out of memory?" if number == signal.SIGKILL else ""
    return f"it was ended by {name}{hint}"
