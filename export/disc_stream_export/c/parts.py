"""The parts of the C source that differ from one kind of model to another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class EncoderParts:
    """An encoder in C.

    Its code defines ``disc_encode(state, z)``: the embedding of the samples in the ring, of which the oldest
    is in row ``state->next``. It gives 0 if one of them is NaN.

    Args:
        tables: definitions of constants and tables.
        code: functions, with ``disc_within`` and ``disc_sqrt`` at hand.
        types: what the header must define before the state.
        scratch: fields of the state that the encoder works in.
    """

    tables: str
    code: str
    types: str
    scratch: str


def template(name: str) -> str:
    """A file of the templates."""
    return (_TEMPLATES / name).read_text(encoding="utf-8").rstrip("\n")
