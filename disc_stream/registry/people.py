"""Texts that people give to a registry: who they are, and why they do something."""

from __future__ import annotations

import getpass
import os

from disc_stream.errors import ConfigError
from disc_stream.text import printable

MAX_WHO, MAX_WHY = 100, 1_000


def user_name() -> str:
    """Name of the user at the operating system, or the number where there is no name, as in containers."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = ""
    return name if name.isprintable() and 0 < len(name) <= MAX_WHO else f"user {os.getuid()}"


def checked_text(text: str, what: str, most: int = MAX_WHO, *, empty: bool = False) -> str:
    """The text itself, if it is one printable line.

    Args:
        text: from a person.
        what: it is, for the message.
        most: characters.
        empty: whether it may be empty.

    Raises:
        ConfigError: if it is too long, not printable, or empty and must not be.
    """
    if (not text.strip() and not (empty and not text)) or len(text) > most or not text.isprintable():
        raise ConfigError(
            f"'{printable(text, 80)}' cannot be {what}",
            remedy=f"Use {0 if empty else 1} to {most} printable characters, in one line",
        )
    return text
