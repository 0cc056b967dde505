"""The smallest sensible run of the benchmark: a simulated fleet and a few seconds."""

from __future__ import annotations

from pathlib import Path

from disc_stream.benchmarks.continuity import Schedule, Start
from disc_stream.benchmarks.continuity_cells import Request
from disc_stream.clustering.anchors import Bounds
from disc_stream.data.synthetic import LABEL_NAMES, synthetic_recordings
from disc_stream.data.types import Split
from disc_stream.data.windows import WindowPlan, split_recordings

SYNTHETIC = "synthetic"
_PEOPLE, _SECONDS, _HALF = 6, 180.0, 64


def synthetic_split() -> Split:
    """Six simulated people, three minutes each at 50 Hz, windows of 2.56 s that overlap by half."""
    recordings = synthetic_recordings(_PEOPLE, _SECONDS)
    train, test, protocol = split_recordings(recordings, WindowPlan(2 * _HALF, _HALF), [_PEOPLE])
    return Split(train, test, protocol, n_clusters=len(LABEL_NAMES) // 2)


def quick_request(starts: tuple[Start, ...], held_back: list[str], out: Path) -> Request:
    """Two retrainings of a tiny DISC on the simulated fleet."""
    return Request(
        datasets=[SYNTHETIC],
        methods=["disc"],
        starts=starts,
        seeds=[0],
        held_back=held_back,
        retrainings=2,
        preset="small",
        out=out,
        settings={"hidden": 8, "decoder_hidden": 8, "embedding": 8, "refine_epochs": 1},
        schedule=Schedule(updates=40, warm_updates=10),
        bounds=Bounds(per_id=20),
    )
