"""Text from outside, made fit to be shown: names in files, topics, messages of devices and brokers."""

from __future__ import annotations

import logging
from types import TracebackType


def printable(text: str, most: int | None = None) -> str:
    r"""The same text, with an escape such as ``\x1b`` for every character that is not printable.

    A terminal obeys control characters: it can be made to hide lines, to rename its window, or to print what
    was never there. Line breaks begin a line of their own in a log, and marks of direction turn a name round.

    Args:
        text: from a file, a device or a broker.
        most: cut after so many characters of ``text``; None for all of it.

    Example:
        >>> printable("rest\x1b[2J\nroot")
        'rest\\x1b[2J\\nroot'
    """
    if most is not None and len(text) > most:
        text = text[: most - 1] + "…"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def printable_lines(text: str) -> str:
    """The same for text of several lines, whose breaks are kept."""
    return "\n".join(map(printable, text.split("\n")))


class PrintableFormatter(logging.Formatter):
    """A log's lines, whatever is named in them: one record, one line, and nothing that a terminal obeys."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class's name
        """The line of a record."""
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(  # noqa: N802
        self,
        ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
    ) -> str:
        """The lines of a traceback, each made printable."""
        return printable_lines(super().formatException(ei))
