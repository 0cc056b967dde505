"""``disc-stream benchmark retrain``: what a fleet notices of a retraining on the same machine.

The same server and the same fleet, first undisturbed, then while `disc-stream retrain` reads its spool and
trains. Nothing is promoted.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from disc_stream.errors import BrokerError
from disc_stream.interpreter import python_module
from disc_stream.load.ingest import Say
from disc_stream.load.plan import Load
from disc_stream.load.processes import broker_of, read_line, spawn
from disc_stream.load.server import Server
from disc_stream.load.steady import SteadyOrder
from disc_stream.load.swapping import (
    LabelListener,
    expected_labels,
    fill_registry,
    quantiles,
    trivial_bundles,
    wait_for,
)
from disc_stream.registry import Registry

SCHEMA = "disc-stream.retrain/1"
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
    with broker_of(broker) as url, tempfile.TemporaryDirectory(prefix="disc-stream-retrain-") as name:
        folder, prefix = Path(name), f"ds/retrain-{int(time.time())}"
        with Registry.create(folder / "models") as registry:
            fill_registry(registry, plan.bundles or trivial_bundles(folder, load)[:1])
        settings = {"bundle": None, "models": str(folder / "models")}
        server = Server(url, prefix, load, folder, settings)
        listener = LabelListener(url, prefix, load)
        order = SteadyOrder(url, prefix, load.devices, load.fs, load.samples, load.encoding, churn_s=0.0)
        fleet = spawn("disc_stream.load.steady", asdict(order))
        try:
            read_line(fleet)
            report = _phases(folder, prefix, listener, plan, say)
            sent = json.loads(fleet.communicate(timeout=_PATIENCE_S)[0])
            expected = expected_labels(sent["confirmed"], load)
            wait_for(lambda: len(listener.heard.times) >= expected)
        finally:
            fleet.kill()
            code = server.stop()
            listener.link.close()
    times = listener.heard.times
    return {
        "schema": SCHEMA,
        "load": {"devices": load.devices, "fs": load.fs, "samples": load.samples, "page": load.page},
        "nice": plan.nice,
        "threads": plan.threads,
        **report,
        "windows": {
            "expected": expected,
            "labelled": len(times),
            "labelled_twice": sum(1 for count in times.values() if count > 1),
        },
        "exit_code": code,
    }


def _phases(
    folder: Path, prefix: str, listener: LabelListener, plan: RelearningPlan, say: Say
) -> dict[str, Any]:
    say("undisturbed")
    time.sleep(_SETTLE_S)
    listener.take_latencies()
    time.sleep(plan.calm_s)
    calm = quantiles(listener.take_latencies())
    command = python_module(
        "disc_stream", "retrain", "--models", str(folder / "models"), "--state", str(folder / "state"),
        "--prefix", prefix, "--from-scratch", "--no-promote", "--nice", str(plan.nice), "--threads",
        str(plan.threads), "--set", f"epochs={_ENDLESS}", "--json",
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
        "undisturbed_ms": calm,
        "retraining_ms": busy,
        "ratio_p99": round(busy["p99"] / calm["p99"], 2),
        "epochs": max(epochs, default=0),
    }
