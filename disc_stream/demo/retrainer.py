"""A retraining beside the live labels: ``disc-stream retrain`` as a process of the lowest priority."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Protocol

from disc_stream.demo.model import MAX_WINDOWS, WHO, Plan
from disc_stream.interpreter import python_module

_STOP_S = 5.0
_REJECTED = 3  # exit code of `disc-stream retrain`


class Folders(Protocol):
    """Where the registry and the server's state are."""

    models: Path
    state: Path


class Retrainer:
    """Retrains once; all methods from one thread.

    Args:
        folders: with a version in production.
        plan: of the first version.
        clusters: K of the next one.
    """

    def __init__(self, folders: Folders, plan: Plan, clusters: int) -> None:
        self._command = python_module(
            "disc_stream", "retrain", "--json", "--models", str(folders.models),
            "--state", str(folders.state), "--clusters", str(clusters), "--seed", str(plan.seed),
            "--windows", str(MAX_WINDOWS), "--device", "cpu", "--threads", "1", "--nice", "19",
            "--who", WHO, "--why", "unknown motion", "--method", plan.method,
        )  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self._files = ExitStack()
        self._out = self._files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - until ``stop``
        self._said = self._files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - likewise
        self._began = self._seconds = 0.0
        self._done: dict[str, Any] | None = None

    @property
    def begun(self) -> bool:
        """Whether it was started."""
        return self._process is not None

    def start(self) -> None:
        """Begin."""
        self._began = time.monotonic()
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._said
        )

    def outcome(self) -> str | None:
        """What came of it, in words; None as long as it works."""
        if self._process is None or (code := self._process.poll()) is None:
            return None
        self._seconds = time.monotonic() - self._began
        if code not in (0, _REJECTED):
            self._said.seek(0)
            last = self._said.read().decode(errors="replace").strip().splitlines()[-1:]
            return f"The retraining has failed: {''.join(last) or f'exit code {code}'}"
        self._out.seek(0)
        lines = [json.loads(line) for line in self._out.read().splitlines()]
        self._done = next(line for line in lines if line["event"] == "done")
        if self._done["rejected"]:
            return f"The gate has rejected the new version: {self._done['rejected']}"
        return f"Version {self._done['number']} has passed the gate and is in production"

    def stop(self) -> None:
        """End it if it works."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_S)
            self._process.kill()
            self._process.wait()
        self._files.close()

    def facts(self) -> dict[str, Any] | None:
        """For the summary; None if it did not end."""
        if self._done is None:
            return None
        gate = {check["measure"]: check["value"] for check in self._done["gate"]}
        names = ("version", "number", "promoted", "rejected", "windows")
        return {
            "seconds": round(self._seconds, 1),
            **{name: self._done[name] for name in names},
            "gate": gate,
            "transitions": dict(_kinds(self._done["transitions"])),
        }


def _kinds(transitions: list[dict[str, Any]]) -> dict[str, int]:
    kinds = [one["kind"] for one in transitions]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}
