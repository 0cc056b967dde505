"""Every hyper-parameter of a training, and the named sets of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from disc_stream.errors import ConfigError
from disc_stream.models.config import NetworkConfig
from disc_stream.models.convolutional import ConvConfig
from disc_stream.models.dense import StackedConfig

Network = NetworkConfig | StackedConfig | ConvConfig

Init = Literal["kmeans", "ward"]
ScalerKind = Literal["minmax", "zscore", "none"]
Precision = Literal["auto", "fp32", "bf16"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "scaler": ("minmax", "zscore", "none"),
    "init": ("kmeans", "ward"),
    "target": ("set", "batch"),
    "precision": ("auto", "fp32", "bf16"),
    "refine_optimizer": ("adam", "sgd"),
}


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How a network is trained.

    Args:
        network: its shape.
        scaler: normalisation per channel with the training windows' statistics.
        batch_size: windows per step, in both phases; the batches of an epoch are of nearly equal size.
        epochs: of autoencoder training.
        learning_rate: of Adam in autoencoder training.
        decay_after: share of the epochs after which the learning rate is multiplied by ``decay_factor``.
        decay_factor: see ``decay_after``.
        clip_norm: largest norm of a step's gradient; 0 for no limit.
        init: how the centroids are found on the autoencoder's embeddings.
        ward_sample: Ward is run on at most so many windows (its memory grows with their square); the
            cluster means of the sample then serve all windows.
        refine_epochs: most epochs of refinement.
        refine_learning_rate: of a fresh Adam in refinement.
        refine_optimizer: ``adam``, or ``sgd`` with a momentum of 0.9 as in DEC.
        gamma: weight of the clustering loss, equation 16.
        reconstruction: weight of the autoencoder's loss beside it; 0 for DEC.
        target: the target distribution P (equation 14) is computed over the whole ``set`` before every epoch
            in evaluation mode, or over every ``batch`` from that batch's own q.
        refresh_steps: with a target over the set, steps between two of its updates, rounded to whole epochs;
            0 for every epoch.
        tolerance: refinement stops when a smaller share of labels changes from one epoch to the next.
        precision: of the large matrix products in training; ``auto`` is bf16 for wide networks where the
            processor has it. Evaluation is always fp32.
    """

    network: Network = field(default_factory=NetworkConfig)
    scaler: ScalerKind = "minmax"
    batch_size: int = 256
    epochs: int = 100
    learning_rate: float = 1e-3
    decay_after: float = 0.7
    decay_factor: float = 0.1
    clip_norm: float = 0.0
    init: Init = "kmeans"
    ward_sample: int = 10_000
    refine_epochs: int = 200
    refine_learning_rate: float = 1e-3
    refine_optimizer: Literal["adam", "sgd"] = "adam"
    gamma: float = 0.1
    reconstruction: float = 1.0
    target: Literal["set", "batch"] = "set"
    refresh_steps: int = 0
    tolerance: float = 1e-3
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: naming the field, its value and what is possible.
        """
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name} must be one of {', '.join(choices)}, got {getattr(self, name)!r}")
        for name, least in (
            ("batch_size", 2),
            ("epochs", 1),
            ("refine_epochs", 0),
            ("ward_sample", 2),
            ("refresh_steps", 0),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be at least {least}, got {getattr(self, name)}")
        for name in ("learning_rate", "refine_learning_rate", "decay_factor"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} must be above 0 and at most 1, got {getattr(self, name)}")
        for name in ("gamma", "reconstruction", "decay_after", "tolerance"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} must be between 0 and 1, got {getattr(self, name)}")
        if not self.clip_norm >= 0.0:
            raise ConfigError(f"clip_norm must be at least 0, got {self.clip_norm}")

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return dataclasses.asdict(self)


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
    network_names = {f.name for f in dataclasses.fields(base.network)}
    training_names = {f.name for f in dataclasses.fields(TrainingConfig)} - {"network"}
    unknown = sorted(set(given) - network_names - training_names)
    if unknown:
        known = ", ".join(sorted(network_names | training_names))
        raise ConfigError(f"there is no setting {unknown[0]!r}", remedy=f"Use one of: {known}")
    for name, value in given.items():
        default = getattr(base.network if name in network_names else base, name)
        _require_type(name, value, default)
    shape = {n: tuple(v) if isinstance(v, list) else v for n, v in given.items() if n in network_names}
    network: Network = dataclasses.replace(cast("Any", base.network), **shape)
    training = {n: v for n, v in given.items() if n in training_names}
    return dataclasses.replace(base, **{"network": network, **training})


def _require_type(name: str, value: Any, default: Any) -> None:
    """A value must be of the kind of the preset's; a whole number also serves as a number."""
    kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "a word", tuple: "a list"}
    if isinstance(default, tuple):
        default, value = (), tuple(value) if isinstance(value, list) else value
    accepted = (int, float) if isinstance(default, float) else type(default)
    if not isinstance(value, accepted) or isinstance(value, bool) != isinstance(default, bool):
        wanted = kinds.get(type(default), type(default).__name__)
        raise ConfigError(f"{name} must be {wanted}, got {value!r}")
