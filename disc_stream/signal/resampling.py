"""Resampling of streams, without seams: samples in chunks give exactly what they give at once.

Polyphase windowed-sinc interpolation (Crochiere and Rabiner, Multirate Digital Signal Processing, 1983,
chapters 2 and 4; Kaiser, Nonrecursive digital filter design using the I0-sinh window function, 1974).
Frequencies below are in the slower of the two rates' Nyquist frequencies:

=================  ==========================================================
0 to 0.8           passed, within 0.1 dB
0.8 to 1.1         transition; what folds from here lands above 0.9
1.1 and above      stopped, by at least 60 dB
=================  ==========================================================

The filter is symmetric and its delay is compensated: output k lies at input position k · down / up, the first
output at the first sample. What remains is a wait: an output is known ``delay_samples`` inputs after its
place, 0.24 s at 50 Hz. A sharper filter would wait longer, and a label should not.

The ratio of the rates is taken as up / down, which is exact for the usual pairs (98 to 50 Hz is 25 / 49)
and else within ``RATE_ERROR``, less than a crystal is off by. Every phase of the filter adds up to one, so
a constant stays what it is.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np

from disc_stream.types import Float32Array

HALF_LENGTH = 12
"""Zero crossings of the sinc to either side, in samples of the slower rate."""

RATE_ERROR = 1e-4
"""Largest relative difference between the ratio of the rates and up / down."""

RATE_TOLERANCE = 0.01
"""Relative; real sensors differ from their nominal rate by about this much, and are taken as they are."""

_BETA = 5.65  # Kaiser's formula for 60 dB: 0.1102 · (60 − 8.7)
_CENTRE = 0.94  # in slower Nyquist frequencies: where the filter has fallen to a half
_MIN_RATIO, _MAX_RATIO = Fraction(1, 256), Fraction(16)  # of fs_out / fs_in: bounds the tables
_PHASES = (16, 32, 64, 128, 256, 512)  # the last gives RATE_ERROR for every ratio that is taken

ResamplerState = tuple[int, int, int, int, int, Float32Array]


def is_identity(fs_in: float, fs_out: float, tolerance: float = 0.0) -> bool:
    """Whether two rates are the same, so that nothing is to be resampled.

    Args:
        fs_in: a rate in Hz.
        fs_out: another.
        tolerance: largest difference, relative to ``fs_out``.
    """
    return abs(fs_in - fs_out) <= tolerance * fs_out


def new_resampler(fs: float, fs_out: float, n_channels: int) -> StreamResampler | None:
    """What turns ``fs`` into ``fs_out``; None where they are the same within ``RATE_TOLERANCE``.

    Raises:
        ValueError: if one cannot be turned into the other.
    """
    return None if is_identity(fs, fs_out, RATE_TOLERANCE) else StreamResampler(fs, fs_out, n_channels)


def resample(samples: Float32Array, fs_in: float, fs_out: float) -> Float32Array:
    """Resample a whole recording; its first and last sample are repeated beyond its ends.

    Args:
        samples: (n, C) float32.
        fs_in: their rate in Hz.
        fs_out: rate wanted, in Hz.

    Returns:
        (m, C) float32 with m = ceil(n · up / down).

    Raises:
        ValueError: if a rate or the shape of ``samples`` is not usable.
    """
    if samples.ndim != 2:
        raise ValueError(f"samples must be (n, n_channels), got shape {samples.shape}")
    resampler = StreamResampler(fs_in, fs_out, samples.shape[1])
    if not len(samples):
        return resampler.push(samples)
    tail = np.repeat(samples[-1:], resampler.delay_samples, axis=0)
    return np.concatenate([resampler.push(samples), resampler.push(tail)])


class StreamResampler:
    """Resamples one stream. Streams of one ratio share their filter; each keeps its last samples only.

    Args:
        fs_in: rate of the stream in Hz.
        fs_out: rate wanted, in Hz; 1/256 to 16 times ``fs_in``.
        n_channels: columns of every chunk.

    Raises:
        ValueError: if an argument is not usable.
    """

    __slots__ = ("_down", "_first", "_given", "_history", "_received", "_table", "_up", "n_channels")

    def __init__(self, fs_in: float, fs_out: float, n_channels: int) -> None:
        if n_channels < 1:
            raise ValueError(f"n_channels must be at least 1, got {n_channels}")
        self.n_channels = n_channels
        self._up, self._down = _ratio(fs_in, fs_out)
        self._table = _taps(self._up, self._down)
        self._history = np.empty((n_channels, 0), dtype=np.float32)
        self._first = 0  # input index of the first sample in the history
        self._received = 0  # input samples so far
        self._given = 0  # output samples so far

    @property
    def step(self) -> float:
        """Input samples between two outputs."""
        return self._down / self._up

    @property
    def delay_samples(self) -> int:
        """Input samples beyond an output's place that must have come before it is given."""
        return int(self._table.shape[1]) // 2

    def input_time_of(self, output: int) -> float:
        """Place of an output sample among the input samples, both counted from 0."""
        return output * self._down / self._up

    def push(self, samples: Float32Array) -> Float32Array:
        """Take the next samples and return the outputs they complete.

        Args:
            samples: (n, C) float32, following the last ones without a gap.

        Returns:
            (m, C) float32.

        Raises:
            ValueError: if ``samples`` has another shape.
        """
        if samples.ndim != 2 or samples.shape[1] != self.n_channels:
            raise ValueError(f"samples must be (n, {self.n_channels}), got shape {samples.shape}")
        if not len(samples):
            return np.empty((0, self.n_channels), dtype=np.float32)
        buffer = self._append(samples)
        # Output k needs the inputs up to floor(k · down / up) + half.
        half = self.delay_samples
        ready = max(self._given, -(-(self._received - half) * self._up // self._down))
        out = self._convolve(buffer, ready)
        self._given = ready
        oldest = ready * self._down // self._up - half + 1  # input that the next output needs
        keep = min(max(0, oldest - self._first), buffer.shape[1])
        self._history = buffer[:, keep:].copy()
        self._first += keep
        return out

    def state(self) -> ResamplerState:
        """Everything the next outputs depend on, to be restored; it must not be written to."""
        return self._up, self._down, self._first, self._received, self._given, self._history

    def restore(self, state: ResamplerState) -> None:
        """Continue where ``state`` was taken, in a resampler of the same rates and channels.

        Raises:
            ValueError: if the state is of other rates or channels.
        """
        up, down, first, received, given, history = state
        if (up, down) != (self._up, self._down):
            raise ValueError(f"state must be of ratio {self._up}/{self._down}, got {up}/{down}")
        if history.ndim != 2 or len(history) != self.n_channels:
            raise ValueError(f"state must have history ({self.n_channels}, n), got {history.shape}")
        self._first, self._received, self._given, self._history = first, received, given, history

    def _append(self, samples: Float32Array) -> Float32Array:
        """(C, ·): what is kept and what has come."""
        if not self._received:
            # What was before the first sample is not known. The same again is a better guess than zero:
            # gravity would begin with a step, which rings on into the first second.
            history = np.repeat(samples[:1].T, self.delay_samples - 1, axis=1)
            self._first = 1 - self.delay_samples
        else:
            history = self._history
        kept = history.shape[1]
        buffer = np.empty((self.n_channels, kept + len(samples)), dtype=np.float32)
        buffer[:, :kept] = history
        buffer[:, kept:] = samples.T
        self._received += len(samples)
        return buffer

    def _convolve(self, buffer: Float32Array, ready: int) -> Float32Array:
        """Outputs from ``_given`` to ``ready``.

        Each is one sum over contiguous taps, added up in an order that depends on their number only: not on
        the chunk, as in a matrix product, whose kernels depend on its shape. Hence no seams, to the last bit.
        """
        n = ready - self._given
        if not n:
            return np.empty((0, self.n_channels), dtype=np.float32)
        taps = self._table.shape[1]
        places = np.arange(self._given * self._down, ready * self._down, self._down, dtype=np.int64)
        whole, phase = np.divmod(places, self._up)
        starts = whole - (taps // 2 - 1 + self._first)
        row, item = buffer.strides
        shape = (self.n_channels, buffer.shape[1] - taps + 1, taps)
        windows = np.ndarray(shape, np.float32, buffer, strides=(row, item, item))
        products = windows.take(starts, axis=1)
        products *= self._table.take(phase, axis=0)
        out: Float32Array = np.add.reduce(products, axis=2).T
        return np.ascontiguousarray(out)


@lru_cache(maxsize=256)
def _ratio(fs_in: float, fs_out: float) -> tuple[int, int]:
    """fs_out / fs_in as up / down with few phases, off by at most ``RATE_ERROR``."""
    for name, fs in (("fs_in", fs_in), ("fs_out", fs_out)):
        if not 0.0 < fs < math.inf:
            raise ValueError(f"{name} must be a rate above 0 Hz, got {fs}")
    exact = Fraction(fs_in) / Fraction(fs_out)
    if not _MIN_RATIO <= 1 / exact <= _MAX_RATIO:
        raise ValueError(f"fs_out must be 1/256 to 16 times fs_in ({fs_in} Hz), got {fs_out} Hz")
    found = exact
    for phases in _PHASES:
        found = exact.limit_denominator(phases)
        if abs(found - exact) <= Fraction(RATE_ERROR) * exact:
            break
    return found.denominator, found.numerator


@lru_cache(maxsize=64)
def _taps(up: int, down: int) -> Float32Array:
    """(up, taps) float32: the filter of each phase."""
    slower = min(1.0, up / down)
    half = math.ceil(HALF_LENGTH / slower)
    offsets = np.arange(1 - half, half + 1)[None, :] - np.arange(up)[:, None] / up  # input samples
    window = np.i0(_BETA * np.sqrt(np.maximum(0.0, 1.0 - np.square(offsets / half))))
    taps = np.sinc(_CENTRE * slower * offsets) * window
    taps /= taps.sum(axis=1, keepdims=True)
    table: Float32Array = taps.astype(np.float32)
    table.setflags(write=False)
    return table
