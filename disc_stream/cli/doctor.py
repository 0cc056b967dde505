"""``disc-stream doctor``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from disc_stream.cli.common import (
    DEFAULT_BROKER,
    BrokerOption,
    JsonOption,
    PrefixOption,
    VerboseOption,
    print_json,
    setup_logging,
)

if TYPE_CHECKING:
    from rich.table import Table

    from disc_stream_server.doctor.findings import Finding

_MARKS = {
    "ok": "[green]ok[/]",
    "warning": "[yellow]warning[/]",
    "fail": "[bold red]fail[/]",
    "skipped": "[dim]skipped[/]",
}


def doctor(
    broker: BrokerOption = DEFAULT_BROKER,
    state: Annotated[
        Path | None,
        typer.Option("--state", help="The server's state folder. Default: in ~/.local/state/disc-stream"),
    ] = None,
    as_device: Annotated[
        str | None,
        typer.Option(
            "--as-device",
            metavar="URL",
            help="Broker URL with a device's credentials, to test what it must not be allowed to do. "
            "The device is disconnected meanwhile.",
        ),
    ] = None,
    prefix: PrefixOption = "ds/v1",
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Check the broker and this machine, and say what is wrong and what to do.

    Also tests that what must fail does fail: an anonymous connection, one in plain
    text, and messages in the name of others. Exit code 1 if anything fails.

    Example: disc-stream doctor --broker mqtts://_operator@broker.example.org:8885
    """
    import logging

    from disc_stream.config import default_state
    from disc_stream.wire.broker import Broker
    from disc_stream.wire.topics import Topics
    from disc_stream_server.doctor.examine import examine

    setup_logging(verbose)
    logging.getLogger("paho").setLevel(logging.CRITICAL)
    findings = []
    found = examine(
        Broker.parse(broker),
        Topics(prefix),
        state or default_state("disc-stream-server"),
        Broker.parse(as_device) if as_device else None,
    )
    if as_json:
        findings = list(found)
        _print_as_json(findings)
    else:
        findings = _show(found)
    if any(finding.state.value == "fail" for finding in findings):
        raise typer.Exit(1)


def _print_as_json(findings: list[Finding]) -> None:
    from collections import Counter
    from dataclasses import asdict

    states = Counter(finding.state.value for finding in findings)
    print_json(
        {"ok": not states["fail"], "counts": states, "findings": [asdict(finding) for finding in findings]}
    )


def _show(found: Iterator[Finding]) -> list[Finding]:
    """A table, once all checks are done; on a terminal, the current check meanwhile."""
    from rich.console import Console

    findings: list[Finding] = []
    with Console(stderr=True).status("checking") as status:
        for finding in found:
            findings.append(finding)
            status.update(f"{finding.group}: {finding.name}")
    console = Console()
    console.print(_table(findings))
    count = {mark: sum(finding.state.value == mark for finding in findings) for mark in _MARKS}
    console.print(", ".join(f"{number} {mark}" for mark, number in count.items() if number), highlight=False)
    return findings


def _table(findings: list[Finding]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from disc_stream.text import printable_lines

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        detail = escape(printable_lines(finding.detail))
        if finding.remedy:
            detail += f"\n[italic]→ {escape(printable_lines(finding.remedy))}[/]"
        name = escape(printable_lines(finding.name))
        table.add_row(_MARKS[finding.state.value], f"{finding.group}: {name}", detail)
    return table
