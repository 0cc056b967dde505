"""Every unit into every other: the factors are written down here, not computed."""

from __future__ import annotations

import re

import pytest

from disc_stream.errors import StreamMismatchError
from disc_stream.signal.units import KNOWN_UNITS, conversion_factor, si_unit

FACTORS = {
    ("g", "m/s2"): 9.80665,
    ("m/s2", "g"): 0.10197162129779283,
    ("mg", "m/s2"): 0.00980665,
    ("m/s2", "mg"): 101.97162129779283,
    ("g", "mg"): 1000.0,
    ("mg", "g"): 0.001,
    ("deg/s", "rad/s"): 0.017453292519943295,
    ("rad/s", "deg/s"): 57.29577951308232,
    ("mdps", "rad/s"): 1.7453292519943295e-05,
    ("rad/s", "mdps"): 57295.77951308232,
    ("mdps", "deg/s"): 0.001,
    ("deg/s", "mdps"): 1000.0,
    ("uT", "T"): 1e-6,
    ("T", "uT"): 1e6,
}
SI = {
    "m/s2": "m/s2", "g": "m/s2", "mg": "m/s2", "rad/s": "rad/s", "deg/s": "rad/s", "mdps": "rad/s",
    "T": "T", "uT": "T", "mV": "mV", "1": "1",
}  # fmt: skip
PAIRS = [(source, target) for source in sorted(SI) for target in sorted(SI)]


def test_the_tables_here_know_every_unit() -> None:
    assert set(SI) == KNOWN_UNITS


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=" to ".join)
def test_every_pair(source: str, target: str) -> None:
    if source == target:
        assert conversion_factor(source, target) == 1.0
    elif (source, target) in FACTORS:
        assert conversion_factor(source, target) == pytest.approx(FACTORS[source, target], rel=1e-12)
    else:
        with pytest.raises(
            StreamMismatchError, match=f"'{source}' measures .*, '{target}' measures"
        ) as caught:
            conversion_factor(source, target)
        assert caught.value.reason == "units"


@pytest.mark.parametrize("unit", sorted(SI))
def test_the_unit_of_the_international_system(unit: str) -> None:
    assert si_unit(unit) == SI[unit]


@pytest.mark.parametrize("unit", ["", "G", "m/s^2", "ug", "V"])
def test_units_that_are_not_known_are_named(unit: str) -> None:
    for convert in (lambda: conversion_factor(unit, "g"), lambda: conversion_factor("g", unit)):
        with pytest.raises(StreamMismatchError, match=re.escape(f"unit {unit!r} is not known")) as caught:
            convert()
        assert caught.value.reason == "units"
        assert "Use one of: 1, T, deg/s, g, m/s2, mV, mdps, mg, rad/s, uT" in str(caught.value)
    with pytest.raises(StreamMismatchError, match=re.escape(f"unit {unit!r} is not known")) as caught:
        si_unit(unit)
    assert caught.value.reason == "units"
