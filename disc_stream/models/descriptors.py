"""Fixed descriptors of a motion window, and the network that clusters windows by them.

Level, variance, power spectrum and correlation say what a limb does and how it is held, whatever the phase of
the movement. They are computed by matrix products, so that they run inside an exported graph.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from disc_stream.artifacts.manifest import ScalerInfo
from disc_stream.models.bounds import bounded, unless_nan
from disc_stream.models.cluster import soft_labels

# Floors, in units of a scaled channel. No formula adds one of them as it is: optimisers of exported graphs
# take a small constant for zero (onnxscript's rewriter removes sums with constants up to 1e-8), which would
# leave log(0) for a still channel. Each formula is divided by its floor, so that what is added is one.
_TINY_VARIANCE = 1e-8
_TINY_POWER = 1e-6
_TINY_DEVIATION = 1e-4  # correlations of a still channel go to 0


class Descriptors(nn.Module):
    """Descriptors of windows, all parameters fixed.

    Per channel, and per magnitude of ``axes`` channels where the channels are a multiple of that: the mean,
    the logarithm of the variance, and the logarithm of the power in ``bands`` bands of the spectrum whose
    widths grow geometrically (Hann window). Then the correlation of every pair of channels.

    Args:
        n_samples: T.
        scale: (C,) factor for each channel, usually one over its standard deviation.
        bands: most bands; short windows have fewer frequencies.
        axes: channels of one sensor.
    """

    scale: Tensor
    taper: Tensor
    cosines: Tensor
    sines: Tensor
    bands: Tensor
    first: Tensor
    second: Tensor

    def __init__(self, n_samples: int, scale: Tensor, *, bands: int = 10, axes: int = 3) -> None:
        super().__init__()
        n_channels = len(scale)
        self.n_samples = n_samples
        self.axes = axes if axes > 1 and n_channels % axes == 0 else 0
        self.register_buffer("scale", scale.detach().clone().float())
        steps = np.arange(n_samples)
        angle = 2.0 * np.pi * np.outer(np.arange(n_samples // 2 + 1), steps) / n_samples
        pairs = np.triu_indices(n_channels, 1)
        constants = {
            "taper": np.hanning(n_samples),
            "cosines": np.cos(angle),
            "sines": np.sin(angle),
            "bands": band_matrix(n_samples // 2 + 1, bands),
        }
        for name, value in constants.items():
            self.register_buffer(name, torch.from_numpy(value.astype(np.float32)))
        self.register_buffer("first", torch.from_numpy(pairs[0].astype(np.int64)))
        self.register_buffer("second", torch.from_numpy(pairs[1].astype(np.int64)))

    @property
    def n_channels(self) -> int:
        """C."""
        return len(self.scale)

    @property
    def n_descriptors(self) -> int:
        """F."""
        n_channels = self.n_channels + (self.n_channels // self.axes if self.axes else 0)
        return n_channels * (2 + len(self.bands)) + len(self.first)

    def forward(self, x: Tensor) -> Tensor:
        """Windows (B, T, C) in physical units -> descriptors (B, F), finite wherever the window is."""
        signals = bounded(x * self.scale).transpose(1, 2)  # (B, C, T)
        level, varying = _centred(signals)
        parts = [self._spectral(level, varying)]
        if self.axes:
            n_sensors = self.n_channels // self.axes
            grouped = signals.reshape(-1, n_sensors, self.axes, self.n_samples)
            # sqrt(m² + tiny)
            magnitude = torch.sqrt(grouped.square().sum(2) / _TINY_VARIANCE + 1.0) * math.sqrt(_TINY_VARIANCE)
            parts.append(self._spectral(*_centred(magnitude)))
        if len(self.first):
            parts.append(self._correlations(varying))
        return torch.cat(parts, dim=1)

    def _spectral(self, level: Tensor, varying: Tensor) -> Tensor:
        tapered = varying * self.taper
        power = (tapered @ self.cosines.t()).square() + (tapered @ self.sines.t()).square()
        spectrum = log_above(power @ self.bands.t(), _TINY_POWER)  # (B, C, bands)
        spread = log_above(varying.square().mean(2), _TINY_VARIANCE)
        return torch.cat([level, spread, spectrum.flatten(1)], dim=1)

    def _correlations(self, varying: Tensor) -> Tensor:
        deviation = torch.sqrt(varying.square().mean(2)) / _TINY_DEVIATION + 1.0
        normal = varying / _TINY_DEVIATION / deviation.unsqueeze(2)
        matrix = normal @ normal.transpose(1, 2) / self.n_samples
        return matrix[:, self.first, self.second]


def log_above(x: Tensor, floor: float) -> Tensor:
    """Log(x + floor) for x of at least 0, computed as log(x / floor + 1) + log(floor)."""
    return torch.log(x / floor + 1.0) + math.log(floor)


def _centred(signals: Tensor) -> tuple[Tensor, Tensor]:
    """(B, C, T) -> means (B, C) and the signals less their mean.

    Differences to the first sample are taken before the mean, so that a channel that does not vary has
    exactly 0 left, however far from zero it stands; rounding of the mean would look like motion.
    """
    first = signals[:, :, :1]
    moved = signals - first
    mean = moved.mean(2, keepdim=True)
    return (first + mean).squeeze(2), moved - mean


def band_matrix(n_frequencies: int, n_bands: int) -> np.ndarray:
    """Which frequency of a spectrum lies in which band: (bands, n_frequencies) of 0 and 1.

    The constant part is in no band. Borders are those of a geometric series, rounded; bands that would be
    empty are left out.
    """
    edges = np.unique(np.round(np.geomspace(1, n_frequencies, n_bands + 1)).astype(np.int64))
    frequency = np.arange(n_frequencies)
    return np.array(
        [(frequency >= low) & (frequency < high) for low, high in pairwise(edges)],
        dtype=np.float64,
    )


class DescriptorNet(nn.Module):
    """Descriptors, an affine map and the Student-t assignment in one graph; what exports trace.

    Args:
        descriptors: of a window.
        project: (F, d) from descriptors to the embedding.
        shift: (d,).
        centroids: (K, d).
    """

    centroids: Tensor

    def __init__(self, descriptors: Descriptors, project: Tensor, shift: Tensor, centroids: Tensor) -> None:
        super().__init__()
        self.descriptors = descriptors
        self.project = nn.Parameter(project.detach().clone().float())
        self.shift = nn.Parameter(shift.detach().clone().float())
        self.register_buffer("centroids", centroids.detach().clone().float())
        self.requires_grad_(False)
        self.eval()

    @property
    def scaler(self) -> ScalerInfo:
        """What is done to the channels first, for people."""
        scale = self.descriptors.scale.tolist()
        return ScalerInfo(kind="scale", offset=[0.0] * len(scale), scale=scale)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Label windows.

        Args:
            x: (B, T, C) float32 whole windows, in the channels' physical units.

        Returns:
            embedding (B, d); q (B, K), equation 13; squared Euclidean distance to each centroid (B, K).
        """
        z = unless_nan(bounded(self.descriptors(x) @ self.project + self.shift), x)
        return (z, *soft_labels(z, self.centroids))
