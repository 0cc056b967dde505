"""Sizes of the guided network: named shapes, and what each needs, known before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass

from disc_stream.models.autoencoder import half
from disc_stream.models.config import NetworkConfig
from disc_stream.models.described import Described
from disc_stream.training.guided.config import NETWORK

_DIRECTIONS = 2
_GATES = 3
_FLOAT_BYTES = 4

SIZES: dict[str, NetworkConfig] = {
    "full": NetworkConfig(hidden=96, frame=8, embedding=32, decoder_hidden=64),
    "medium": NetworkConfig(hidden=48, frame=8, embedding=32, decoder_hidden=32),
    "small": NETWORK,
    "tiny": NETWORK.but(hidden=24, frame=8),
    "micro": NETWORK.but(hidden=12, frame=8),
}
"""The ladder, from the largest on (ADR 0029)."""

DEFAULT_SIZE = "small"
_PRESET = "guided"

PRESET_OF_SIZE: dict[str, str] = {
    name: _PRESET if name == DEFAULT_SIZE else f"{_PRESET}-{name}" for name in SIZES
}
"""What ``run.json`` calls each as a preset of ``disc``: a retraining takes it over."""

SIZE_OF_PRESET: dict[str, str] = {preset: name for name, preset in PRESET_OF_SIZE.items()}


def is_smaller(size: str) -> bool:
    """Whether a size is below the default one: its agreement with the teacher is then measured."""
    names = list(SIZES)
    return names.index(size) > names.index(DEFAULT_SIZE)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a network needs where it runs.

    Args:
        kib: of weights of the encoder and of the descriptors' transform and map, in float32, without
            centroids, normalisation and the file's frame.
        mmac_half: million multiply-adds of its matrix products for a half window.
        mmac_whole: the same for a whole window.
    """

    kib: float
    mmac_half: float
    mmac_whole: float


def cost_of(network: NetworkConfig, n_samples: int, n_channels: int) -> Cost:
    """What the encoder of a network needs.

    Args:
        network: its shape. Convolutions count as the matrices that they are where the network is used.
        n_samples: T of a whole window.
        n_channels: C.

    Raises:
        ConfigError: if the channels do not fill the layout.
    """
    rows, columns = network.grid(n_channels)
    hidden = network.hidden * rows * columns
    inputs, step, biases = network.frame * n_channels, 0, 0
    for _ in range(network.layers):
        step += _DIRECTIONS * _GATES * hidden * (inputs + hidden)
        biases += _DIRECTIONS * 2 * _GATES * hidden
        inputs = _DIRECTIONS * hidden
    last = inputs * network.embedding
    weights = step + biases + last + network.embedding

    beside, each_half = descriptors_of(network, n_samples, n_channels)
    weights += beside

    def mmac(samples: int, halves: int) -> float:
        return (-(-samples // network.frame) * step + last + halves * each_half) / 1e6

    return Cost(weights * _FLOAT_BYTES / 1024, mmac(half(n_samples), 1), mmac(n_samples, 2))


def descriptors_of(network: NetworkConfig, n_samples: int, n_channels: int) -> tuple[int, int]:
    """Constants of the descriptors of half a window and their map, and multiply-adds for each half."""
    found = Described(n_samples, n_channels, network.embedding, axes=network.axes).descriptors
    axes, mapped = found.axes, found.n_descriptors * network.embedding
    spectra = n_channels + (n_channels // axes if axes else 0)
    transform = found.waves.numel() + found.shares.numel()
    pairs = n_channels**2 * half(n_samples)
    return transform + mapped + network.embedding, spectra * transform + pairs + mapped
