"""The manifest of a bundle: everything a server or an edge device must know about a model."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from disc_stream.types import Channel, WindowSpec

SCHEMA_NAME = "disc-stream.bundle"
SCHEMA_VERSION = 1
MODEL_FILE = "model.onnx"
MANIFEST_FILE = "manifest.json"
SIGNATURE_FILE = "manifest.sig"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WindowInfo(_Frozen):
    """How streams are cut; see ``disc_stream.types.WindowSpec``."""

    samples: int = Field(ge=4, description="window length T in samples")
    hop: int = Field(ge=1, description="samples between window starts")
    input_samples: int = Field(ge=1, description="samples from the start that the encoder reads")

    def spec(self) -> WindowSpec:
        """The same as a core value type."""
        return WindowSpec(self.samples, self.hop, self.input_samples)


class ChannelInfo(_Frozen):
    """One input channel, in the order of the graph's input."""

    name: str
    unit: str

    def channel(self) -> Channel:
        """The same as a core value type."""
        return Channel(self.name, self.unit)


class ScalerInfo(_Frozen):
    """The normalisation inside the graph, for people: x' = (x - offset) * scale, per channel."""

    kind: str
    offset: list[float]
    scale: list[float]


class ClusterInfo(_Frozen):
    """One cluster; ``id`` is its row in the graph's outputs and stays the same across retraining."""

    id: int = Field(ge=0)
    name: str
    size: int = Field(ge=0, description="training windows assigned to it")
    distance_q95: float | None = Field(
        default=None, description="95 % quantile of their squared distance to the centroid"
    )


class TrainingInfo(_Frozen):
    """Where the model comes from."""

    method: str
    preset: str
    dataset: str
    fingerprint: str = Field(description="sha256 of the training windows")
    n_windows: int
    seed: int
    metrics: dict[str, Any] = Field(default_factory=dict)


class ParityInfo(_Frozen):
    """What the comparison of the graph with torch measured on real windows."""

    n_windows: int
    n_probes: int = Field(default=0, description="made-up windows that were compared too")
    max_abs_embedding: float
    max_abs_q: float
    max_rel_distance: float
    labels_equal: float = Field(description="share of windows with the same label")


class Manifest(_Frozen):
    """``manifest.json`` of a bundle."""

    schema_name: str = SCHEMA_NAME
    schema_version: int = SCHEMA_VERSION
    name: str
    version: str = Field(description="content hash of the graph and the clusters")
    created: str = Field(description="ISO 8601, UTC")
    fs: float = Field(gt=0, description="sampling rate in Hz")
    window: WindowInfo
    channels: list[ChannelInfo] = Field(min_length=1)
    scaler: ScalerInfo
    embedding_dim: int = Field(ge=1)
    clusters: list[ClusterInfo] = Field(min_length=1)
    training: TrainingInfo
    parity: ParityInfo
    software: dict[str, str]
    files: dict[str, str] = Field(description="sha256 of every other file of the bundle")
