"""A trained autoencoder to share between methods, in memory and as a file."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes

from disc_stream.artifacts.manifest import ScalerInfo
from disc_stream.errors import ConfigError, TrainingError
from disc_stream.training.checkpoint import State
from disc_stream.training.files import replace_file
from disc_stream.training.presets import TrainingConfig

_META = "disc-stream.pretrained"
# Fields of a configuration that only refinement reads.
_LATER = {
    "init", "ward_sample", "refine_epochs", "refine_learning_rate", "refine_optimizer", "gamma",
    "reconstruction", "target", "refresh_steps", "tolerance",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pretrained:
    """An autoencoder after stage 1.

    Args:
        identity: family, seed and fingerprint of the windows.
        state: its weights.
        scaler: normalisation of its windows.
        history: one entry per epoch.
        config: hyper-parameters as JSON.
    """

    identity: dict[str, Any]
    state: State
    scaler: ScalerInfo
    history: list[dict[str, Any]] = field(repr=False)
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Its training took."""
        return float(sum(entry["seconds"] for entry in self.history))

    def require(self, identity: dict[str, Any], config: TrainingConfig) -> None:
        """Check that this is what a training with ``identity`` would have come to by itself.

        Raises:
            ConfigError: naming the first difference.
        """
        wanted = {**identity, "config": stage_one(config.to_dict())}
        mine = {**self.identity, "config": stage_one(self.config)}
        for name, value in json.loads(json.dumps(wanted)).items():
            if json.loads(json.dumps(mine)).get(name) != value:
                raise ConfigError(f"the pretrained autoencoder differs in {name}", remedy="Train it again")

    def save(self, path: Path) -> None:
        """Write it as one safetensors file.

        Raises:
            TrainingError: if the disk does not take it.
        """
        facts = {
            "identity": self.identity, "scaler": self.scaler.model_dump(), "history": self.history,
            "config": self.config,
        }  # fmt: skip
        tensors = {name: value.contiguous() for name, value in self.state.items()}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, to_bytes(tensors, metadata={_META: json.dumps(facts)}))
        except OSError as error:
            raise TrainingError(
                f"the autoencoder cannot be written to {str(path)!r}: {error.strerror or error}",
                remedy="Check space and permissions there",
            ) from error

    @classmethod
    def load(cls, path: Path) -> Pretrained:
        """Read what ``save`` wrote.

        Raises:
            TrainingError: if it cannot be read.
        """
        try:
            with safe_open(path, framework="pt") as handle:
                facts = json.loads(handle.metadata()[_META])
                state = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - no mapping
            scaler = ScalerInfo.model_validate(facts["scaler"])
            return cls(facts["identity"], state, scaler, facts["history"], facts["config"])
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise TrainingError(
                f"the pretrained autoencoder {str(path)!r} cannot be read",
                remedy="Remove it, to train it again",
            ) from error


def stage_one(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a configuration that the autoencoder's training depends on."""
    return {name: value for name, value in config.items() if name not in _LATER}
