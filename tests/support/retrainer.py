"""Retrainings in processes of their own, which may be killed.

Loading torch takes seconds, so one process loads everything and makes a copy of itself for each retraining.
It is given a request as a line of JSON, and answers ``pid N``, then ``phase NAME`` whenever the retraining
tells how far it is, then ``ended CODE`` (negative where a signal ended it).
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

_WAIT_S = 120.0


class Retrainer:
    """The process from which the retrainings are copied."""

    def __init__(self) -> None:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        self._lines: queue.Queue[str] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self.pid = 0

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout:
            for line in self._process.stdout:
                self._lines.put(line.strip())

    def start(self, request: dict[str, Any]) -> None:
        """Begin a retraining."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self.pid = int(self.next().removeprefix("pid "))

    def next(self) -> str:
        """The next line."""
        return self._lines.get(timeout=_WAIT_S)

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(_WAIT_S)
        self._listener.join(_WAIT_S)


def _serve() -> None:
    import torch

    from disc_stream.retraining.pipeline import retrain
    from disc_stream.retraining.request import Progress, RetrainRequest
    from disc_stream_export import export_run
    from tests.support.tiny_run import write_tiny_run

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:  # an export loads what takes longest to load
        export_run(write_tiny_run(Path(folder) / "run"), Path(folder) / "bundle")

    def tell(progress: Progress) -> None:
        os.write(1, f"phase {progress.phase}\n".encode())

    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                retrain(RetrainRequest.model_validate_json(line), tell)
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        os.write(1, f"pid {pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        os.write(1, f"ended {os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    _serve()
