"""A column of times as whole microseconds: numbers in any unit, ISO 8601, dates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from disc_stream.data.importing.dialect import MISSING
from disc_stream.data.importing.unitnames import FACTORS_US

Times = npt.NDArray[np.int64]
LOST = np.iinfo(np.int64).min
"""In the place of a time that cannot be read."""

_SLOWEST, _FASTEST = 2.0, 4_000.0  # Hz, of a unit that is inferred
_EPOCHS = ((1e17, "ns"), (1e14, "us"), (1e11, "ms"), (1e8, "s"))  # what is larger counts from 1970
_DATE = re.compile(r"(\d{1,4})[-/.](\d{1,2})[-/.](\d{1,4})[ T](\d{1,2}:\d{2}(?::\d{2})?.*)")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})(?:[.:,](\d+))?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TextForm(NamedTuple):
    """How times are written as text.

    Args:
        kind: ``iso``, ``date`` (numbers of day, month and year), or ``clock`` (time of day alone).
        order: of a date: ``ymd``, ``dmy`` or ``mdy``; "" where that must be asked.
    """

    kind: Literal["iso", "date", "clock"]
    order: str = ""


def text_form(values: Sequence[str], dates: str) -> TextForm | None:
    """How some times are written; None if they are no times.

    Args:
        values: some of them.
        dates: ``day-first`` or ``month-first`` where a person has said so.
    """
    filled = [v.strip() for v in values if v.strip().lower() not in MISSING]
    if filled and all(_iso(v) is not None for v in filled):
        return TextForm("iso")
    if filled and all(_CLOCK.fullmatch(v) for v in filled):
        return TextForm("clock")
    parts = [match for v in filled if (match := _DATE.fullmatch(v))]
    if not filled or len(parts) < len(filled):
        return None
    return TextForm("date", _date_order(parts, dates))


def _date_order(parts: Sequence[re.Match[str]], dates: str) -> str:
    first, second = (max(int(m[k]) for m in parts) for k in (1, 2))
    if first > 31:
        return "ymd"
    if first > 12:
        return "dmy"
    if second > 12:
        return "mdy"
    return {"day-first": "dmy", "month-first": "mdy"}.get(dates, "")


def _iso(text: str) -> datetime | None:
    text = re.sub(r"(\d{2}:\d{2}:\d{2}):(\d{3})$", r"\1.\2", text)  # GENEActiv separates them so
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _us(moment: datetime) -> int:
    """Microseconds since 1970; a time without a zone is taken as it is."""
    since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def parse_texts(values: Sequence[str], form: TextForm) -> Times:
    """Times as text in microseconds, (n,); ``LOST`` where one cannot be read."""
    return np.array([_parse(value.strip(), form) for value in values], dtype=np.int64)


def _parse(text: str, form: TextForm) -> int:
    if form.kind == "iso":
        moment = _iso(text)
        return LOST if moment is None else _us(moment)
    if form.kind == "clock":
        match = _CLOCK.fullmatch(text)
        if match is None:
            return LOST
        seconds = (int(match[1]) * 60 + int(match[2])) * 60 + int(match[3])
        return seconds * 1_000_000 + int((match[4] or "0").ljust(6, "0")[:6])
    match = _DATE.fullmatch(text)
    if match is None:
        return LOST
    numbers = dict(zip(form.order, (int(match[k]) for k in (1, 2, 3)), strict=True))
    year = numbers["y"] + (2000 if numbers["y"] < 100 else 0)
    moment = _iso(f"{year:04d}-{numbers['m']:02d}-{numbers['d']:02d} {_two_digits(match[4])}")
    return LOST if moment is None else _us(moment)


def _two_digits(clock: str) -> str:
    return clock if clock[1:2] != ":" else f"0{clock}"


def guess_unit(values: npt.NDArray[np.float64]) -> str | None:
    """The unit of times that do not say it: by their size, or the one that makes a plausible rate.

    Args:
        values: the first ones, finite.

    Returns:
        ``s``, ``ms``, ``us`` or ``ns``; None where no unit makes a plausible rate.
    """
    if not len(values):
        return None
    size = float(np.median(np.abs(values)))
    for least, unit in _EPOCHS:
        if size >= least:
            return unit
    if len(values) < 2:
        return None
    span = float(values.max() - values.min())
    if span <= 0:
        return None
    per_step = span / (len(values) - 1)
    typical = np.diff(np.unique(values))
    step = max(per_step, 0.0) if len(typical) < len(values) // 2 else float(np.median(typical))
    if abs(step - 1) < 1e-6:  # seconds, milliseconds, or the numbers of the rows
        return None
    fits = [u for u, factor in FACTORS_US.items() if _SLOWEST <= 1e6 / (step * factor) <= _FASTEST]
    return fits[0] if fits else None


def scale_times(values: npt.NDArray[np.float64], unit: str) -> Times:
    """Numbers in a unit as microseconds, (n,) int64; ``LOST`` where they are not finite."""
    known = np.isfinite(values) & (np.abs(values) < 9e18 / FACTORS_US[unit] / 1.1)
    out = np.full(len(values), LOST, dtype=np.int64)
    out[known] = np.rint(values[known] * FACTORS_US[unit]).astype(np.int64)
    return out
