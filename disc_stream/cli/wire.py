"""``disc-stream wire``: says offline what a payload is, for whoever writes a device."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disc_stream.cli.common import JsonOption, print_json, require_path, say
from disc_stream.errors import ConfigError
from disc_stream.text import printable

if TYPE_CHECKING:
    from disc_stream.wire.inspection import Report

app = typer.Typer(
    no_args_is_help=True,
    help="Payloads, looked at without a broker, and the document of all of them.\n\n"
    "Example: disc-stream wire check batch.bin --meta meta.json",
)

_READ_AT_MOST = 2**20  # four times what a message may have: enough to say that it is too large


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="The payload as it would be published; - reads stdin.")],
    meta: Annotated[
        Path | None,
        typer.Option(
            "--meta", metavar="FILE", help="The device's meta, for payloads that describe no channels."
        ),
    ] = None,
    content_type: Annotated[
        str, typer.Option("--content-type", help="MQTT 5 content type; without it the first byte decides.")
    ] = "",
    in_hex: Annotated[
        bool, typer.Option("--hex", help="FILE holds hexadecimal digits, spaces and line ends ignored.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what a payload is: encoding, channels, rows, rate, times; or why it would be refused.

    Sample batches in all three encodings, embeddings, and all messages in JSON. Exit code 0 if it would be
    accepted, 1 if it would be refused.

    Example: disc-stream wire check batch.bin --meta meta.json
    """
    from disc_stream.errors import PayloadError
    from disc_stream.signal.units import KNOWN_UNITS
    from disc_stream.wire.inspection import inspect_payload
    from disc_stream.wire.meta import decode_meta

    payload = _read(file)
    if in_hex:
        payload = _from_hex(payload, file)
    described = None
    if meta is not None:
        try:
            described = decode_meta(_read(meta))
        except PayloadError as error:
            raise ConfigError(
                f"{str(meta)!r} is no meta that could be used: {error.message}",
                remedy=f"See: disc-stream wire check {meta}",
            ) from None
    report = inspect_payload(payload, content_type=content_type, meta=described, known_units=KNOWN_UNITS)
    if as_json:
        print_json(_as_json(file, report))
    else:
        say("\n".join(_lines(file, report)))
    if not report.accepted:
        raise typer.Exit(1)


@app.command()
def asyncapi(
    prefix: Annotated[str, typer.Option("--prefix", help="Topic prefix.")] = "ds/v1",
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of YAML.")] = False,
) -> None:
    """Print the AsyncAPI 3 document of the MQTT side: topics, messages, examples.

    Generators make clients, types and pages of it; validators check messages against it.

    Example: disc-stream wire asyncapi --prefix ds/v1
    """
    from disc_stream.errors import TopicError
    from disc_stream.wire.asyncapi import as_yaml, document

    try:
        if as_json:
            print_json(document(prefix))
        else:
            say(as_yaml(prefix).rstrip("\n"))
    except TopicError as error:
        raise ConfigError(error.message, remedy=error.remedy) from None


def _read(file: Path) -> bytes:
    if str(file) == "-":
        return sys.stdin.buffer.read(_READ_AT_MOST)
    with require_path(file, "the file").open("rb") as stream:
        return stream.read(_READ_AT_MOST)


def _from_hex(text: bytes, file: Path) -> bytes:
    try:
        return bytes.fromhex(text.decode("ascii"))
    except ValueError as error:
        raise ConfigError(
            f"{str(file)!r} does not hold hexadecimal digits: {error}",
            remedy="Leave --hex out, or correct it",
        ) from None


def _as_json(file: Path, report: Report) -> dict[str, Any]:
    reason, message, remedy = report.refusal or (None, None, None)
    return {
        "file": str(file),
        "bytes": report.n_bytes,
        "kind": report.kind,
        "encoding": report.encoding or None,
        "accepted": report.accepted,
        "reason": reason,
        "message": message,
        "remedy": remedy,
        "facts": report.facts,
        "notes": list(report.notes),
    }


def _lines(file: Path, report: Report) -> list[str]:
    encoding = {"": "", "packed": " in packed form"}.get(report.encoding, f" in {report.encoding.upper()}")
    name = "stdin" if str(file) == "-" else str(file)
    lines = [f"{name}: {report.kind}{encoding}, {report.n_bytes:,} bytes"]
    if report.kind == "sample batch" and report.accepted:
        lines += _batch_lines(report.facts)
    else:
        lines += [f"  {key:<10} {_value(value)}" for key, value in report.facts.items()]
    lines += [f"note: {note}" for note in report.notes]
    if report.refusal is not None:
        reason, message, remedy = report.refusal
        lines.append(f"refused: {reason}: {printable(message)}. {remedy}")
    else:
        lines.append("accepted")
    return lines


def _batch_lines(facts: dict[str, Any]) -> list[str]:
    channels = ", ".join(map(_channel, facts["channels"]))
    first = ", ".join(f"{value:g}" for value in facts["first_row"][:12])
    pairs = {
        "boot": facts["boot"],
        "seq": facts["seq"],
        "t0": f"{facts['t0']}: {facts['t0_means']}",
        "rate": f"{facts['fs']:g} Hz",
        "rows": f"{facts['rows']} of {facts['sample_type']}, {facts['duration_s']:g} s",
        "channels": printable(channels),
        "first row": f"{first}{', …' if len(facts['first_row']) > 12 else ''} (in those units)",
    }
    return [f"  {name:<10} {value}" for name, value in pairs.items()]


def _channel(one: dict[str, Any]) -> str:
    scale = "" if one["scale"] == 1 else f", scale {one['scale']:g}"
    return f"{one['name']} ({one['unit']}{scale})"


def _value(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return "-"
    if isinstance(value, list):
        return "; ".join(map(_value, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(inner)}" for key, inner in value.items())
    return printable(str(value))
