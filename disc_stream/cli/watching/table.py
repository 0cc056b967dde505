"""A book as a table in a terminal; nothing in it is told by colour alone."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from disc_stream.cli.watching.book import Book, DeviceLine
from disc_stream.cli.watching.events import printable
from disc_stream.wire.status import State

_BAR = 10
_SILENT_S = 10.0
_ROOMY = 100  # columns from which the less important columns are shown
_AROUND = 8  # lines of the screen that are not devices


class BookTable:
    """Draws the book as it is at the moment of drawing.

    Args:
        book: what to show.
        hint: what to do while there are no labels.
        notes: text by device for a further column, such as what a simulator knows; None for no such column.
        notes_title: of that column.
    """

    def __init__(
        self, book: Book, hint: str, notes: dict[str, str] | None = None, notes_title: str = ""
    ) -> None:
        self._book, self._hint = book, hint
        self._notes, self._notes_title = notes, notes_title

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The status line, then the table or a hint."""
        parts: list[RenderableType] = [Text(line) for line in status_lines(self._book)]
        if self._book.devices:
            rows = max(3, (options.height or console.height) - _AROUND)
            parts.append(self._table(options.max_width >= _ROOMY, rows, options.encoding))
        else:
            parts.append(Text(f"No label yet. {self._hint}"))
        yield Group(*parts)

    def _table(self, roomy: bool, rows: int, encoding: str) -> RenderableType:
        table = Table(expand=False, pad_edge=False)
        table.add_column("Device", no_wrap=True, overflow="ellipsis", max_width=28)
        table.add_column("Label", no_wrap=True)
        table.add_column("Confidence", no_wrap=True)
        table.add_column("Smoothed", no_wrap=True)
        if roomy:
            table.add_column("Novelty", no_wrap=True)
        table.add_column("Age", justify="right", no_wrap=True)
        table.add_column("Windows", justify="right")
        if self._notes is not None:
            table.add_column(self._notes_title, no_wrap=True)
        elif roomy:
            table.add_column("Model", no_wrap=True, overflow="ellipsis", max_width=14)
        names = sorted(self._book.devices)
        for name in names[:rows]:
            cells = self._cells(name, self._book.devices[name], roomy, "utf" in encoding)
            table.add_row(*(Text(printable(cell, 60)) for cell in cells))
        if len(names) <= rows:
            return table
        more = Text(f"… and {len(names) - rows} more devices; choose with --devices, or enlarge the window")
        return Group(table, more)

    def _cells(self, name: str, line: DeviceLine, roomy: bool, unicode: bool) -> list[str]:
        label = line.label
        age = self._book.clock.monotonic() - line.heard_at
        cells = [
            name,
            label.best.name,
            f"{bar(label.best.confidence, unicode=unicode)} {label.best.confidence:4.0%}",
            f"{label.smoothed.name} {label.smoothed.confidence:4.0%}",
        ]
        if roomy:
            cells.append(novelty_text(label.novelty))
        cells += [f"{'silent ' if age > _SILENT_S else ''}{age_text(age)}", str(line.windows)]
        if self._notes is not None:
            cells.append(self._notes.get(name, ""))
        elif roomy:
            cells.append(label.model)
        return cells


def status_lines(book: Book) -> list[str]:
    """The server and the connection in a line or two."""
    lines = [_server_line(book)]
    if book.link_down is not None:
        lines.append(f"BROKER LOST ({printable(book.link_down)}): the last known labels; reconnecting")
    if book.unreadable and book.last_unreadable is not None:
        lines.append(
            f"{book.unreadable} unreadable messages; the last on {book.last_unreadable.topic}: "
            f"{book.last_unreadable.reason}"
        )
    return lines


def _server_line(book: Book) -> str:
    server = book.server
    rate = f"{len(book.devices)} devices, {book.labels_per_s():.1f} labels/s"
    if server is None:
        return f"server: no status yet; {rate}"
    if server.state is State.OFFLINE:
        return f"server: OFFLINE, these are the last known labels; {rate}"
    counts = [f"{name} {server.counters[name]}" for name in ("gaps", "duplicates") if name in server.counters]
    counts.append(f"rejected {sum(server.rejected.values())}")
    return f"server: online, model {printable(server.model) or 'unknown'}; {rate}; {', '.join(counts)}"


def bar(share: float, *, unicode: bool = True) -> str:
    """A bar of ten characters for a share between 0 and 1."""
    full = round(min(1.0, max(0.0, share)) * _BAR)
    return ("█" * full + "·" * (_BAR - full)) if unicode else ("#" * full + "." * (_BAR - full))


def novelty_text(novelty: float | None) -> str:
    """The novelty, with a word where it is above what training saw."""
    if novelty is None:
        return "–"
    return f"{novelty:.2f} unusual" if novelty > 1 else f"{novelty:.2f}"


def age_text(seconds: float) -> str:
    """An age in the unit that suits it."""
    if seconds < 100:
        return f"{max(0.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"
