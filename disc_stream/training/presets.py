"""Every hyper-parameter of a training, and the named sets of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from disc_stream.errors import ConfigError
from disc_stream.models.config import NetworkConfig
from disc_stream.models.convolutional import ConvConfig
from disc_stream.models.dense import StackedConfig
from disc_stream.models.settings import Settings, unknown_setting

Network = NetworkConfig | StackedConfig | ConvConfig
_NETWORKS: tuple[type[Settings], ...] = (NetworkConfig, StackedConfig, ConvConfig)

Init = Literal["kmeans", "ward"]
ScalerKind = Literal["minmax", "zscore", "none"]
Precision = Literal["auto", "fp32", "bf16"]


class TrainingConfig(Settings):
    """How a network is trained.

    Raises:
        ConfigError: naming the field, its value and what is possible.
    """

    network: Network = Field(default_factory=NetworkConfig, title="Network", description="its shape")
    scaler: ScalerKind = Field(
        "minmax",
        title="Scaler",
        description="normalisation of each channel with the statistics of the training windows",
    )
    batch_size: int = Field(
        256,
        ge=2,
        title="Batch size",
        description="windows of a step, in both phases; the batches of an epoch are of nearly equal size",
    )
    epochs: int = Field(100, ge=1, title="Epochs", description="of autoencoder training")
    learning_rate: float = Field(
        1e-3, gt=0, le=1, title="Learning rate", description="of Adam in autoencoder training"
    )
    decay_after: float = Field(
        0.7,
        ge=0,
        le=1,
        title="Start of the decay",
        description="share of the epochs after which the learning rate is multiplied by `decay_factor`",
    )
    decay_factor: float = Field(0.1, gt=0, le=1, title="Decay", description="see `decay_after`")
    clip_norm: float = Field(
        0.0, ge=0, title="Gradient clipping", description="maximum norm of a step's gradient; 0 for no limit"
    )
    init: Init = Field(
        "kmeans",
        title="First centroids",
        description="how they are found on the embeddings of the autoencoder",
    )
    ward_sample: int = Field(
        10_000,
        ge=2,
        title="Windows for Ward",
        description="maximum that Ward's method is run on (its memory grows with their square); the cluster "
        "means of the sample then serve all windows",
    )
    refine_epochs: int = Field(200, ge=0, title="Epochs of refinement", description="maximum")
    refine_learning_rate: float = Field(
        1e-3, gt=0, le=1, title="Learning rate of refinement", description="of a fresh optimiser"
    )
    refine_optimizer: Literal["adam", "sgd"] = Field(
        "adam", title="Optimiser of refinement", description="`sgd` has a momentum of 0.9, as in DEC"
    )
    gamma: float = Field(0.1, ge=0, le=1, title="γ", description="weight of the clustering loss, equation 16")
    reconstruction: float = Field(
        1.0,
        ge=0,
        le=1,
        title="Weight of the autoencoder's loss",
        description="beside the clustering loss; 0 for DEC",
    )
    target: Literal["set", "batch"] = Field(
        "set",
        title="Target distribution",
        description="P (equation 14) is computed over the whole `set` before every epoch in evaluation mode, "
        "or over every `batch` from that batch's own q",
    )
    refresh_steps: int = Field(
        0,
        ge=0,
        title="Steps between two targets",
        description="with a target over the set, rounded to whole epochs; 0 for every epoch",
    )
    tolerance: float = Field(
        1e-3,
        ge=0,
        le=1,
        title="Tolerance",
        description="refinement stops when a smaller share of labels changes from one epoch to the next",
    )
    precision: Precision = Field(
        "auto",
        title="Precision",
        description="of the large matrix products in training; `auto` is bf16 for wide networks where the "
        "processor has it. Evaluation is always fp32",
    )

    @field_validator("network", mode="before")
    @classmethod
    def _network_by_its_fields(cls, value: Any) -> Any:
        """Of plain values, as a run folder has them, the network that knows all their names."""
        if not isinstance(value, Mapping):
            return value
        kinds = [kind for kind in _NETWORKS if set(value) <= set(kind.model_fields)]
        return (kinds[0] if kinds else NetworkConfig)(**value)


PRESETS: dict[str, TrainingConfig] = {
    # Section III of the paper. Its learning rate "10" is 1e-3 with the exponent lost.
    "paper": TrainingConfig(),
    # What the authors' released code does, without its defects.
    "released": TrainingConfig(
        network=NetworkConfig(
            embedding=64,
            squash=True,
            context_norm=True,
            decoder_hidden=256,
            decoder_layers=2,
            feedback="output",
        ),
        target="batch",
    ),
    # Two processor cores and about two minutes for 12,000 windows. Eight samples a step make it fast. With P
    # over the whole set, refinement is steady enough for the full weight of the clustering loss.
    "small": TrainingConfig(
        network=NetworkConfig(hidden=64, frame=8, embedding=32, decoder_hidden=64),
        scaler="zscore",
        epochs=30,
        learning_rate=3e-3,
        clip_norm=1.0,
        init="ward",
        ward_sample=5_000,
        refine_epochs=15,
        gamma=1.0,
    ),
}


def resolve(
    preset: str,
    overrides: Mapping[str, Any] | None = None,
    presets: Mapping[str, TrainingConfig] | None = None,
) -> TrainingConfig:
    """A preset with some of its values replaced.

    Args:
        preset: ``paper``, ``released`` or ``small``.
        overrides: by field name of ``TrainingConfig`` or of its network; None leaves a value as it is.
        presets: to choose from; default those of DISC.

    Raises:
        ConfigError: if the preset or a name is not known, or a value is out of range.
    """
    presets = PRESETS if presets is None else presets
    if preset not in presets:
        raise ConfigError(f"there is no preset {preset!r}", remedy=f"Use one of: {', '.join(presets)}")
    base = presets[preset]
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    of_network = set(type(base.network).model_fields)
    of_training = set(TrainingConfig.model_fields) - {"network"}
    unknown = sorted(set(given) - of_network - of_training)
    if unknown:
        raise unknown_setting(unknown[0], of_network | of_training)
    network = base.network.but(**{name: value for name, value in given.items() if name in of_network})
    training = {name: value for name, value in given.items() if name in of_training}
    return base.but(network=network, **training)
