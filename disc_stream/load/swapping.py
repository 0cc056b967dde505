"""``disc-stream benchmark swap``: a registry promotes version after version while a fleet is being labelled.

The same server and the same fleet, first undisturbed, then with swaps. Every window must have one label, of
one version; memory must not grow from swap to swap.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from disc_stream.load.ingest import Say
from disc_stream.load.plan import Load
from disc_stream.load.scene import Scene, play, quantiles

_SETTLE_S = 5.0


@dataclass(frozen=True, slots=True)
class SwapPlan:
    """How many swaps, and of what.

    Args:
        swaps: number of them.
        every_s: seconds from one to the next; longer where the server takes longer.
        calm_s: seconds without any, before.
        bundles: two models of the fleet's channels, served in turn; none for two that cost nothing.
    """

    swaps: int = 100
    every_s: float = 1.5
    calm_s: float = 60.0
    bundles: tuple[Path, ...] = ()


def run(load: Load, plan: SwapPlan, broker: str | None, say: Say) -> dict[str, Any]:
    """Run both phases.

    Raises:
        BrokerError: if the broker cannot be used, a process ends, or a version does not come to serve.
    """
    return play("swap", load, plan.bundles, broker, lambda scene: _phases(scene, plan, say))


def _phases(scene: Scene, plan: SwapPlan, say: Say) -> dict[str, Any]:
    registry, server, listener = scene.registry, scene.server, scene.listener
    say("undisturbed")
    time.sleep(_SETTLE_S)
    listener.take_latencies()
    time.sleep(plan.calm_s)
    calm = listener.take_latencies()
    versions = [info.version for info in registry.versions()]
    rss, took = [server.rss_bytes()], []
    for swap in range(1, plan.swaps + 1):
        began = time.monotonic()
        version = versions[swap % 2]
        registry.promote(version, "benchmark", f"swap {swap}")
        listener.wait_for(version)
        took.append(time.monotonic() - began)
        time.sleep(max(0.0, plan.every_s - took[-1]))
        rss.append(server.rss_bytes())
        say(f"swap {swap} of {plan.swaps}, {rss[-1] / 2**20:.1f} MiB")
    swapping = listener.take_latencies()
    tenth = rss[min(10, plan.swaps)]
    return {
        "undisturbed_ms": quantiles(calm),
        "swapping_ms": quantiles(swapping),
        "ratio_p99": round(quantiles(swapping)["p99"] / quantiles(calm)["p99"], 2),
        "swaps": plan.swaps,
        "swap_s": {"median": round(float(np.median(took)), 3), "max": round(max(took), 3)},
        "rss_mib": {
            "before": round(rss[0] / 2**20, 1),
            "after_10": round(tenth / 2**20, 1),
            "end": round(rss[-1] / 2**20, 1),
        },
        "rss_growth": round(rss[-1] / tenth - 1, 4),
        "series": [round(one / 2**20, 1) for one in rss[:: max(1, len(rss) // 50)]],
    }
