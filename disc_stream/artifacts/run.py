"""The run folder: what training leaves behind and export reads.

::

    RUN/
      run.json               RunInfo: everything but the weights
      model.safetensors      weights of the trained network, with scaler and centroids
      samples.safetensors    a few hundred real input windows ("x"), for the parity check of exports
      history.jsonl          one line per epoch: losses, label change, seconds
      evidence.safetensors   embeddings and labels of training windows, for figures
      known.safetensors      descriptors of some training windows: by them a retraining tells what is new
      checkpoint/            state to resume from, while training is under way
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from disc_stream.artifacts.manifest import ChannelInfo, ScalerInfo, WindowInfo

RUN_FILE = "run.json"
MODEL_FILE = "model.safetensors"
SAMPLES_FILE = "samples.safetensors"
HISTORY_FILE = "history.jsonl"
EVIDENCE_FILE = "evidence.safetensors"
KNOWN_FILE = "known.safetensors"
CHECKPOINT_DIR = "checkpoint"

RUN_SCHEMA_VERSION = 1


class RunInfo(BaseModel):
    """``run.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = RUN_SCHEMA_VERSION
    method: str = Field(description="estimator, such as DISC")
    preset: str
    config: dict[str, Any] = Field(description="every hyper-parameter of the network and its training")
    dataset: str
    fingerprint: str = Field(description="sha256 of the training windows")
    n_windows: int
    seed: int
    fs: float
    channels: list[ChannelInfo]
    window: WindowInfo
    scaler: ScalerInfo
    n_clusters: int
    cluster_sizes: list[int] = Field(description="training windows per cluster")
    distance_q95: list[float] = Field(description="per cluster, of squared distances in training")
    unknown_above: list[float | None] = Field(
        default_factory=list, description="per cluster, squared distance from which on a window is unknown"
    )
    metrics: dict[str, Any] = Field(default_factory=dict)
    software: dict[str, str] = Field(default_factory=dict)
    created: str = Field(description="ISO 8601, UTC")
