"""Names of clusters as options of an ``enum`` sensor: whatever people call them, every state is an option.

Home Assistant refuses a state that is no option, and one of more than 255 characters; it takes some words for
other things than states, and strips white space.
"""

from __future__ import annotations

from collections.abc import Iterable

from disc_stream.text import printable
from disc_stream.types import NOT_WORN, UNKNOWN, Label
from disc_stream.wire.activity import MAX_ACTIVITY

MOTION_UNKNOWN, IS_NOT_WORN, MUTED = "unknown motion", "not worn", "other motion"
_LONGEST = MAX_ACTIVITY - 24  # room for an id behind it
_OF_STATES = {UNKNOWN: MOTION_UNKNOWN, NOT_WORN: IS_NOT_WORN}
_RESERVED = {"", "none", "unknown", "unavailable", "null", "on", "off", *_OF_STATES.values(), MUTED}
_MOST_STRANGERS = 1_000


class Options:
    """The options of a model's clusters; ids that are not among them get one when they are seen.

    Clusters of the same name share an option: to a person they are one activity. Names that are the same only
    once they are cut or cleaned keep apart by their ids.

    Args:
        clusters: public ids and names, in the order in which people see them.
    """

    def __init__(self, clusters: Iterable[tuple[int, str]] = ()) -> None:
        self._of: dict[int, str] = dict(_OF_STATES)
        self._named: dict[int, str] = {}  # what each id was called when it got its option
        self._taken: dict[str, str] = {}  # option -> the name that it is of
        self._strangers = 0
        for label, name in clusters:
            self._add(label, name)

    @property
    def all(self) -> tuple[str, ...]:
        """Every state there can be, none twice."""
        return (*dict.fromkeys(self._of.values()), MUTED)

    def of(self, label: Label) -> str:
        """The option of what a label says after smoothing."""
        if label.muted:
            return MUTED
        best = label.smoothed
        known = self._of.get(best.label)
        if known is not None and (best.label < 0 or self._named[best.label] == best.name):
            return known
        if known is None and self._strangers >= _MOST_STRANGERS:
            return MOTION_UNKNOWN
        self._strangers += known is None
        return self._add(best.label, best.name)

    def _add(self, label: int, name: str) -> str:
        if label in _OF_STATES:
            return _OF_STATES[label]
        option = _clean(name)
        if option.casefold() in _RESERVED or self._taken.get(option, name) != name:
            option = f"{option} ({label})".strip()
        self._of[label], self._named[label] = option, name
        self._taken[option] = name
        return option


def _clean(name: str) -> str:
    """One line of printable text without white space around it, not too long."""
    text = " ".join(printable(name[: 4 * _LONGEST].strip()).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1].rstrip()}…"
