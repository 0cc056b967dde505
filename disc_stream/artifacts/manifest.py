"""The manifest of a bundle: everything a server or an edge device must know about a model."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
)

from disc_stream.artifacts.catalogue import CATALOGUE_FILE, MAX_CLUSTERS, ClusterInfo, PrintableText
from disc_stream.errors import BundleError
from disc_stream.types import Channel, WindowSpec
from disc_stream.wire import limits

SCHEMA_NAME = "disc-stream.bundle"
SCHEMA_VERSION = 2
OLDEST_SCHEMA_VERSION = 1  # its clusters stand in the manifest and are part of its version
NEWEST_SCHEMA_VERSION = 3  # of a model that says what its windows' likelihood is
MODEL_FILE = "model.onnx"
MANIFEST_FILE = "manifest.json"
SIGNATURE_FILE = "manifest.sig"

MAX_EMBEDDING = 65_536
MAX_MANIFEST_BYTES = 4 << 20
_MAX_TEXT = 200
_MAX_DEPTH = 8  # of the metrics
_EXPORT_AGAIN = "Export or copy it again"

_Text = Annotated[PrintableText, Field(max_length=_MAX_TEXT)]
_Count = Annotated[int, Field(ge=0, lt=2**63)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class WindowInfo(_Frozen):
    """How streams are cut; see ``disc_stream.types.WindowSpec``."""

    samples: int = Field(ge=4, le=limits.MAX_SAMPLES, description="window length T in samples")
    hop: int = Field(ge=1, description="samples between window starts")
    input_samples: int = Field(ge=1, description="samples from the start that the encoder reads")

    def spec(self) -> WindowSpec:
        """The same as a core value type."""
        return WindowSpec(self.samples, self.hop, self.input_samples)


class ChannelInfo(_Frozen):
    """One input channel, in the order of the graph's input."""

    name: PrintableText = Field(min_length=1, max_length=limits.MAX_NAME)
    unit: PrintableText = Field(max_length=limits.MAX_UNIT)

    def channel(self) -> Channel:
        """The same as a core value type."""
        return Channel(self.name, self.unit)


class ScalerInfo(_Frozen):
    """The normalisation inside the graph, for people: x' = (x - offset) * scale, per channel."""

    kind: _Text
    offset: list[float]
    scale: list[float]


class TrainingInfo(_Frozen):
    """Where the model comes from."""

    method: _Text
    preset: _Text
    dataset: _Text
    fingerprint: _Text = Field(description="sha256 of the training windows")
    n_windows: _Count
    seed: int
    metrics: dict[str, Any] = Field(default_factory=dict)

    @field_validator("metrics")
    @classmethod
    def _not_nested_deeply(cls, metrics: dict[str, Any]) -> dict[str, Any]:
        level: list[Any] = [metrics]
        for _ in range(_MAX_DEPTH):
            level = [inner for value in level for inner in _inner(value)]
        if level:
            raise ValueError(f"metrics are nested more than {_MAX_DEPTH} times")
        return metrics


def _inner(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


class ParityInfo(_Frozen):
    """What the comparison of the graph with torch measured on real windows."""

    n_windows: _Count
    n_probes: _Count = Field(default=0, description="synthetic windows that were compared too")
    max_abs_embedding: float
    max_abs_q: float
    max_rel_distance: float
    labels_equal: float = Field(description="share of windows with the same label")


class Manifest(_Frozen):
    """``manifest.json`` of a bundle; what its clusters are called stands in ``catalogue.json``."""

    schema_name: str = SCHEMA_NAME
    schema_version: int = SCHEMA_VERSION
    name: _Text
    version: _Text = Field(description="content hash of the graph")
    created: _Text = Field(description="ISO 8601, UTC")
    fs: float = Field(gt=0, le=limits.MAX_FS, description="sampling rate in Hz")
    window: WindowInfo
    channels: list[ChannelInfo] = Field(min_length=1, max_length=limits.MAX_CHANNELS)
    scaler: ScalerInfo
    embedding_dim: int = Field(ge=1, le=MAX_EMBEDDING)
    likelihood_exponent: float | None = Field(
        default=None,
        gt=0,
        le=MAX_EMBEDDING,
        description="power of q that is the likelihood of a window; if not given, (1 + embedding_dim) / 2",
    )
    n_clusters: int = Field(ge=1, le=MAX_CLUSTERS, description="columns of q and distance")
    clusters: list[ClusterInfo] = Field(
        default_factory=list,
        exclude=True,
        description="of a bundle of schema 1, which has no catalogue; see Bundle.catalogue",
    )
    training: TrainingInfo
    parity: ParityInfo
    software: dict[_Text, _Text]
    files: dict[str, str] = Field(description="sha256 of every other file of the bundle")

    @model_serializer(mode="wrap")
    def _without_what_is_not_said(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """So that older servers can read what does not need the newest form."""
        written: dict[str, Any] = write(self)
        if written.get("likelihood_exponent") is None:
            written.pop("likelihood_exponent", None)
        return written

    @property
    def gives_log_of_zero(self) -> bool:
        """Whether the graph has no label for a still window: exports were not tried on such ones then."""
        return self.training.method == "disc-plus" and self.parity.n_probes == 0


def schema_of(manifest: Manifest) -> int:
    """The oldest form that a manifest can be written in."""
    return SCHEMA_VERSION if manifest.likelihood_exponent is None else NEWEST_SCHEMA_VERSION


def parse_manifest(data: bytes, what: str) -> Manifest:
    """Parse ``manifest.json``.

    Raises:
        BundleError: if it is no manifest, is from a newer version, or a field is wrong (which is named).
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise BundleError(
            f"{MANIFEST_FILE} of {what} has more than {MAX_MANIFEST_BYTES >> 20} MiB", remedy=_EXPORT_AGAIN
        )
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{MANIFEST_FILE} of {what} is not JSON: {error}", remedy=_EXPORT_AGAIN) from error
    name = raw.get("schema_name") if isinstance(raw, dict) else None
    if name != SCHEMA_NAME:
        found = f"its schema_name is {name!r:.80}" if name else "it has no schema_name"
        raise BundleError(
            f"{MANIFEST_FILE} of {what} is not a manifest of disc-stream: {found}, not {SCHEMA_NAME!r}",
            remedy="Name a folder or zip that `disc-stream export` wrote",
        )
    version = raw.get("schema_version")
    if isinstance(version, int) and version > NEWEST_SCHEMA_VERSION:
        raise BundleError(
            f"{what} was written by a newer disc-stream (schema {version!r:.20}, "
            f"this one knows {NEWEST_SCHEMA_VERSION})",
            remedy="Upgrade disc-stream here, or export the run again with this version",
        )
    if version not in range(OLDEST_SCHEMA_VERSION, NEWEST_SCHEMA_VERSION + 1):
        raise BundleError(
            f"schema_version of {what} is {version!r:.80}, not {SCHEMA_VERSION}", remedy=_EXPORT_AGAIN
        )
    if version >= SCHEMA_VERSION and "clusters" in raw:
        raise BundleError(
            f"{MANIFEST_FILE} of {what} lists clusters, which belong into {CATALOGUE_FILE}",
            remedy=_EXPORT_AGAIN,
        )
    if version < SCHEMA_VERSION and isinstance(raw.get("clusters"), list):
        raw = {**raw, "n_clusters": len(raw["clusters"])}
    try:
        return Manifest.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(ascii(part)[1:-1] if isinstance(part, str) else str(part) for part in first["loc"])
        raise BundleError(
            f"{MANIFEST_FILE} of {what}: {where}: {first['msg']}", remedy=_EXPORT_AGAIN
        ) from error
