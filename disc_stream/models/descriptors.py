"""Fixed descriptors of a motion window, and the network that clusters windows by them.

Level, variance, power spectrum and correlation say what a limb does and how it is held, whatever the phase of
the movement. They are computed by matrix products, so that they run inside an exported graph.

A float32 has 24 bits, and runtimes add up in different orders. So that neither moves a label (docs/adr/0028):

- No sum runs over what a sensor reads, only over how it changes: over differences of samples, which are exact
  or nearly so, and which each runtime rounds alike. The coefficients of the spectrum are found from the steps
  between successive samples, by summation by parts: a slow channel (gravity, pressure) has small steps, so
  that what a large slow movement leaves of rounding is far below the faint fast one on top of it.
- Levels are told from those of training, so that 101,325 Pa is not a large number.
- No formula adds a small constant. Each is divided by its floor, so that what is added is one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from disc_stream.artifacts.manifest import ScalerInfo
from disc_stream.models.bounds import unless_nan
from disc_stream.models.cluster import soft_labels

# One over the floors, which are in units of a scaled channel: of variances, of powers, of deviations (so that
# correlations of a still channel go to 0). No formula adds a floor as it is: optimisers of exported graphs
# take a small constant for zero (onnxscript's rewriter removes sums with constants up to 1e-8), which would
# leave log(0) for a still channel. These are factors that float32 holds exactly.
_PER_VARIANCE = 1e8
_PER_POWER = 1e6
_PER_DEVIATION = 1e4

FARTHEST_SAMPLE = 1e4
"""Clipping limit of scaled samples and of their differences: so many standard deviations."""

FARTHEST_EMBEDDING = 500.0
"""Clipping limit of each coordinate of an embedding, in standard deviations within clusters. Nothing that a
sensor measures comes near, and beyond it the squared distances to all clusters would agree in all digits that
float32 has."""


class Descriptors(nn.Module):
    """Descriptors of windows, all parameters fixed.

    Per channel, and per magnitude of ``axes`` channels where the channels are a multiple of that: the mean,
    the logarithm of the variance, and the logarithm of the power in ``bands`` bands of the spectrum whose
    widths grow geometrically (Hann window). Then the correlation of every pair of channels.

    Args:
        n_samples: T.
        scale: (C,) factor for each channel, usually one over its standard deviation.
        offset: (C,) in physical units, what the mean of each channel is told from; None for zero. Magnitudes
            are those of the samples as they are.
        bands: most bands; short windows have fewer frequencies.
        axes: channels of one sensor.
    """

    scale: Tensor
    offset: Tensor
    waves: Tensor
    shares: Tensor
    first: Tensor
    second: Tensor

    def __init__(
        self, n_samples: int, scale: Tensor, offset: Tensor | None = None, *, bands: int = 10, axes: int = 3
    ) -> None:
        super().__init__()
        n_channels = len(scale)
        self.n_samples = n_samples
        self.axes = axes if axes > 1 and n_channels % axes == 0 else 0
        offset = torch.zeros(n_channels) if offset is None else offset
        self.register_buffer("scale", scale.detach().clone().float())
        self.register_buffer("offset", offset.detach().clone().float())
        shares = band_matrix(n_samples // 2 + 1, bands)[:, 1:]
        self.n_bands = len(shares)
        pairs = np.triu_indices(n_channels, 1)
        constants = {
            "waves": _waves(n_samples).astype(np.float32),
            "shares": np.hstack([shares, shares]).astype(np.float32),
            "first": pairs[0].astype(np.int64),
            "second": pairs[1].astype(np.int64),
        }
        for name, value in constants.items():
            self.register_buffer(name, torch.from_numpy(value), persistent=False)

    @property
    def n_channels(self) -> int:
        """C."""
        return len(self.scale)

    @property
    def n_descriptors(self) -> int:
        """F."""
        n_channels = self.n_channels + (self.n_channels // self.axes if self.axes else 0)
        return n_channels * (2 + self.n_bands) + len(self.first)

    def forward(self, x: Tensor) -> Tensor:
        """Windows (B, T, C) in physical units -> descriptors (B, F), finite wherever the window is."""
        x, scale = _by_channel(x), self.scale.unsqueeze(1)
        start = x[:, :, :1]
        moved = _within((x - start) * scale)  # (B, C, T)
        steps = _within((x[:, :, 1:] - x[:, :, :-1]) * scale)
        varying, level = _centred(moved, _within((start.squeeze(2) - self.offset) * self.scale))
        variance = _mean_square(varying)
        parts = [self._spectral(level, variance, steps)]
        if self.axes:
            size, moved, steps = self._magnitudes(_within(x * scale), moved, steps)
            varying_size, level = _centred(moved, size[:, :, 0])
            parts.append(self._spectral(level, _mean_square(varying_size), steps))
        if len(self.first):
            parts.append(self._correlations(varying, variance))
        return torch.cat(parts, dim=1)

    def _magnitudes(self, samples: Tensor, moved: Tensor, steps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Samples (B, C, T), the same less the first, their steps -> the same three of C / axes magnitudes.

        A difference of two magnitudes is that of their squares, Σ (a - b)·(a + b), over their sum: a sensor
        that turns in the field of gravity has none, but rounding of the roots would look like one.
        """
        # sqrt(m² + tiny)
        size = torch.sqrt(self._over_axes(samples * samples) * _PER_VARIANCE + 1.0) * math.sqrt(
            1.0 / _PER_VARIANCE
        )
        from_first = self._over_axes(moved * (samples + samples[:, :, :1])) / (size + size[:, :, :1])
        sums = samples[:, :, 1:] + samples[:, :, :-1]
        return size, from_first, self._over_axes(steps * sums) / (size[:, :, 1:] + size[:, :, :-1])

    def _over_axes(self, x: Tensor) -> Tensor:
        """Sums over the axes of each sensor, (B, C, T) -> (B, C / axes, T), in the same order everywhere."""
        grouped = x.reshape(-1, self.n_channels // self.axes, self.axes, x.shape[2])
        total = grouped[:, :, 0]
        for axis in range(1, self.axes):
            total = total + grouped[:, :, axis]
        return total

    def _spectral(self, level: Tensor, variance: Tensor, steps: Tensor) -> Tensor:
        """Means and variances (B, C) and steps (B, C, T - 1) of signals -> (B, C · (2 + bands))."""
        waves = steps @ self.waves.t()
        power = (waves * waves) @ self.shares.t()  # (B, C, bands), in units of its floor
        spectrum = torch.log(power + 1.0) - math.log(_PER_POWER)
        spread = torch.log(variance * _PER_VARIANCE + 1.0) - math.log(_PER_VARIANCE)
        return torch.cat([level, spread, spectrum.flatten(1)], dim=1)

    def _correlations(self, varying: Tensor, variance: Tensor) -> Tensor:
        """Centred signals (B, C, T) and their variances (B, C) -> (B, C · (C - 1) / 2)."""
        deviation = torch.sqrt(variance * _PER_DEVIATION**2) + 1.0
        normal = varying * (_PER_DEVIATION / deviation).unsqueeze(2)
        matrix = normal @ normal.transpose(1, 2) / self.n_samples
        return matrix[:, self.first, self.second]


def _within(x: Tensor) -> Tensor:
    """``x`` clipped to ±``FARTHEST_SAMPLE``; NaN stays NaN."""
    return x.clamp(-FARTHEST_SAMPLE, FARTHEST_SAMPLE)


def _by_channel(x: Tensor) -> Tensor:
    """(B, T, C) -> (B, C, T), so that what differs by channel is one number for a row of T values.

    Runtimes take five times as long to stretch C numbers over every sample. onnxruntime moves a transposition
    behind what follows, unless that works on another shape. Hence clipping rows, which changes nothing.
    """
    rows = x.transpose(1, 2).flatten(1).clamp(-math.inf, math.inf)
    return rows.reshape(-1, x.shape[2], x.shape[1])


def _mean_square(x: Tensor) -> Tensor:
    """(B, C, T) -> (B, C)."""
    return (x * x).mean(2)


def _centred(moved: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Signals less their mean (B, C, T), and the means (B, C).

    A channel that does not vary has exactly 0 left, however far from zero it stands; rounding of its mean
    would look like motion.

    Args:
        moved: (B, C, T) signals less their first sample.
        start: (B, C) the first sample.
    """
    mean = moved.mean(2, keepdim=True)
    return moved - mean, start + mean.squeeze(2)


def _waves(n_samples: int) -> np.ndarray:
    """From the steps of a signal to the coefficients of its spectrum, (2 · (T // 2), T - 1).

    With v_t = w_t·cos(ωt) less its mean (w is the Hann window; then likewise with the sine), the coefficient
    Σ v_t·x_t of the centred signal equals -Σ V_t·(x_{t+1} - x_t), where V_t is the sum of v up to t: V is 0
    at the end, since the mean was taken off. Rows are divided by the square root of the floor of powers.
    """
    angle = 2.0 * np.pi * np.outer(np.arange(1, n_samples // 2 + 1), np.arange(n_samples)) / n_samples
    tapered = np.vstack([np.cos(angle), np.sin(angle)]) * np.hanning(n_samples)
    tapered -= tapered.mean(1, keepdims=True)
    found: np.ndarray = -np.cumsum(tapered, axis=1)[:, :-1] * math.sqrt(_PER_POWER)
    return found


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

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor], n_samples: int, *, bands: int, axes: int) -> DescriptorNet:
        """The network with the weights of a ``state_dict``, also of one that holds older versions' constants.

        Raises:
            KeyError: if a weight is missing.
            RuntimeError: if the weights do not fit one another or the settings.
        """
        scale = state["descriptors.scale"]
        offset = state.get("descriptors.offset", torch.zeros_like(scale))
        project, shift, centroids = (state[name] for name in ("project", "shift", "centroids"))
        descriptors = Descriptors(n_samples, scale, offset, bands=bands, axes=axes)
        wanted = (descriptors.n_descriptors, centroids.shape[-1])
        if offset.shape != scale.shape or project.shape != wanted or shift.shape != wanted[1:]:
            raise RuntimeError(
                f"an affine map of {tuple(project.shape)} and {tuple(shift.shape)} where {wanted} is needed"
            )
        return cls(descriptors, project, shift, centroids)

    @property
    def scaler(self) -> ScalerInfo:
        """What is done to the channels first, for people."""
        offset, scale = self.descriptors.offset.tolist(), self.descriptors.scale.tolist()
        return ScalerInfo(kind="scale", offset=offset, scale=scale)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Label windows.

        Args:
            x: (B, T, C) float32 whole windows, in the channels' physical units.

        Returns:
            embedding (B, d); q (B, K), equation 13; squared Euclidean distance to each centroid (B, K).
        """
        z = self.descriptors(x) @ self.project + self.shift
        z = unless_nan(z.clamp(-FARTHEST_EMBEDDING, FARTHEST_EMBEDDING), x)
        return (z, *soft_labels(z, self.centroids))
