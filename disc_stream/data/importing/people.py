"""Whose recording a file is. It decides train and test, so the plan shows it with its reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from disc_stream.data.importing.settings import Settings

AS_YOU_SAY = "as you say"
_NUMBER = re.compile(
    r"(?:user|subject|subj|sub|person|participant|proband|volunteer|patient)[-_ ]?0*(\d{1,18})(?!\d)",
    re.IGNORECASE,
)
_SHORT = re.compile(r"(?<![a-z0-9])(?:p|s|id|pid|vp|sj)[-_]?0*(\d{1,18})(?![a-z0-9])", re.IGNORECASE)
_ACTIVITY = re.compile(
    r"walk|sit|stand|run|jog|lie|lay|lying|stair|up|down|bike|cycl|rest|sleep|jump|still|drive|eat|cook|rec"
    r"|data|acc|gyr|sensor|session|trial|test|train|day|left|right|wrist|ankle|hip|raw|log|export|20\d\d",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a recording is, and why."""

    person: int
    why: str


def find_people(files: Mapping[str, Sequence[str]], settings: Settings) -> dict[str, Owner]:
    """The person of each recording.

    A number in its name or in a folder's (``user07-walk.csv``, ``P01_sit.csv``, ``subject3/walk.csv``)
    counts first. Without one, files of one subfolder are one person's where there are several subfolders,
    files whose names begin alike (``anna_walk``, ``anna_sit``) are one person's, and each other file is a
    person of its own.

    Args:
        files: of each recording, by its name; relative to what was given, with ``/``.
        settings: what a person has decided.
    """
    names = list(files)
    owners: dict[str, Owner] = {}
    groups: dict[str, tuple[str, str]] = {}
    tops = {PurePosixPath(n).parts[0] for n in names if len(PurePosixPath(n).parts) > 1}
    firsts = Counter(_first_word(n) for n in names)
    for name in names:
        decided = [n for file in (name, *files[name]) if (n := settings.person(file)) is not None]
        if decided:
            owners[name] = Owner(decided[0], AS_YOU_SAY)
            continue
        number = _number(name)
        if number is not None:
            owners[name] = number
            continue
        parts, first = PurePosixPath(name).parts, _first_word(name)
        alike = first and firsts[first] > 1 and len(firsts) > 1 and not _ACTIVITY.match(first)
        if len(tops) > 1 and len(parts) > 1:
            groups[name] = f"folder {parts[0]}", f"folder {parts[0]!r}"
        elif alike:
            groups[name] = f"word {first}", f"names beginning with {first!r}"
        else:
            groups[name] = f"file {name}", "a file of its own; nothing names a person"
    taken = {owner.person for owner in owners.values()}
    free = (n for n in range(1, 2 * len(names) + 2) if n not in taken)
    number_of: dict[str, int] = {}
    for name in names:
        if name in groups:
            key, why = groups[name]
            if key not in number_of:
                number_of[key] = next(free)
            owners[name] = Owner(number_of[key], why)
    return owners


@dataclass(frozen=True, slots=True)
class Named:
    """Somebody whom a column names; the number is found when all names are known.

    Args:
        name: as it is written.
        column: that names them.
    """

    name: str
    column: str


def number_people(named: Sequence[Named], owners: Sequence[Owner]) -> dict[str, Owner]:
    """Numbers for people whom columns name: the same name is the same person, in whatever file.

    Where every name is a number, or ends with another one (``S07``), that is the person's; else they are
    numbered in the order of their names, around those that files have.

    Args:
        named: all of them.
        owners: of the recordings whose files say it.
    """
    columns = {one.name: one.column for one in named}
    names = sorted(columns)
    ends = [re.search(r"(\d{1,18})(?:\.0+)?$", name) for name in names]
    numbers = [int(end[1]) for end in ends if end]
    if len(set(numbers)) < len(names):
        taken = {owner.person for owner in owners}
        numbers = [n for n in range(1, len(names) + len(taken) + 1) if n not in taken]
    return {
        name: Owner(number, f"{name!r} in its column {columns[name]!r}")
        for name, number in zip(names, numbers, strict=False)
    }


def _number(name: str) -> Owner | None:
    parts = PurePosixPath(name).parts
    for pattern in (_NUMBER, _SHORT):
        for text in (PurePosixPath(parts[-1]).name, *reversed(parts[:-1])):
            match = pattern.search(text)
            if match:
                return Owner(int(match[1]), f"{match[0]!r} in its name")
    return None


def _first_word(name: str) -> str:
    stem = PurePosixPath(name).name.partition(".")[0]
    words = [word for word in re.split(r"[-_ ]+", stem) if word]
    return words[0].lower() if len(words) > 1 else ""
