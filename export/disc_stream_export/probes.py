"""Synthetic windows on which an exported graph is compared with torch, beside the real windows of its run.

Sensors rest, fail and saturate. A graph that is right on windows of moving people can be wrong there, where
logarithms and quotients come near their limits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from disc_stream.types import Float32Array

HUGE = 1e6
_KINDS_OF = 8  # real windows that each kind is made from
_LIMIT = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True)
class Probe:
    """Synthetic windows of one kind.

    Args:
        kind: what they are, for messages.
        windows: (N, input_samples, C) float32, finite, in physical units.
    """

    kind: str
    windows: Float32Array


def probes(samples: Float32Array) -> Iterator[Probe]:
    """Probes of every kind.

    Args:
        samples: (N, input_samples, C) real windows, N of at least 1; equal ones give equal probes.
    """
    random = np.random.default_rng(0)
    real = samples[np.linspace(0, len(samples) - 1, min(len(samples), _KINDS_OF)).astype(int)]
    shape = (_KINDS_OF, *samples.shape[1:])
    level = samples.mean((0, 1), dtype=np.float64)
    spread = samples.std((0, 1), dtype=np.float64)
    held = np.broadcast_to(real[:, :1], real.shape)
    step = np.where(spread > 0.0, spread, 1.0)
    signs = random.choice([-1.0, 1.0], shape)
    noise = random.normal(size=shape)

    yield _probe("zeros", np.zeros((1, *samples.shape[1:])))
    yield _probe("constants", held, np.full((1, *samples.shape[1:]), -1.0), np.ones_like(held[:1]))
    yield _probe("one dead channel", *_with_dead_channel(real))
    yield _probe("one live channel", *_with_live_channel(real))
    coarse = (np.round(real / (step * n)) * step * n for n in (0.1, 1.0))
    yield _probe("coarsely quantised samples", *coarse)
    yield _probe("rest with single steps", _rest(held, 0.01 * step), _rest(np.zeros_like(held), 0.1 * step))
    yield _probe("random samples", level + spread * noise, level + step * 10.0 * noise)
    yield _probe("tiny samples", real * 1e-6, real * 1e-20)
    yield _probe("a spike", _with_spike(real, HUGE), _with_spike(real, -HUGE))
    yield _probe("huge samples", random.uniform(-HUGE, HUGE, shape), signs * HUGE, real * HUGE)
    yield _probe("huge constants", np.full(samples[:1].shape, HUGE), np.full(samples[:1].shape, -HUGE))
    yield _probe("the largest float32 values", signs * _LIMIT, np.full(samples[:1].shape, _LIMIT))


def _probe(kind: str, *parts: np.ndarray) -> Probe:
    return Probe(kind, np.concatenate([part.astype(np.float32) for part in parts]))


def _with_dead_channel(real: Float32Array) -> list[Float32Array]:
    """Each channel in turn at zero, and at its first value."""
    parts = []
    for channel in range(real.shape[2]):
        for value in (np.zeros_like(real[:, :1, channel]), real[:, :1, channel]):
            part = real.copy()
            part[:, :, channel] = value
            parts.append(part)
    return parts


def _with_live_channel(real: Float32Array) -> list[Float32Array]:
    """All channels but one at zero."""
    parts = []
    for channel in range(real.shape[2]):
        part = np.zeros_like(real)
        part[:, :, channel] = real[:, :, channel]
        parts.append(part)
    return parts


def _rest(held: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Constant windows in which one sample of each channel is a step higher."""
    rest = np.array(held, dtype=np.float64)
    channels = np.arange(rest.shape[2])
    rest[:, channels % rest.shape[1], channels] += step
    return rest


def _with_spike(real: Float32Array, height: float) -> Float32Array:
    part = real.copy()
    part[:, part.shape[1] // 2] = height
    return part
