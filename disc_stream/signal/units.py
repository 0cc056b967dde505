"""Conversion between the units that wearables send and the units a model was trained on."""

from __future__ import annotations

from disc_stream.errors import StreamMismatchError

STANDARD_GRAVITY = 9.80665  # m/s², by definition (CGPM 1901)
_RADIANS_PER_DEGREE = 0.017453292519943295

# unit -> (quantity, value of one unit in the quantity's SI unit)
_UNITS: dict[str, tuple[str, float]] = {
    "m/s2": ("acceleration", 1.0),
    "g": ("acceleration", STANDARD_GRAVITY),
    "mg": ("acceleration", STANDARD_GRAVITY / 1000),
    "rad/s": ("angular rate", 1.0),
    "deg/s": ("angular rate", _RADIANS_PER_DEGREE),
    "mdps": ("angular rate", _RADIANS_PER_DEGREE / 1000),
    "T": ("magnetic flux density", 1.0),
    "uT": ("magnetic flux density", 1e-6),
    "mV": ("voltage", 1e-3),
    "1": ("number", 1.0),
}

KNOWN_UNITS = frozenset(_UNITS)
# Voltage stays in mV: nothing here is measured in volts.
_SI = {
    "acceleration": "m/s2",
    "angular rate": "rad/s",
    "magnetic flux density": "T",
    "voltage": "mV",
    "number": "1",
}


def si_unit(unit: str) -> str:
    """The unit that the same quantity has in the International System, as these messages write it.

    Raises:
        StreamMismatchError: with reason ``units`` if the unit is unknown.
    """
    if unit not in _UNITS:
        raise StreamMismatchError("units", f"unit {unit!r} is not known")
    return _SI[_UNITS[unit][0]]


def conversion_factor(source: str, target: str) -> float:
    """Factor that turns a value in ``source`` units into ``target`` units; 1.0 exactly if they are equal.

    Raises:
        StreamMismatchError: with reason ``units`` if one is unknown or they measure different things.
    """
    if source == target:
        return 1.0
    for unit in (source, target):
        if unit not in _UNITS:
            known = ", ".join(sorted(_UNITS))
            raise StreamMismatchError("units", f"unit {unit!r} is not known", remedy=f"Use one of: {known}")
    (from_quantity, from_si), (to_quantity, to_si) = _UNITS[source], _UNITS[target]
    if from_quantity != to_quantity:
        raise StreamMismatchError(
            "units", f"{source!r} measures {from_quantity}, {target!r} measures {to_quantity}"
        )
    return from_si / to_si
