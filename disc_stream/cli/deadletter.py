"""``disc-stream deadletter``: messages that could not be used, and why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disc_stream.cli.common import DEFAULT_BROKER, BrokerOption, JsonOption, print_json, say
from disc_stream.cli.streams import StateOption, state_folder
from disc_stream.errors import ConfigError
from disc_stream.text import printable

if TYPE_CHECKING:
    from disc_stream_server.storage.queries import StateReader
    from disc_stream_server.storage.records import DeadLetter

app = typer.Typer(
    no_args_is_help=True,
    help="Messages that the server could not use: list, inspect and replay them.\n\n"
    "Example: disc-stream deadletter list --reason malformed",
)

ReasonOption = Annotated[str | None, typer.Option("--reason", help="Only those refused for this reason.")]
DeviceOption = Annotated[str | None, typer.Option("--device", help="Only those of this device.")]
_WIDTH = 16
_SHOWN = 1_024  # bytes of a dump


@app.command("list")
def list_letters(
    state: StateOption = None,
    reason: ReasonOption = None,
    device: DeviceOption = None,
    after: Annotated[int, typer.Option(help="Only those after this position.")] = 0,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number to list, oldest first.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List them, oldest first, and how many there are for each reason.

    Example: disc-stream deadletter list --state state --reason rate --limit 20
    """
    with _store(state) as store:
        counts = store.dead_letter_counts()
        letters = store.dead_letters(reason=reason, device=device, after=after, limit=limit)
    if as_json:
        print_json({"counts": counts, "letters": [_facts(letter) for letter in letters]})
        return
    if not counts:
        say("no dead letters")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("position", "received (UTC)", "topic", "reason", "bytes", "why", box=None)
    for letter in letters:
        cells = (
            str(letter.position), _time(letter), printable(letter.topic), letter.reason, f"{letter.size:,}",
            printable(letter.message[:200]),
        )  # fmt: skip
        table.add_row(*map(Text, cells))  # as text: brackets in untrusted topics are not markup
    Console().print(table)
    say("in all: " + ", ".join(f"{n} {name}" for name, n in sorted(counts.items())))


@app.command()
def show(
    position: Annotated[int, typer.Argument(help="Of the dead letter; 'list' shows it.")],
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one with its bytes, and what the current decoder says about it.

    Example: disc-stream deadletter show 4711
    """
    from disc_stream_server.deadletters import decode_again, letter_at

    with _store(state) as store:
        letter = letter_at(store, position)
        verdict = decode_again(store, letter)
    if as_json:
        print_json({**_facts(letter), "payload": letter.payload.hex(), "today": verdict})
        return
    for name, value in _facts(letter).items():
        say(f"{name:<13}{printable(str(value))}")
    say(f"{'today':<13}{printable(verdict)}\n")
    for line in _dump(letter.payload[:_SHOWN]):
        say(line)
    if letter.size > _SHOWN:
        say(f"… {letter.size - _SHOWN:,} more bytes")


@app.command()
def replay(
    positions: Annotated[list[int] | None, typer.Argument(help="Of the dead letters.")] = None,
    state: StateOption = None,
    reason: ReasonOption = None,
    device: DeviceOption = None,
    broker: BrokerOption = DEFAULT_BROKER,
    as_json: JsonOption = False,
) -> None:
    """Publish them again on their topics, for example after a device's meta was corrected.

    The server treats them like any other message: a batch that it has seen already,
    or that comes too late, is dropped and counted. Windows that the model could not
    use are kept to be looked at, and not sent.

    Example: disc-stream deadletter replay --reason no-meta --broker mqtt://broker
    """
    if not positions and reason is None and device is None:
        raise ConfigError("nothing is chosen", remedy="Name positions, or give --reason or --device")
    from disc_stream_server.deadletters import letter_at, send_again

    with _store(state) as store:
        if positions:
            letters = [letter_at(store, position) for position in positions]
        else:
            letters = store.dead_letters(reason=reason, device=device, limit=1_000_000)
    facts = asdict(send_again(letters, broker))
    if as_json:
        print_json(facts)
    else:
        say(", ".join(f"{value} {name}" for name, value in facts.items()))
    if facts["confirmed"] < len(letters):
        raise typer.Exit(1)


@contextmanager
def _store(state: Any) -> Iterator[StateReader]:
    from disc_stream_server.storage.queries import StateReader

    store = StateReader(state_folder(state))
    try:
        yield store
    finally:
        store.close()


def _facts(letter: DeadLetter) -> dict[str, Any]:
    return {
        "position": letter.position,
        "received": _time(letter),
        "topic": letter.topic,
        "device": letter.device,
        "reason": letter.reason,
        "message": letter.message,
        "content_type": letter.content_type,
        "bytes": letter.size,
    }


def _time(letter: DeadLetter) -> str:
    return datetime.fromtimestamp(letter.received_us / 1e6, UTC).isoformat(sep=" ", timespec="milliseconds")[
        :23
    ]


def _dump(data: bytes) -> Iterator[str]:
    for at in range(0, len(data), _WIDTH):
        row = data[at : at + _WIDTH]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"{at:06x}  {row.hex(' '):<{3 * _WIDTH}} {text}"
