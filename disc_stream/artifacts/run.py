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

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from disc_stream.artifacts.manifest import ChannelInfo, ScalerInfo, WindowInfo
from disc_stream.errors import ConfigError

RUN_FILE = "run.json"
MODEL_FILE = "model.safetensors"
SAMPLES_FILE = "samples.safetensors"
HISTORY_FILE = "history.jsonl"
EVIDENCE_FILE = "evidence.safetensors"
KNOWN_FILE = "known.safetensors"
CHECKPOINT_DIR = "checkpoint"

RUN_SCHEMA_VERSION = 2

LabelAt = Literal["half", "whole"]


class WholeWindow(BaseModel):
    """What is different where a network that labels at half a window reads the whole one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cluster_sizes: list[int] = Field(description="training windows per cluster")
    distance_q95: list[float] = Field(description="per cluster, of squared distances in training")
    unknown_above: list[float | None] = Field(
        description="per cluster, squared distance from which on a window is unknown"
    )
    metrics: dict[str, Any] = Field(description="in place of those for half a window")


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
    likelihood_exponent: float | None = Field(
        default=None, description="power of q that is the likelihood of a window; see the manifest"
    )
    cluster_sizes: list[int] = Field(description="training windows per cluster")
    distance_q95: list[float] = Field(description="per cluster, of squared distances in training")
    unknown_above: list[float | None] = Field(
        default_factory=list, description="per cluster, squared distance from which on a window is unknown"
    )
    metrics: dict[str, Any] = Field(default_factory=dict)
    software: dict[str, str] = Field(default_factory=dict)
    created: str = Field(description="ISO 8601, UTC")
    whole: WholeWindow | None = Field(
        default=None, description="of a network that was trained to label at the whole window, too"
    )

    @property
    def labels_at(self) -> tuple[LabelAt, ...]:
        """When a window can be labelled, the run's own first."""
        own: LabelAt = "whole" if self.window.input_samples == self.window.samples else "half"
        return (own,) if self.whole is None else ("half", "whole")

    def at(self, label_at: LabelAt | None) -> RunInfo:
        """The run as it is for labels at half a window or at the whole; None leaves it as it is.

        Raises:
            ConfigError: if its network was not trained for that.
        """
        if label_at is None or label_at == self.labels_at[0]:
            return self
        if self.whole is None:
            raise ConfigError(
                f"the run labels at {_WORDS[self.labels_at[0]]} only, not at {_WORDS[label_at]}",
                remedy="Train DISC with targets=carry-over for both",
            )
        window = self.window.model_copy(update={"input_samples": self.window.samples})
        return self.model_copy(
            update={
                "window": window,
                "cluster_sizes": self.whole.cluster_sizes,
                "distance_q95": self.whole.distance_q95,
                "unknown_above": self.whole.unknown_above,
                "metrics": {**self.metrics, **self.whole.metrics},
            }
        )


_WORDS = {"half": "half a window", "whole": "the whole window"}
