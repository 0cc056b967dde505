"""How people spell units, and the units of ours that are meant."""

from __future__ import annotations

import re

_SPELLINGS = {
    "m/s2": "m/s2|m/s/s|ms-2|m.s-2|m*s-2|m/sec2|m/sec/sec|mps2|m/(s2)|m/s**2|meters/second2|meter/second2"
    "|meters/s2|meter/s2|metres/s2|m/ss|metersperseconds2|meters/sec2",
    "g": "g|gs|g-force|gforce|gee|gravity|gravities|gn|g0",
    "mg": "mg|millig|milli-g|milligs|mgee|milligravity",
    "deg/s": "deg/s|deg/sec|deg/second|degree/s|degree/sec|degree/second|degrees/s|degrees/sec"
    "|degrees/second|dps|°/s|°/sec|°/second|º/s|º/sec|deg.s-1|degs-1|°s-1|degreespersecond|o/s",
    "mdps": "mdps|mdeg/s|millidps|millideg/s|milli-dps|m°/s|mdeg/sec",
    "rad/s": "rad/s|rad/sec|rad/second|rads/s|rads/sec|radian/s|radian/second|radians/s|radians/sec"
    "|radians/second|rads-1|rad.s-1|rad*s-1|radianspersecond|r/s",
    "uT": "ut|µt|μt|microt|microtesla|microteslas",
    "T": "t|tesla",
    "mV": "mv|millivolt|millivolts",
    "1": "|1|-|nounits|none|n/a|unitless|counts",
}
_BY_SPELLING = {word: unit for unit, words in _SPELLINGS.items() for word in words.split("|")}
_TIMES = {
    "s": "s|sec|secs|second|seconds",
    "ms": "ms|msec|msecs|millisecond|milliseconds|millis",
    "us": "us|µs|μs|usec|microsecond|microseconds|micros",
    "ns": "ns|nsec|nanosecond|nanoseconds|nanos",
}
_TIME_BY_SPELLING = {word: unit for unit, words in _TIMES.items() for word in words.split("|")}
_SUPERSCRIPTS = str.maketrans({"²": "2", "⁻": "-", "¹": "1", "·": ".", "⋅": ".", "−": "-"})

FACTORS_US = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
"""Microseconds in a unit of time."""

QUANTITY = {"m/s2": "acc", "g": "acc", "mg": "acc", "deg/s": "gyro", "mdps": "gyro", "rad/s": "gyro",
            "uT": "mag", "T": "mag"}  # fmt: skip
"""The sensor that a unit belongs to."""


def unit_of(text: str) -> str | None:
    """The unit that a spelling means; None if it is not known.

    Example:
        >>> unit_of("M/S²"), unit_of("°/sec"), unit_of("furlong")
        ('m/s2', 'deg/s', None)
    """
    word = re.sub(r"[\s_^]", "", text.translate(_SUPERSCRIPTS)).lower()
    return _BY_SPELLING.get(word)


def time_unit_of(text: str) -> str | None:
    """The unit of time that a spelling means; None if it is not known."""
    return _TIME_BY_SPELLING.get(text.strip().lower())
