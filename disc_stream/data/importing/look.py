"""What a recording looks like: envelopes, gaps, rate, when it was not worn, and gravity at rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from disc_stream.data.importing.build import Loaded
from disc_stream.data.series import Series
from disc_stream.signal.nonwear import SD_MG, van_hees_nonwear
from disc_stream.signal.units import STANDARD_GRAVITY, conversion_factor

Floats = npt.NDArray[np.float64]
_BLOCK_S = 900.0
_REST_OFF = (
    0.05  # relative: a sensor whose gravity is further from 1 g is not calibrated, or its unit is wrong
)
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Look:
    """One recording.

    Args:
        name: of the recording.
        words: what the plan says of it.
        rate: samples a second by its clock.
        seconds: from its beginning to its end, gaps included.
        channels: names with units.
        low: (C, columns) smallest value of each piece of time; NaN in gaps.
        high: (C, columns) largest value.
        gaps: (begin, end) in seconds.
        not_worn: (begin, end) in seconds.
        rest_s: seconds at rest.
        rest_g: median magnitude of acceleration at rest in g; None where it never rests.
    """

    name: str
    words: list[str]
    rate: float
    seconds: float
    channels: tuple[str, ...]
    low: Floats
    high: Floats
    gaps: list[tuple[float, float]]
    not_worn: list[tuple[float, float]]
    rest_s: float
    rest_g: float | None

    def rest_words(self) -> str:
        """Gravity at rest, beside what it should be."""
        if self.rest_g is None:
            return "at rest: never, or no accelerometer with three axes"
        off = abs(self.rest_g - 1) > _REST_OFF
        verdict = "which is not 1 g: check the unit, or calibrate" if off else "1 g is expected"
        return f"at rest ({self.rest_s:.0f} s): {self.rest_g:.3f} g; {verdict}"

    def lines(self) -> list[str]:
        """For a terminal: one bar a piece of time, its height the range of the channel there."""
        out = [f"{self.name}: {self.seconds:.1f} s, {self.rate:.6g} samples/s"]
        width = max(map(len, self.channels))
        for name, low, high in zip(self.channels, self.low, self.high, strict=True):
            bars = _bars(low, high)
            out.append(f"  {name:<{width}} {np.nanmin(low):>9.3g} … {np.nanmax(high):<9.3g} {bars}")
        if self.not_worn:
            total = sum(end - begin for begin, end in self.not_worn)
            out.append(f"  not worn: {total / 60:.0f} min in {len(self.not_worn)} stretches")
        if self.gaps:
            out.append(f"  gaps: {len(self.gaps)}, {sum(e - b for b, e in self.gaps):.1f} s (blank above)")
        return [*out, f"  {self.rest_words()}", *(f"  {words}" for words in self.words)]

    def to_json(self) -> dict[str, object]:
        """For programs."""
        return {
            "name": self.name,
            "fs": self.rate,
            "seconds": round(self.seconds, 3),
            "channels": list(self.channels),
            "gaps": [[round(b, 3), round(e, 3)] for b, e in self.gaps],
            "not_worn": [[b, e] for b, e in self.not_worn],
            "rest_seconds": round(self.rest_s, 2),
            "rest_g": None if self.rest_g is None else round(self.rest_g, 4),
            "words": self.words,
        }


def _bars(low: Floats, high: Floats) -> str:
    span = high - low
    most = float(np.nanmax(span))
    scaled = np.nan_to_num(span / most if most else span) * (len(_BARS) - 1)
    return "".join(" " if np.isnan(s) else _BARS[round(float(v))] for s, v in zip(span, scaled, strict=True))


def look_at_recordings(loaded: Loaded, columns: int = 72) -> list[Look]:
    """What recordings look like.

    Args:
        loaded: as they were made.
        columns: pieces of time of the envelopes.
    """
    return [
        _look(Series(planned.name, tuple(parts)), planned.words(), planned.rate, columns)
        for planned, parts in zip(loaded.plan.recordings, loaded.recordings, strict=True)
    ]


def _look(series: Series, words: list[str], rate: float, columns: int) -> Look:
    starts = [us / 1e6 for us in series.starts_us()]
    ends = [begin + len(part.samples) / rate for begin, part in zip(starts, series.parts, strict=True)]
    seconds = ends[-1]
    channels = series.parts[0].channels
    columns = max(1, min(columns, int(seconds * rate / 3)))  # no piece of time without a sample
    low = np.full((len(channels), columns), np.nan)
    high = low.copy()
    not_worn: list[tuple[float, float]] = []
    rest: list[Floats] = []
    for begin, part in zip(starts, series.parts, strict=True):
        place = np.minimum(
            ((begin + np.arange(len(part.samples)) / rate) / seconds * columns).astype(int), columns - 1
        )
        edges = np.flatnonzero(np.diff(place, prepend=-1))
        at = place[edges]
        values = part.samples.astype(np.float64)
        low[:, at] = np.fmin(low[:, at], np.minimum.reduceat(values, edges).T)
        high[:, at] = np.fmax(high[:, at], np.maximum.reduceat(values, edges).T)
        mg = _in_mg([c.name for c in channels], [c.unit for c in channels], values)
        if mg is not None:
            blocks = van_hees_nonwear(mg, rate)
            not_worn += [
                (begin + n * _BLOCK_S, begin + (n + 1) * _BLOCK_S) for n in np.flatnonzero(blocks).tolist()
            ]
            rest.append(_at_rest(mg, rate))
    quiet = np.concatenate(rest) if rest else np.empty(0)
    return Look(
        series.name, words, rate, seconds, tuple(f"{c.name} [{c.unit}]" for c in channels), low, high,
        [(e, b) for e, b in zip(ends, starts[1:], strict=False) if b > e], not_worn, float(len(quiet)),
        float(np.median(quiet)) if len(quiet) else None,
    )  # fmt: skip


def _in_mg(names: list[str], units: list[str], values: Floats) -> Floats | None:
    places = [next((n for n, name in enumerate(names) if name.endswith(f"acc_{a}")), None) for a in "xyz"]
    found = [n for n in places if n is not None]
    if len(found) < 3:
        return None
    try:
        factor = conversion_factor(units[found[0]], "m/s2") / STANDARD_GRAVITY * 1e3
    except ValueError:
        return None
    scaled: Floats = values[:, found] * factor
    return scaled


def _at_rest(mg: Floats, rate: float) -> Floats:
    """Mean magnitude in g of each second in which nothing moves."""
    size = max(2, round(rate))
    n = len(mg) // size
    seconds = mg[: n * size].reshape(n, size, 3)
    still = (seconds.std(axis=1) < SD_MG).all(axis=1)
    magnitude: Floats = np.sqrt(np.square(seconds[still].mean(axis=1)).sum(axis=1)) / 1e3
    return magnitude
