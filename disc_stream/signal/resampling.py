"""Resampling of streams, without seams: samples in chunks give exactly what they give at once.

Polyphase windowed-sinc interpolation (Crochiere and Rabiner, Multirate Digital Signal Processing, 1983) with
a Kaiser window. Output k lies at input position k · fs_in / fs_out: the filter's delay is taken out, so times
stay right, and a stream needs ``HALF_LENGTH`` samples of the slower rate beyond an output to give it.

The window is 12 zero crossings to either side with β = 5.65 (60 dB): flat up to three quarters of the slower
rate's Nyquist frequency, closed at 1.05 of it. Sharper filters wait longer; a label should not.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np

from disc_stream.types import Float32Array

HALF_LENGTH = 12
"""Zero crossings of the sinc to either side, in samples of the slower rate."""

_BETA = 5.65  # Kaiser: 60 dB
_CENTRE = 0.9  # of the slower Nyquist frequency: where the filter has fallen to a half
_MOST_PHASES = 512
_RATE_ERROR = 1e-4  # of the rational ratio, relative; real clocks differ by as much


def resample(samples: Float32Array, fs_in: float, fs_out: float) -> Float32Array:
    """Resample a whole recording; its end is treated as if the last sample went on.

    Args:
        samples: (n, C) float32.
        fs_in: their rate in Hz.
        fs_out: rate wanted, in Hz.

    Returns:
        (m, C) float32 with m = ceil(n · fs_out / fs_in).

    Raises:
        ValueError: if a rate is not positive, or ``samples`` is not two-dimensional.
    """
    if samples.ndim != 2:
        raise ValueError(f"samples must be (n, C), got shape {samples.shape}")
    resampler = StreamResampler(fs_in, fs_out, samples.shape[1])
    if not len(samples):
        return np.empty((0, samples.shape[1]), dtype=np.float32)
    tail = np.repeat(samples[-1:], resampler.lookahead, axis=0)
    out = np.concatenate([resampler.push(samples), resampler.push(tail)])
    return out[: math.ceil(len(samples) / resampler.step)]


class StreamResampler:
    """Resamples one stream.

    Args:
        fs_in: rate of the stream in Hz.
        fs_out: rate wanted, in Hz.
        n_channels: columns of every chunk.

    Raises:
        ValueError: if a rate is not positive and finite.
    """

    def __init__(self, fs_in: float, fs_out: float, n_channels: int) -> None:
        for name, fs in (("fs_in", fs_in), ("fs_out", fs_out)):
            if not 0.0 < fs < math.inf:
                raise ValueError(f"{name} must be a positive rate in Hz, got {fs}")
        self.n_channels = n_channels
        self._up, self._down = _ratio(fs_in, fs_out)
        self._table = _taps(self._up, self._down)
        self._half = self._table.shape[1] // 2
        self._history = np.empty((0, n_channels), dtype=np.float32)
        self._first = 0  # input index of the first sample in the history
        self._received = 0  # input samples so far
        self._given = 0  # output samples so far

    @property
    def step(self) -> float:
        """Input samples between two outputs."""
        return self._down / self._up

    @property
    def lookahead(self) -> int:
        """Input samples beyond an output that it needs: the delay of the stream."""
        return int(self._half)

    def input_time_of(self, output: int) -> float:
        """Place of an output sample among the input samples, counted from 0."""
        return float(output * self._down / self._up)

    def push(self, samples: Float32Array) -> Float32Array:
        """Take the next samples and return the outputs they complete.

        Args:
            samples: (n, C) float32, following the last ones without a gap.

        Returns:
            (m, C) float32.
        """
        if not len(samples):
            return np.empty((0, self.n_channels), dtype=np.float32)
        if not self._received:  # before the first sample there was, for all we know, the same
            self._history = np.repeat(samples[:1], self._half - 1, axis=0)
            self._first = -(self._half - 1)
        buffer = np.concatenate([self._history, samples])
        self._received += len(samples)
        # Output k needs the inputs up to floor(k · down / up) + half.
        ready = max(0, -(-(self._received - self._half) * self._up // self._down))
        places = np.arange(self._given, ready, dtype=np.int64) * self._down
        whole, phase = np.divmod(places, self._up)
        self._given = max(self._given, ready)
        out = self._convolve(buffer, whole, phase)
        oldest = self._given * self._down // self._up - self._half + 1
        drop = min(max(0, oldest - self._first), len(buffer))
        self._history = buffer[drop:].copy()
        self._first += drop
        return out

    def _convolve(
        self, buffer: Float32Array, whole: np.ndarray[tuple[int], np.dtype[np.int64]],
        phase: np.ndarray[tuple[int], np.dtype[np.int64]],
    ) -> Float32Array:  # fmt: skip
        """Each output by one sum over its taps, in the same order whatever the chunk: hence no seams."""
        if not len(whole):
            return np.empty((0, self.n_channels), dtype=np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(buffer, 2 * self._half, axis=0)  # (·, C, taps)
        products = windows[whole - self._half + 1 - self._first] * self._table[phase][:, None, :]
        out: Float32Array = np.ascontiguousarray(products).sum(axis=2, dtype=np.float32)
        return out

    def state(self) -> tuple[int, int, int, Float32Array]:
        """Everything the next outputs depend on, to continue from elsewhere."""
        return self._first, self._received, self._given, self._history

    def restore(self, state: tuple[int, int, int, Float32Array]) -> None:
        """Go on where ``state`` was taken, in a resampler of the same rates."""
        self._first, self._received, self._given, self._history = state


@lru_cache(maxsize=256)
def _ratio(fs_in: float, fs_out: float) -> tuple[int, int]:
    """fs_out / fs_in as up / down with few phases, off by at most ``_RATE_ERROR``."""
    exact = Fraction(fs_out) / Fraction(fs_in)
    for phases in (1, 2, 4, 8, 16, 32, 64, 128, 256, _MOST_PHASES):
        # limit_denominator bounds the denominator: the phases are the numerator, so it is turned round.
        found = (
            1 / (1 / exact).limit_denominator(phases) if exact < phases else exact.limit_denominator(phases)
        )
        if abs(found - exact) <= _RATE_ERROR * exact:
            break
    return found.numerator, found.denominator


@lru_cache(maxsize=64)
def _taps(up: int, down: int) -> Float32Array:
    """(up, taps): the filter of each phase; a constant stays what it is in every one."""
    slower = min(1.0, up / down)
    half = math.ceil(HALF_LENGTH / slower)
    offsets = np.arange(-half + 1, half + 1)[None, :] - np.arange(up)[:, None] / up  # input samples
    cutoff = _CENTRE * slower
    window = np.i0(_BETA * np.sqrt(np.maximum(0.0, 1.0 - np.square(offsets / half)))) / np.i0(_BETA)
    taps = cutoff * np.sinc(cutoff * offsets) * window
    taps /= taps.sum(axis=1, keepdims=True)
    table: Float32Array = taps.astype(np.float32)
    table.setflags(write=False)
    return table
