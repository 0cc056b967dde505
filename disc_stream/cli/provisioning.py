"""Options of ``broker add-device`` that hand a device what it needs: a header, a QR code."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from disc_stream.cli.common import require_extras, require_writable, say
from disc_stream.errors import UsageError

if TYPE_CHECKING:
    from disc_stream_server.brokerconfig.devices import Added

HeaderOption = Annotated[
    Path | None,
    typer.Option(
        "--header",
        metavar="FILE",
        help="Write what its firmware needs there, its secret too: FILE.h for C, FILE.py for MicroPython.",
    ),
]
QrOption = Annotated[
    bool, typer.Option("--qr", help="Show the same as a QR code; only on a terminal, for it is a secret.")
]
PngOption = Annotated[
    Path | None, typer.Option("--png", metavar="FILE", help="Write the QR code there, as a picture.")
]


def check_wishes(header: Path | None, png: Path | None, *, qr: bool, as_json: bool) -> None:
    """Check what is asked for, before the device is let in.

    Raises:
        DiscStreamError: saying what cannot be done.
    """
    if header is not None:
        from disc_stream_server.brokerconfig.provisioning import check_header

        check_header(header)
    for path in (header, png):
        if path is not None:
            require_writable(path)
    if qr or png is not None:
        require_extras("QR codes", "phone")
    if qr and (as_json or not _is_terminal()):
        raise UsageError(
            "--qr shows a secret, and this is no terminal", remedy="Write it to a file with --png FILE"
        )


def hand_over(root: Path, added: Added, header: Path | None, png: Path | None, *, qr: bool) -> dict[str, str]:
    """Write and show what was asked for.

    Returns:
        The files by what they are.
    """
    if header is None and png is None and not qr:
        return {}
    from disc_stream_server.brokerconfig.provisioning import provision, write_header

    made = provision(root, added)
    files = {}
    if header is not None:
        write_header(header, made)
        files["header"] = str(header)
    if png is not None:
        from disc_stream.phones.codes import save_code

        os.close(os.open(png, os.O_WRONLY | os.O_CREAT, 0o600))
        png.chmod(0o600)
        save_code(made.code(), png)
        files["png"] = str(png)
    if qr:
        from disc_stream.phones.codes import terminal_code

        typer.echo(terminal_code(made.code()))
    return files


def say_files(files: dict[str, str]) -> None:
    """Name the files, and say what they are for."""
    for what, path in files.items():
        kind = "all that its firmware needs" if what == "header" else "the same as a QR code"
        say(f"{path}: {kind}. It holds the device's secret: keep it out of repositories and logs")


def say_address(root: Path, files: dict[str, str]) -> None:
    """Warn of an address that only this machine has."""
    from disc_stream_server.brokerconfig.plan import Plan

    host = Plan.load(root).hosts[0]
    if files and host in {"127.0.0.1", "localhost", "::1"}:
        say(
            f"The broker's address in it is {host}, which a board cannot reach: "
            f"name one with disc-stream broker config --out {root} --force --host NAME --bind 0.0.0.0"
        )
        say("Then write it again: the same command with --renew.")


def _is_terminal() -> bool:
    return sys.stdout.isatty()
