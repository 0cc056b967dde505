"""``disc-stream deadletter``: messages that could not be used, and why."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disc_stream.cli.common import DEFAULT_BROKER, BrokerOption, JsonOption, print_json, say
from disc_stream.cli.streams import StateOption, state_folder
from disc_stream.errors import BrokerError, ConfigError, InputNotFoundError, PayloadError
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
_CONFIRM_S = 30.0
_TOPIC_KEPT = 1_024  # characters; longer topics are cut when they are stored


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
    with _store(state) as store:
        letter = _letter(store, position)
        verdict = _decode_again(store, letter)
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
    with _store(state) as store:
        if positions:
            letters = [_letter(store, position) for position in positions]
        else:
            letters = store.dead_letters(reason=reason, device=device, limit=1_000_000)
    messages = [one for one in letters if one.topic]  # windows that the model could not use have none
    whole = [one for one in messages if one.size == len(one.payload) and len(one.topic) < _TOPIC_KEPT]
    sent, refused = _publish(whole, broker)
    facts = {
        "chosen": len(letters),
        "windows": len(letters) - len(messages),
        "cut": len(messages) - len(whole),
        "confirmed": sent - refused,
        "refused": refused,
    }
    if as_json:
        print_json(facts)
    else:
        say(", ".join(f"{value} {name}" for name, value in facts.items()))
    if facts["confirmed"] < len(letters):
        raise typer.Exit(1)


def _publish(letters: list[DeadLetter], url: str) -> tuple[int, int]:
    """Publish and wait for the broker; how many were sent, and how many it refused."""
    from disc_stream.wire.broker import Broker
    from disc_stream.wire.mqtt import MqttLink

    if not letters:
        return 0, 0
    link = MqttLink(Broker.parse(url), f"disc-stream-deadletter-{secrets.token_hex(4)}")
    try:
        link.connect()
        for letter in letters:
            link.publish(letter.topic, letter.payload, content_type=letter.content_type or None)
        if not link.flush(_CONFIRM_S):
            raise BrokerError(f"the broker at {link.broker} did not confirm all messages in {_CONFIRM_S:g} s")
        return len(letters), link.refused
    finally:
        link.close()


@contextmanager
def _store(state: Any) -> Iterator[StateReader]:
    from disc_stream_server.storage.queries import StateReader

    store = StateReader(state_folder(state))
    try:
        yield store
    finally:
        store.close()


def _letter(store: StateReader, position: int) -> DeadLetter:
    letter = store.dead_letter(position)
    if letter is None:
        raise InputNotFoundError(
            f"there is no dead letter at position {position}", remedy="See: deadletter list"
        )
    return letter


def _decode_again(store: StateReader, letter: DeadLetter) -> str:
    """What the current decoder says; the code, or the device's description, may have been fixed since."""
    from disc_stream.wire.codecs import decode_batch
    from disc_stream.wire.meta import decode_meta

    if not letter.topic:
        return "a window that the model could not use: its samples, float32, row by row"
    if letter.size > len(letter.payload):
        return "the payload was cut when it was stored"
    try:
        if letter.topic.endswith("/meta"):
            decode_meta(letter.payload)
            return "a description that can be used"
        described = store.state(0, "meta", letter.device) if letter.device else None
        meta = decode_meta(described) if described else None
        batch = decode_batch(
            letter.payload, device=letter.device or "unknown", content_type=letter.content_type, meta=meta
        )
    except PayloadError as error:
        return f"{error.reason}: {error}"
    n, channels = batch.samples.shape
    return (
        f"a batch of {n} samples x {channels} channels at {batch.fs:g} Hz, boot {batch.boot}, seq {batch.seq}"
    )


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
