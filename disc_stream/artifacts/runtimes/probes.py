"""Windows that runtimes are compared on when no recording is at hand: like motion, and at the limits."""

from __future__ import annotations

import numpy as np

from disc_stream.artifacts.manifest import Manifest
from disc_stream.types import Float32Array

N_PROBES = 256
_HUGE = 1e6
_POSTURES = 24
_CYCLES = (0.5, 12.0)  # of a movement in a window


def probe_windows(manifest: Manifest) -> Float32Array:
    """Windows (256, input_samples, C) float32 like motion, on the scale that the model was trained on.

    A posture (a level for each channel) and a periodic movement of any frequency and strength, from rest to
    several times the usual spread, with its first harmonic and noise. Equal manifests give equal windows.
    """
    random = np.random.default_rng(0)
    centre, spread = _scale_of(manifest)
    n, steps, channels = N_PROBES, manifest.window.input_samples, len(manifest.channels)
    levels = random.normal(size=(_POSTURES, 1, channels))[random.integers(_POSTURES, size=n)]
    strength = 0.02 * 150.0 ** random.uniform(size=(n, 1, 1))
    share = random.exponential(size=(n, 1, channels))
    cycles = _CYCLES[0] * (_CYCLES[1] / _CYCLES[0]) ** random.uniform(size=(n, 1, 1))
    phase = random.uniform(0.0, 2 * np.pi, size=(n, 1, channels))
    angle = 2 * np.pi * cycles * np.linspace(0.0, 1.0, steps)[:, None] + phase
    movement = np.sin(angle) + random.uniform(size=(n, 1, channels)) * np.sin(2 * angle)
    noise = 0.1 * random.normal(size=(n, steps, channels))
    z = levels + strength * share * (movement + noise) + 0.01 * noise
    windows: Float32Array = (centre + spread * z).astype(np.float32)
    return windows


def limit_windows(manifest: Manifest) -> Float32Array:
    """Windows (n, input_samples, C) float32 of sensors that rest, fail or saturate; the last one has a NaN.

    Whatever a runtime answers, it must be finite for the same of them.
    """
    steps, channels = manifest.window.input_samples, len(manifest.channels)
    random = np.random.default_rng(1)
    like = random.normal(size=(1, steps, channels))
    spike = np.zeros((1, steps, channels))
    spike[0, steps // 2] = _HUGE
    broken = like.copy()
    broken[0, steps // 2, 0] = np.nan
    limit = float(np.finfo(np.float32).max)
    parts = [
        np.zeros_like(like),
        np.ones_like(like),
        like * 1e-20,
        spike,
        like * _HUGE,
        np.full_like(like, limit),
    ]
    parts += [np.sign(like) * limit, broken]
    return np.concatenate(parts).astype(np.float32)


def _scale_of(manifest: Manifest) -> tuple[Float32Array, Float32Array]:
    """Usual value and spread of each channel (C,), by the scaler x' = (x - offset) * scale."""
    scaler = manifest.scaler
    scale = np.array(scaler.scale, dtype=np.float64)
    unit = 1.0 / np.where(scale == 0.0, 1.0, scale)
    offset = np.array(scaler.offset, dtype=np.float64)
    if scaler.kind == "minmax":  # the range becomes 0 to 1
        return (offset + 0.5 * unit).astype(np.float32), (0.15 * unit).astype(np.float32)
    return offset.astype(np.float32), unit.astype(np.float32)
