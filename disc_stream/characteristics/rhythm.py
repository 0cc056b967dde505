"""How often and how regularly a motion repeats itself, from its autocorrelation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FASTEST_HZ = 4.0
"""More steps a second than anybody makes; shorter periods are vibration."""

SLOWEST_HZ = 0.7

_MOST_OF_A_WINDOW = 0.75  # the longest lag: beyond it too few pairs of samples are left
# Successive steps differ (left and right, heel and toe), so a step's peak is lower than a stride's: it counts
# as the period if it has this share of the highest peak.
_FIRST_PEAK = 0.6
# A sensor on one leg feels that leg's steps more: the highest peak is at a stride. With half as much power at
# twice the frequency as at the frequency itself, the autocorrelation at half the lag is -1/3; a motion to and
# fro without steps in it, such as a turn of a crank, is below.
_STEPS_WITHIN, _FASTEST_STEPS_HZ = -0.25, 3.4


class Rhythm(NamedTuple):
    """What the autocorrelation of windows says; NaN where it has no peak.

    Args:
        hz: (n,) repetitions per second: steps where people walk.
        regularity: (n,) height of the highest peak, up to 1.
        step: (n,) height of the peak at one repetition.
        stride: (n,) height at two repetitions.
        half: (n,) height at half a repetition; below 0 where the motion goes to and fro.
    """

    hz: Floats
    regularity: Floats
    step: Floats
    stride: Floats
    half: Floats


def rhythm(signal: Floats, fs: float) -> Rhythm:
    """Period and regularity of windows by the unbiased autocorrelation.

    The first dominant peak is at one step, the second at one stride, and their heights are the regularity of
    steps and strides (Moe-Nilssen and Helbostad 2004, doi:10.1016/S0021-9290(03)00233-1). The columns'
    autocorrelations are added up before they are normalised, which makes the result the same however a
    sensor is turned.

    Args:
        signal: (n, T, c), such as the magnitude of acceleration (c = 1).
        fs: samples per second.
    """
    r = autocorrelation(signal)
    first = max(2, round(fs / FASTEST_HZ))
    last = min(round(fs / SLOWEST_HZ), int(_MOST_OF_A_WINDOW * signal.shape[1])) - 1
    nothing = np.full(len(signal), np.nan)
    if last - first < 2 or len(signal) == 0:
        return Rhythm(*([nothing] * 5))
    middle = r[:, first:last]
    is_peak = (middle > r[:, first - 1 : last - 1]) & (middle >= r[:, first + 1 : last + 1]) & (middle > 0)
    height = np.where(is_peak, middle, -np.inf)
    highest = height.max(1)
    chosen = np.argmax(height >= _FIRST_PEAK * highest[:, None], axis=1) + first
    found = np.isfinite(highest)
    lag = _between_samples(r, chosen)
    is_stride = (_at(r, lag / 2) > _STEPS_WITHIN) & (2 * fs / lag <= _FASTEST_STEPS_HZ)
    lag = np.where(is_stride, lag / 2, lag)
    return Rhythm(
        np.where(found, fs / lag, np.nan),
        np.where(found, highest, 0.0),
        np.where(found, _at(r, lag), 0.0),
        np.where(found, _at(r, 2 * lag), np.nan),
        np.where(found, _at(r, lag / 2), np.nan),
    )


def autocorrelation(signal: Floats) -> Floats:
    """Unbiased autocorrelation of windows (n, T, c) about their mean, all columns together: (n, T).

    1 at lag 0; 0 throughout for a window that does not vary.
    """
    n = signal.shape[1]
    moved = signal - signal.mean(1, keepdims=True)
    spectrum = np.fft.rfft(moved, 2 * n, axis=1)
    power = np.square(np.abs(spectrum)).sum(2)
    r = np.fft.irfft(power, axis=1)[:, :n] / (n - np.arange(n))
    zero: Floats = r[:, :1]
    out: Floats = np.divide(r, zero, out=np.zeros_like(r), where=zero > 1e-12)
    return out


def _between_samples(r: Floats, lag: npt.NDArray[np.intp]) -> Floats:
    """The top of the parabola through a peak and its two neighbours, as a lag."""
    rows = np.arange(len(r))
    left, top, right = r[rows, lag - 1], r[rows, lag], r[rows, lag + 1]
    bend = left - 2 * top + right
    shift = np.divide(left - right, 2 * bend, out=np.zeros_like(bend), where=np.abs(bend) > 1e-12)
    out: Floats = lag + np.clip(shift, -0.5, 0.5)
    return out


def _at(r: Floats, lag: Floats) -> Floats:
    """Values at lags between samples; NaN beyond what was computed reliably."""
    low = np.floor(lag).astype(np.intp)
    part = lag - low
    inside = low + 1 < int(r.shape[1] * 0.9)
    low = np.where(inside, low, 0)
    rows = np.arange(len(r))
    value = r[rows, low] * (1 - part) + r[rows, low + 1] * part
    return np.where(inside, value, np.nan)
