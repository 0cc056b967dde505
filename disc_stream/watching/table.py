"""The live state as a table in a terminal; nothing in it depends on colour alone."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from disc_stream.types import Problem
from disc_stream.watching.events import shown
from disc_stream.watching.state import DeviceLine, LiveState
from disc_stream.wire.status import State

_BAR = 10
_SILENT_S = 10.0
_GONE_S = 60.0  # silent for so long, a device gives its row to others where there are too few
# Width of the terminal from which a column is shown; those not named always are.
_FROM_WIDTH = {"Smoothed": 64, "Windows": 80, "Novelty": 100, "Model": 100}
_BARS_FROM_WIDTH = 90
_MAX_WIDTH = {"Device": 28, "Model": 14}
_RIGHT = ("Age", "Windows")
_REASONS = 3  # of refusals that are named
_PROBLEMS = 4  # devices without labels whose reason is shown
_AROUND = 8  # lines of the screen that are not devices


class StateTable:
    """Draws the state as it is at the moment of drawing.

    Args:
        state: what to show.
        hint: what to do while there are no labels.
        notes: text by device for a further column, such as what a simulator knows; None for no such column.
        notes_title: of that column.
    """

    def __init__(
        self, state: LiveState, hint: str, notes: dict[str, str] | None = None, notes_title: str = ""
    ) -> None:
        self._state, self._hint = state, hint
        self._notes, self._notes_title = notes, notes_title

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The status line, then the table or a hint."""
        parts: list[RenderableType] = [Text(line) for line in status_lines(self._state)]
        if self._state.devices:
            rows = max(3, (options.height or console.height) - _AROUND)
            problems = self._problems(options.max_width)
            taken = sum(-(-len(line) // max(1, options.max_width)) for line in problems)
            parts.append(self._table(options.max_width, max(3, rows - taken), options.encoding))
            parts += [Text(line) for line in problems]
        else:
            parts.append(Text(f"No label yet. {self._hint}"))
        yield Group(*parts)

    def _table(self, width: int, rows: int, encoding: str) -> RenderableType:
        names = self._names(rows)
        lines = [
            self._cells(name, self._state.devices[name], width, "utf" in encoding) for name in names[:rows]
        ]
        table = Table(expand=False, pad_edge=False)
        for title in lines[0]:
            table.add_column(
                title,
                justify="right" if title in _RIGHT else "left",
                no_wrap=True,
                overflow="ellipsis",
                max_width=_MAX_WIDTH.get(title),
            )
        for cells in lines:
            table.add_row(*(Text(shown(cell, 60)) for cell in cells.values()))
        if len(names) <= rows:
            return table
        more = Text(f"… and {len(names) - rows} more devices; choose with --devices, or enlarge the window")
        return Group(table, more)

    def _names(self, rows: int) -> list[str]:
        """All devices in order; where not all have room, those that live or have a problem come first."""
        devices, now = self._state.devices, self._state.clock.monotonic()
        if len(devices) <= rows:
            return sorted(devices)

        def is_gone(name: str) -> bool:
            return devices[name].problem is None and now - devices[name].received_at > _GONE_S

        return sorted(devices, key=lambda name: (is_gone(name), name))

    def _cells(self, name: str, line: DeviceLine, width: int, unicode: bool) -> dict[str, str]:
        """What is shown of a device, by column, as far as it finds room."""
        label = line.label
        if label is None:
            return self._unlabelled(name, width)
        age = self._state.clock.monotonic() - line.received_at
        percent = f"{label.best.confidence:4.0%}"
        if width >= _BARS_FROM_WIDTH:
            percent = f"{bar(label.best.confidence, unicode=unicode)} {percent}"
        cells = {
            "Device": name,
            "Label": f"{label.best.name}{self._mark(line)}",
            "Confidence" if width >= _BARS_FROM_WIDTH else "Conf": percent,
            "Smoothed": f"{label.smoothed.name} {label.smoothed.confidence:4.0%}",
            "Novelty": novelty_text(label.novelty),
            "Age": f"{'silent ' if age > _SILENT_S else ''}{age_text(age)}",
            "Windows": str(line.windows),
        }
        if self._notes is not None:
            cells[self._notes_title] = self._notes.get(name, "")
        else:
            cells["Model"] = label.model
        return {title: cell for title, cell in cells.items() if width >= _FROM_WIDTH.get(title, 0)}

    def _mark(self, line: DeviceLine) -> str:
        """What must be known of a label that is not of now."""
        if self._state.is_of_former_model(line):
            return " (former model)"
        return "" if line.problem is None else " (last)"

    def _unlabelled(self, name: str, width: int) -> dict[str, str]:
        """The row of a device that has had no label; the reason is below the table."""
        titles = ["Device", "Label", "Confidence" if width >= _BARS_FROM_WIDTH else "Conf", "Smoothed"]
        titles += ["Novelty", "Age", "Windows", self._notes_title if self._notes is not None else "Model"]
        cells = dict.fromkeys(titles, "–") | {"Device": name, "Label": "no label", "Windows": "0"}
        return {title: cell for title, cell in cells.items() if width >= _FROM_WIDTH.get(title, 0)}

    def _problems(self, width: int) -> list[str]:
        """What is wrong with devices, in full sentences; as many as find room."""
        troubled = sorted(name for name, line in self._state.devices.items() if line.problem is not None)
        lines = []
        for name in troubled[:_PROBLEMS]:
            problem = self._state.devices[name].problem
            if problem is not None:
                lines.append(problem_line(name, problem))
        if len(troubled) > _PROBLEMS:
            lines.append(f"… and {len(troubled) - _PROBLEMS} more devices with a problem"[:width])
        return lines


def status_lines(state: LiveState) -> list[str]:
    """The server and the connection in a line or two."""
    lines = [_server_line(state)]
    if state.link_down is not None:
        lines.append(f"BROKER LOST ({shown(state.link_down)}): the last known labels; reconnecting")
    if state.unreadable and state.last_unreadable is not None:
        lines.append(
            f"{state.unreadable} unreadable messages; the last on {state.last_unreadable.topic}: "
            f"{state.last_unreadable.reason}"
        )
    return lines


def _server_line(state: LiveState) -> str:
    server = state.server
    rate = f"{len(state.devices)} devices, {state.labels_per_s():.1f} labels/s"
    if server is None:
        return f"server: no status yet; {rate}"
    if (silent := state.server_silent_s()) is not None:
        since = time.strftime("%H:%M:%S", time.localtime(state.clock.unix_us() / 1e6 - silent))
        return f"server: SILENT since {since} ({age_text(silent)}), these are the last known labels; {rate}"
    if server.state is State.OFFLINE:
        return f"server: OFFLINE, these are the last known labels; {rate}"
    counts = [f"{name} {server.counters[name]}" for name in ("gaps", "duplicates") if name in server.counters]
    counts.append(_rejected(server.rejected))
    return f"server: online, model {shown(server.model) or 'unknown'}; {rate}; {', '.join(counts)}"


def _rejected(by_reason: Mapping[str, int]) -> str:
    """How many messages were refused, and the commonest reasons."""
    reasons = sorted(by_reason, key=lambda reason: -by_reason[reason])[:_REASONS]
    told = ", ".join(f"{by_reason[reason]} {shown(reason, 20)}" for reason in reasons)
    return f"rejected {sum(by_reason.values())}" + (f" ({told})" if told else "")


def problem_line(device: str, problem: Problem) -> str:
    """Why a device has no labels or worse ones, since when, and what to do, in one line."""
    since = time.strftime("%H:%M:%S", time.localtime(problem.since_us / 1e6))
    often = f"{problem.count} times " if problem.count > 1 else ""
    remedy = f" {shown(problem.remedy, 300).rstrip('.')}." if problem.remedy else ""
    words = shown(problem.words, 300).rstrip(".")
    return f"{device} has a problem: {words} ({often}since {since}).{remedy}"


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
