"""Matching of recordings against patterns given on the command line."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

_PERSON_WORDS = ("user", "subject", "person", "sub")
_PERSON = re.compile(rf"({'|'.join(_PERSON_WORDS)})[-_]?(?=[\d*?\[])")
_RANGE = re.compile(r"([a-z_]+)(\d+)-([a-z_]*)(\d+)")


def names_recording(pattern: str, name: str, subject: int) -> bool:
    """Whether a pattern names a recording; upper and lower case are the same.

    A pattern is one of

    - a name, a part of it between hyphens, or its end: ``hapt-exp07-user04``, ``exp07``, ``exp07-user04``;
    - the same with the wild cards of a shell: ``exp0*``, ``user0?``, ``hapt-exp0*``;
    - a person, however the dataset spells it: ``user4``, ``subject04`` and ``person-04`` are the same, and
      ``person0*`` names whom ``user0*`` names;
    - a range, both ends included: ``user02-user05``, ``user2-5``, ``exp01-exp10``.

    Args:
        pattern: as given on the command line.
        name: of the recording, such as ``hapt-exp07-user04``.
        subject: its person.
    """
    wanted = _common_person(pattern.lower())
    parts = _common_person(name.lower()).split("-")
    if not any(part.startswith("person") for part in parts):
        parts.append(f"person{subject:02d}")  # the name does not say whose it is
    span = _RANGE.fullmatch(wanted)
    if span and span[3] in ("", span[1]):
        return any(_in_range(part, span[1], int(span[2]), int(span[4])) for part in parts)
    if wanted.startswith("person") and wanted[6:].isdigit():
        return int(wanted[6:]) == subject
    ends = ("-".join(parts[first:]) for first in range(len(parts)))
    return (
        fnmatchcase(name.lower(), pattern.lower())
        or any(fnmatchcase(end, wanted) for end in ends)
        or any(fnmatchcase(part, wanted) for part in parts)
    )


def _common_person(text: str) -> str:
    """The words that stand for a person, where a number or a wild card follows, as one word."""
    return _PERSON.sub("person", text)


def _in_range(part: str, word: str, first: int, last: int) -> bool:
    number = part.removeprefix(word)
    return part.startswith(word) and number.isdigit() and first <= int(number) <= last
