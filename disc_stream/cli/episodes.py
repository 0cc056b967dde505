"""``disc-stream episodes``: which activity a device had from when to when."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disc_stream.cli.common import (
    JsonOption,
    print_json,
    require_extras,
    require_free,
    require_writable,
    say,
)
from disc_stream.cli.exchange import Form, write
from disc_stream.cli.registries import parse_time, print_table
from disc_stream.cli.streams import StateOption, state_folder
from disc_stream.errors import ConfigError, InputNotFoundError

if TYPE_CHECKING:
    from disc_stream_server.storage.history import Episode, History

app = typer.Typer(
    no_args_is_help=True,
    help="Episodes: which activity a device had from when to when; kept longer than messages and labels.\n\n"
    "Example: disc-stream episodes list watch-17 --since 2026-11-29",
)

SinceOption = Annotated[
    str | None,
    typer.Option(
        "--since", help="Those that end later: ISO 8601, UTC if no offset is given, or Unix seconds."
    ),
]
UntilOption = Annotated[str | None, typer.Option("--until", help="Those that begin before, likewise.")]
NamesOption = Annotated[
    Path | None,
    typer.Option(
        "--models",
        envvar="DISC_STREAM_MODELS",
        help="Registry whose names and merges of this moment count. Default: those that the server last had.",
    ),
]


@app.command("list")
def list_episodes(
    device: Annotated[str, typer.Argument(help="The device's id.")],
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="The last so many.")] = 50,
    state: StateOption = None,
    models: NamesOption = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of text.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the episodes of a device, also while the server runs; times are UTC.

    The last one may go on. Which is short (`episode_dwell_s`) and which gap ends one (`episode_join_s`)
    are settings of the server.

    Example: disc-stream episodes list watch-17 --since 2026-11-29T08:00 --until 2026-11-29T20:00
    """
    from disc_stream_server.dataset.episodefile import write_csv

    if as_csv and as_json:
        raise ConfigError("--csv and --json exclude each other", remedy="Give one of them")
    since_us, until_us = _between(since, until)
    with _history(state, models) as history:
        summary = history.device(device)
        page = history.episodes(device, since_us, until_us, limit=limit, newest_first=True)
        shares = history.share(device, since_us, until_us)
    if summary is None and not page.items:
        raise InputNotFoundError(
            f"there are no labels of {device!r}", remedy="Check the id and --state; it needs messages first"
        )
    episodes, untimed = page.items[::-1], 0 if summary is None else summary.untimed
    if as_json:
        print_json({
            "device": device, "episodes": [_facts(one) for one in episodes],
            "more_before": page.after is not None, "untimed_labels": untimed,
            "shares": [one._asdict() for one in shares],
        })  # fmt: skip
        return
    if as_csv:
        write_csv(episodes, sys.stdout)
        return
    if not episodes:
        say(f"no episode of {device} {'then' if since or until else 'yet'}")
    else:
        _print(episodes)
        total_s = sum(one.seconds for one in shares)
        texts = [f"{one.name} {_length(one.seconds)} ({one.seconds / total_s:.0%})" for one in shares]
        say("in all: " + ", ".join(texts))
    if untimed:
        say(f"{untimed:,} labels are in no episode: their time of day is not known")
    if page.after is not None:
        say("there are earlier ones; --limit shows more")
    if episodes:
        say("next: disc-stream episodes export --out episodes.csv")


@app.command("export")
def export(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="File to write, .csv or .parquet; with --as any, or -."),
    ],
    form: Annotated[
        Form | None, typer.Option("--as", help="In the form of a standard; senml is of labels.")
    ] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", help="With --as fhir: whose it is, such as Patient/17.")
    ] = None,
    device: Annotated[
        list[str] | None, typer.Option("--device", help="Only of this device; repeatable. Default: all.")
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    state: StateOption = None,
    models: NamesOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the episodes of all devices as CSV or Parquet, also while the server runs.

    With --as fhir: a transaction Bundle of Observations of the Physical Activity guide, of one device and one
    person; of episodes that are over and whose activity has a name. With --as cloudevents: the events that
    are kept, one JSON object a line. With --as senml: labels as one pack of RFC 8428.

    Example: disc-stream episodes export --out episodes.parquet --since 2026-11-01
    """
    from disc_stream_server.dataset import episodefile

    if form is not None:
        _export_as(form, out, subject, device or [], (since, until), (state, models), force, as_json)
        return
    kind = out.suffix.lower()
    if kind not in {".csv", ".parquet"}:
        raise ConfigError(f"--out {str(out)!r} must end in .csv or .parquet")
    if kind == ".parquet":
        require_extras("disc-stream episodes export to Parquet", "parquet")
    require_free(out, force=force)
    require_writable(out.parent)
    since_us, until_us = _between(since, until)
    with _history(state, models) as history:
        devices = device or list(episodefile.all_devices(history))
        if unknown := [one for one in device or [] if history.device(one) is None]:
            raise InputNotFoundError(
                f"there are no labels of {unknown[0]!r}", remedy="Check the id and --state"
            )
        found = episodefile.all_episodes(history, devices, since_us, until_us)
        write = episodefile.write_csv_file if kind == ".csv" else episodefile.write_parquet
        count = write(found, out)
    if as_json:
        print_json({"out": str(out), "episodes": count, "devices": len(devices)})
        return
    say(f"{count:,} episodes of {len(devices):,} devices: {out}")
    if devices:
        say(f"next: disc-stream episodes list {quote(devices[0])}")


def _export_as(
    form: Form,
    out: Path,
    subject: str | None,
    devices: list[str],
    times: tuple[str | None, str | None],
    folders: tuple[Path | None, Path | None],
    force: bool,
    as_json: bool,
) -> None:
    """Write in the form of a standard."""
    if str(out) != "-":
        require_free(out, force=force)
        require_writable(out.parent)
    elif as_json:
        raise ConfigError("--out - and --json exclude each other", remedy="Name a file")
    bounds = _between(*times)
    with _history(*folders) as history:
        if unknown := [one for one in devices if history.device(one) is None]:
            raise InputNotFoundError(
                f"there are no labels of {unknown[0]!r}", remedy="Check the id and --state"
            )
        count = write(history, form, devices, bounds, subject, out)
    if as_json:
        print_json({"out": str(out), form.items: count, "as": form.value})
    elif str(out) != "-":
        say(f"{count:,} {form.items}: {out}")


def _between(since: str | None, until: str | None) -> tuple[int | None, int | None]:
    since_us = None if since is None else parse_time(since)
    until_us = None if until is None else parse_time(until)
    if since_us is not None and until_us is not None and since_us >= until_us:
        raise ConfigError(f"--since {since} is not before --until {until}", remedy="Exchange them")
    return since_us, until_us


@contextmanager
def _history(state: Path | None, models: Path | None) -> Iterator[History]:
    from disc_stream_server.storage.history import History

    history = History(state_folder(state), models)
    try:
        yield history
    finally:
        history.close()


def _print(episodes: tuple[Episode, ...]) -> None:
    rows, day = [], ""
    for one in episodes:
        begin, end = _moment(one.begin_us), _moment(one.end_us)
        date = begin.strftime("%Y-%m-%d")
        until = end.strftime("%H:%M:%S") + (" on" if one.goes_on else "")
        if end.date() != begin.date():
            until = end.strftime("%Y-%m-%d ") + until
        rows.append((
            date if date != day else "", begin.strftime("%H:%M:%S"), until, _length(one.seconds),
            one.cluster if one.cluster >= 0 else "", one.name, f"{one.confidence:.2f}",
        ))  # fmt: skip
        day = date
    print_table(("date (UTC)", "from", "to", "length", "id", "activity", "sure"), rows, folds=("activity",))


def _moment(unix_us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=unix_us)


def _length(seconds: float) -> str:
    """For people, such as 1 h 05 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _facts(one: Episode) -> dict[str, Any]:
    return {
        **one._asdict(),
        "begin": _moment(one.begin_us).isoformat(),
        "end": _moment(one.end_us).isoformat(),
        "seconds": one.seconds,
    }
