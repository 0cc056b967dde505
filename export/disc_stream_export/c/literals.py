"""Numbers and texts as C source. What comes out of a bundle never ends a comment or a string."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

_WIDTH = 100


def real(value: float | np.floating) -> str:
    """A float32 constant that reads back as the same float32: ``0.1f``."""
    text = str(np.float32(value))
    if not np.isfinite(np.float32(value)):
        raise ValueError(f"{text} has no constant in C")
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def reals(values: Iterable[float | np.floating]) -> str:
    """Lines of an initialiser."""
    return wrapped(map(real, values))


def matrix(values: npt.NDArray[np.floating]) -> str:
    """Lines of the initialiser of a matrix, a row each."""
    return ",\n".join(f"    {{\n{textwrap.indent(reals(row), '    ')}\n    }}" for row in values)


def wrapped(items: Iterable[str]) -> str:
    """Items of an initialiser, with commas between, in indented lines."""
    joined = ", ".join(items)
    return textwrap.fill(joined, _WIDTH, initial_indent="    ", subsequent_indent="    ")


def string(text: str) -> str:
    """A string constant, UTF-8 inside, ASCII outside.

    Bytes that are not plain are written in octal, three digits each, which no following digit can join;
    question marks too, for the sake of trigraphs.
    """
    plain = set(range(0x20, 0x7F)) - set(b'"\\?')
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'


def strings(texts: Sequence[str]) -> str:
    """Lines of an initialiser, a text each."""
    return ",\n".join(f"    {string(text)}" for text in texts)


def comment(text: str) -> str:
    """Text inside a comment: ASCII in one line, without anything that ends the comment or begins another."""
    plain = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text)
    while "*/" in plain or "/*" in plain:
        plain = plain.replace("*/", "* /").replace("/*", "/ *")
    return plain.replace("\\", "/").replace("??/", "? ?/")
