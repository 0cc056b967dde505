"""A run of disc-plus on simulated wearables, trained in seconds."""

from __future__ import annotations

from pathlib import Path

from disc_stream.data.synthetic import synthetic_recordings
from disc_stream.data.types import Split
from disc_stream.data.windows import plan_windows, split_recordings
from disc_stream.training.session import TrainingRequest, train_run

QUICK = {"restarts": 2, "moves": 5}


def write_plus_run(path: Path) -> Path:
    """Six wearables, few candidates."""
    recordings = synthetic_recordings(6, 60.0, 0)
    parts = split_recordings(recordings, plan_windows(recordings[0].fs, 2.56, 0.5), [recordings[0].subject])
    train_run(
        Split(*parts, n_clusters=6), TrainingRequest("synthetic", path, method="disc-plus", settings=QUICK)
    )
    return path
