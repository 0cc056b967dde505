"""Text from outside, made fit to be shown: names in files, topics, messages of devices and brokers."""

from __future__ import annotations

import json
import logging
import time
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


class JsonFormatter(logging.Formatter):
    """A log as JSON, one object a line, all of it ASCII.

    ``time`` (UTC, with milliseconds), ``level``, ``logger``, ``message`` and ``process`` are always there.
    ``event`` is the message before values were put into it: the same for all lines of its kind, so that they
    can be counted. ``error`` and ``traceback`` come with an exception.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        seconds, milliseconds = time.gmtime(record.created), int(record.msecs)
        line: dict[str, object] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', seconds)}.{milliseconds:03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "event": str(record.msg),
            "process": record.process,
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["error"] = record.exc_info[0].__name__
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def log_formatter(form: str) -> logging.Formatter:
    """What gives log lines the form ``text`` or ``json``."""
    if form == "json":
        return JsonFormatter()
    return PrintableFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s")


def log_form() -> str:
    """The form that this process logs in."""
    handlers = logging.getLogger().handlers
    return "json" if any(isinstance(one.formatter, JsonFormatter) for one in handlers) else "text"
