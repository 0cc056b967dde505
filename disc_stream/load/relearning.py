"""``disc-stream benchmark retrain``: what a fleet notices of a retraining on the same machine.

The same server and the same fleet, first undisturbed, then while `disc-stream retrain` reads its spool and
trains. Nothing is promoted.
"""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from disc_stream.errors import BrokerError
from disc_stream.interpreter import python_module
from disc_stream.load.ingest import Say
from disc_stream.load.plan import Load
from disc_stream.load.scene import Scene, play, quantiles

_SETTLE_S = 5.0
_PATIENCE_S = 60.0
_ENDLESS = 100_000  # epochs: it is stopped when the phase is over


@dataclass(frozen=True, slots=True)
class RelearningPlan:
    """How long, and how the retraining runs.

    Args:
        calm_s: seconds without it, before.
        busy_s: seconds with it.
        nice: its priority below that of the server.
        threads: of it.
        bundles: a model of the fleet's channels; none for one that costs nothing.
    """

    calm_s: float = 60.0
    busy_s: float = 120.0
    nice: int = 19
    threads: int = 1
    bundles: tuple[Path, ...] = ()


def run(load: Load, plan: RelearningPlan, broker: str | None, say: Say) -> dict[str, Any]:
    """Run both phases.

    Raises:
        BrokerError: if the broker cannot be used, or a process ends.
    """
    return play("retrain", load, plan.bundles, broker, lambda scene: _phases(scene, plan, say))


def _phases(scene: Scene, plan: RelearningPlan, say: Say) -> dict[str, Any]:
    listener = scene.listener
    say("undisturbed")
    time.sleep(_SETTLE_S)
    listener.take_latencies()
    time.sleep(plan.calm_s)
    calm = quantiles(listener.take_latencies())
    command = python_module(
        "disc_stream", "retrain", "--models", str(scene.registry.path),
        "--state", str(scene.folder / "state"), "--prefix", scene.prefix, "--from-scratch", "--no-promote",
        "--nice", str(plan.nice), "--threads", str(plan.threads), "--set", f"epochs={_ENDLESS}", "--json",
    )  # fmt: skip
    retraining = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        say("with a retraining")
        time.sleep(plan.busy_s)
        if retraining.poll() is not None:
            raise BrokerError(f"the retraining ended with exit code {retraining.returncode}")
    finally:
        retraining.terminate()
        told = [json.loads(line) for line in retraining.communicate(timeout=_PATIENCE_S)[0].splitlines()]
    busy = quantiles(listener.take_latencies())
    epochs = [one["done"] for one in told if one.get("phase") == "train"]
    return {
        "nice": plan.nice,
        "threads": plan.threads,
        "undisturbed_ms": calm,
        "retraining_ms": busy,
        "ratio_p99": round(busy["p99"] / calm["p99"], 2),
        "epochs": max(epochs, default=0),
    }
