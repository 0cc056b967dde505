"""Hyper-parameters of DISC with targets that carry over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from disc_stream.models.config import NetworkConfig
from disc_stream.models.settings import Settings, unknown_setting
from disc_stream.training.plus.config import PlusConfig
from disc_stream.training.presets import Precision, ScalerKind

NETWORK = NetworkConfig(hidden=64, layers=1, frame=16, embedding=16, decoder_hidden=32)
"""Of the preset ``guided``: one layer, sixteen samples a step (ADR 0029)."""


class GuidedConfig(Settings):
    """How DISC's network learns from a labelling that carries over; values chosen on design data (ADR 0023).

    Raises:
        ConfigError: naming the field, its value and what is possible.
    """

    targets: Literal["carry-over"] = Field(
        "carry-over",
        title="Targets",
        description="what the target distribution P is made of: `carry-over`, the labelling of the training "
        "windows that says most about other people and the next window (disc-plus); with `self`, the "
        "paper's own, other settings apply",
    )
    network: NetworkConfig = Field(default_factory=lambda: NETWORK, title="Network", description="its shape")
    teacher: PlusConfig = Field(
        default_factory=PlusConfig, title="Teacher", description="how the labelling is found: disc-plus"
    )
    scaler: ScalerKind = Field(
        "zscore",
        title="Scaler",
        description="normalisation of each channel with the statistics of the training windows",
    )
    batch_size: int = Field(256, ge=2, title="Batch size", description="windows of a step")
    steps: int = Field(
        600,
        ge=1,
        title="Steps",
        description="about so many, in whole epochs, whatever the number of windows",
    )
    epochs: int = Field(0, ge=0, title="Epochs", description="so many instead; 0 for those of `steps`")
    learning_rate: float = Field(
        3e-3, gt=0, le=1, title="Learning rate", description="of Adam at its highest; falls as a cosine"
    )
    clip_norm: float = Field(
        1.0, ge=0, title="Gradient clipping", description="maximum norm of a step's gradient; 0 for no limit"
    )
    gamma: float = Field(1.0, ge=0, le=1, title="γ", description="weight of the clustering loss, equation 16")
    reconstruction: float = Field(
        0.1, ge=0, le=1, title="Weight of the autoencoder's loss", description="beside the clustering loss"
    )
    consistency: float = Field(
        1.0,
        ge=0,
        title="Consistency",
        description="weight of the divergence between what half a window and the whole one are taken for, "
        "both ways, beside the clustering loss; 0 for none",
    )
    others: float = Field(
        0.0,
        ge=0,
        le=1,
        title="Share of other devices",
        description="in P, of the probabilities by a discriminant that has seen only other devices; the rest "
        "is the labelling itself. A loss with few devices",
    )
    doubt: float = Field(
        0.1, ge=0, lt=1, title="Doubt", description="share of P that is spread evenly over all clusters"
    )
    described: float = Field(
        0.2,
        ge=0,
        le=1,
        title="Weight of the descriptors",
        description="in labelling: of the log probabilities by a linear discriminant of half a window's "
        "descriptors, beside those by the network",
    )
    averaging: float = Field(
        0.995,
        ge=0,
        lt=1,
        title="Averaging of weights",
        description="the model is the exponential mean of the weights over the steps, with this factor",
    )
    noise: float = Field(
        0.3, ge=0, title="Noise", description="most that is added, in standard deviations of a channel"
    )
    scaling: float = Field(
        0.2, ge=0, title="Scaling", description="of a channel, standard deviation of the factor's logarithm"
    )
    rotation: float = Field(
        20.0,
        ge=0,
        le=30,
        title="Rotation",
        description="of the channels of a sensor, standard deviation in degrees, and half of the most that "
        "it is; gravity stays about where it is",
    )
    warp: float = Field(
        0.2, ge=0, lt=0.5, title="Warp of time", description="most that a window is sped up or slowed down"
    )
    precision: Precision = Field(
        "auto",
        title="Precision",
        description="of the large matrix products in training; `auto` is bf16 where the processor has it. "
        "Evaluation is always fp32",
    )


def resolve_guided(settings: Mapping[str, Any], network: NetworkConfig = NETWORK) -> GuidedConfig:
    """The default values with some of them replaced, also those of the network and the teacher.

    Args:
        settings: by name; None leaves a value as it is. Network and teacher both take a name they share.
        network: to begin with.

    Raises:
        ConfigError: if a name is not known or a value is of the wrong kind or out of range.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    of_network, of_teacher = set(NetworkConfig.model_fields), set(PlusConfig.model_fields)
    of_training = set(GuidedConfig.model_fields) - {"network", "teacher"}
    for name in given:
        if name not in of_network | of_teacher | of_training:
            raise unknown_setting(name, of_network | of_teacher | of_training, "disc with targets=carry-over")
    return GuidedConfig(
        network=network.but(**{name: value for name, value in given.items() if name in of_network}),
        teacher=PlusConfig(**{name: value for name, value in given.items() if name in of_teacher}),
        **{name: value for name, value in given.items() if name in of_training},
    )
