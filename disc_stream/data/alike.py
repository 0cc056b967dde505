"""Recordings of one dataset must share channels, units, rate and label names."""

from __future__ import annotations

from collections.abc import Sequence

from disc_stream.data.types import Recording
from disc_stream.errors import DataError
from disc_stream.types import Channel

_SHOWN = 6  # names in an error


def require_alike(recordings: Sequence[Recording], *, labels: bool = True) -> None:
    """Check that recordings have the same channels, units and rate, and label names where those matter.

    Raises:
        DataError: naming two recordings, in what they differ, what each of them has, and what to do.
    """
    for other in recordings[1:]:
        difference = _difference(recordings[0], other, labels)
        if difference is not None:
            what, mine, theirs, remedy = difference
            raise DataError(
                f"recordings {recordings[0].name!r} and {other.name!r} differ in their {what}: "
                f"{mine} and {theirs}",
                remedy=remedy,
            )


def _difference(one: Recording, other: Recording, labels: bool) -> tuple[str, str, str, str] | None:
    """What differs, both values and a remedy; None where nothing does."""
    if one.fs != other.fs:
        return "rates", f"{one.fs:g} Hz", f"{other.fs:g} Hz", "Give recordings of one rate"
    if one.channels != other.channels:
        names, others = ([c.name for c in r.channels] for r in (one, other))
        if names == others:
            pairs = [(a, b) for a, b in zip(one.channels, other.channels, strict=True) if a != b]
            return (
                "units", ", ".join(_shown(a) for a, _ in pairs), ", ".join(_shown(b) for _, b in pairs),
                "Give all recordings in the same units",
            )  # fmt: skip
        if sorted(names) == sorted(others):
            return "order of channels", _some(names), _some(others), "Give all of them the same order"
        missing = [n for n in names if n not in others]
        extra = [n for n in others if n not in names]
        return (
            "channels", _some(missing) + " only in the first" if missing else "none of its own",
            _some(extra) + " only in the second" if extra else "none of its own",
            "Give recordings with the same channels",
        )  # fmt: skip
    if labels and one.label_names != other.label_names:
        return (
            "label names", _some(one.label_names), _some(other.label_names),
            "Give all recordings one list of labels",
        )  # fmt: skip
    return None


def _shown(channel: Channel) -> str:
    return f"{channel.name} [{channel.unit}]"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN]) or "none"
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
