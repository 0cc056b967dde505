"""What the doctor says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a thing is."""

    OK = "ok"
    WARNING = "warning"
    FAIL = "fail"
    SKIPPED = "skipped"
    """It could not be looked at; the detail says why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        group: what it belongs to: ``broker``, ``access``, ``clock``, ``devices`` or ``machine``.
        name: of the thing.
        state: how it is.
        detail: what was seen.
        remedy: what to do about it; "" where nothing is to do.
    """

    group: str
    name: str
    state: State
    detail: str
    remedy: str = ""


def good(group: str, name: str, detail: str) -> Finding:
    """A thing that is as it should be."""
    return Finding(group, name, State.OK, detail)


def bad(group: str, name: str, detail: str, remedy: str, *, serious: bool = True) -> Finding:
    """A thing that is not; ``serious`` ones make the command fail."""
    return Finding(group, name, State.FAIL if serious else State.WARNING, detail, remedy)


def skipped(group: str, name: str, detail: str, remedy: str = "") -> Finding:
    """A thing that could not be looked at."""
    return Finding(group, name, State.SKIPPED, detail, remedy)
