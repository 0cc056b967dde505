"""Three ways to show what was received: a live table, lines of text, lines of JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.live import Live

from disc_stream.watching.events import (
    Event,
    LabelSeen,
    LinkChanged,
    ProblemSeen,
    ServerSeen,
    ServerSilent,
    Unreadable,
    shown,
)
from disc_stream.watching.state import LiveState
from disc_stream.watching.table import StateTable, bar, novelty_text, problem_line
from disc_stream.wire.label import label_to_dict

REFRESH_HZ = 4


class View(Protocol):
    """Shows events; ``show`` is called for those that tell something new."""

    def show(self, event: Event) -> None:
        """One event."""
        ...


class TableView:
    """A table that draws itself anew; the state is all it needs."""

    def show(self, event: Event) -> None:
        """Nothing to do: the table is drawn from the state."""


class LineView:
    """One line per label on stdout; what is about the connection goes to stderr.

    Args:
        out: for labels.
        err: for everything else.
        state: knows which model serves; without it, labels of former models are not marked.
    """

    def __init__(
        self, out: TextIO | None = None, err: TextIO | None = None, state: LiveState | None = None
    ) -> None:
        self._out, self._err = out or sys.stdout, err or sys.stderr
        self._state = state

    def show(self, event: Event) -> None:
        """Print one event."""
        match event:
            case LabelSeen(label):
                line = None if self._state is None else self._state.devices.get(label.device)
                former = self._state is not None and line is not None and self._state.is_of_former_model(line)
                mark = f" (of the former model {shown(label.model, 20)})" if former else ""
                print(label_line(event) + mark, file=self._out, flush=True)
            case ProblemSeen(device, problem):
                self._say(
                    f"{device} has no problem any more" if problem is None else problem_line(device, problem)
                )
            case ServerSilent(seconds):
                self._say(f"server has been silent for {seconds:.0f} s; what is shown is the last known")
            case ServerSeen(status):
                self._say(f"server is {status.state}, model {shown(status.model) or 'unknown'}")
            case LinkChanged(up, reason):
                self._say("broker is back" if up else f"broker lost ({shown(reason)}); reconnecting")
            case Unreadable(topic, reason):
                self._say(f"unreadable message on {topic}: {reason}")

    def _say(self, text: str) -> None:
        print(text, file=self._err, flush=True)


def label_line(event: LabelSeen) -> str:
    """A label in one line of text."""
    label = event.label
    return (
        f"{label.device} window {label.window} {shown(label.best.name, 40)} "
        f"{label.best.confidence:.0%} {bar(label.best.confidence, unicode=False)} "
        f"smoothed {shown(label.smoothed.name, 40)} {label.smoothed.confidence:.0%} "
        f"novelty {novelty_text(label.novelty)}" + (" (last known)" if event.retained else "")
    )


class JsonView:
    """One JSON object per line on stdout: label messages as they are on the wire, and other events.

    Args:
        out: where to.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout

    def show(self, event: Event) -> None:
        """Print one event."""
        print(json.dumps(_as_json(event), allow_nan=False), file=self._out, flush=True)


def _as_json(event: Event) -> dict[str, Any]:
    match event:
        case LabelSeen(label, retained):
            return {"event": "label", "retained": retained, **label_to_dict(label)}
        case ProblemSeen(device, problem):
            facts = None if problem is None else asdict(problem)
            return {"event": "problem", "device": device, "problem": facts}
        case ServerSilent(seconds):
            return {"event": "server", "state": "silent", "silent_s": round(seconds, 1)}
        case ServerSeen(status):
            return {"event": "server", "state": status.state.value, "model": status.model}
        case LinkChanged(up, reason):
            return {"event": "broker", "connected": up, "reason": reason}
        case Unreadable(topic, reason):
            return {"event": "unreadable", "topic": topic, "reason": reason}


@contextmanager
def open_view(
    state: LiveState, hint: str, *, as_json: bool, console: Console | None = None
) -> Iterator[View]:
    """The view that suits the output: JSON if asked for, a table on a terminal, else lines."""
    console = console or Console()
    if as_json:
        yield JsonView()
    elif console.is_terminal and not console.is_dumb_terminal:
        table = StateTable(state, hint)
        with Live(table, console=console, refresh_per_second=REFRESH_HZ, vertical_overflow="crop"):
            yield TableView()
    else:
        yield LineView(state=state)
