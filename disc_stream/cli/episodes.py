"""``disc-stream episodes``: the past of devices, in forms that other programs read."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from disc_stream.cli.common import say
from disc_stream.cli.streams import StateOption, state_folder
from disc_stream.errors import ConfigError

if TYPE_CHECKING:
    from disc_stream_server.storage.history import Episode, History, WindowLabel

app = typer.Typer(
    no_args_is_help=True,
    help="Episodes: what devices' wearers did, from then to then.\n\n"
    "Example: disc-stream episodes export --as fhir --device watch-17 --subject Patient/17",
)


class Form(StrEnum):
    """What can be written."""

    FHIR = "fhir"
    CLOUDEVENTS = "cloudevents"
    SENML = "senml"


@app.command()
def export(
    form: Annotated[Form, typer.Option("--as", help="fhir, cloudevents, or senml, which is of labels.")],
    device: Annotated[str | None, typer.Option("--device", help="Only of this device.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="UTC, such as 2026-05-01T08:00.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Likewise.")] = None,
    subject: Annotated[
        str | None, typer.Option("--subject", help="For fhir: whose it is, such as Patient/17.")
    ] = None,
    state: StateOption = None,
    models: Annotated[
        Path | None, typer.Option("--models", envvar="DISC_STREAM_MODELS", help="Registry, for names of now.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A new file. Default: stdout.")] = None,
) -> None:
    """Write episodes, or labels, in the form of a standard.

    fhir: a transaction Bundle of Observations of the Physical Activity guide, for one device and one person;
    of episodes that are over and whose activity has a name. cloudevents: one JSON object a line, of the
    events that are kept. senml: one pack (RFC 8428) of labels. Reads while the server runs, too.

    Example: disc-stream episodes export --as senml --device watch-17 --since 2026-05-01 --out may.json
    """
    from contextlib import closing

    from disc_stream_server.storage.history import History

    bounds = (_time(since, "--since"), _time(until, "--until"))
    if form is Form.FHIR and (device is None or subject is None):
        raise ConfigError(
            "a health record is of one person", remedy="Give --device, and --subject such as Patient/17"
        )
    folder = state_folder(state)
    with closing(History(folder, models)) as history, _output(out) as stream:
        if form is Form.CLOUDEVENTS:
            n = _write_events(history, folder, device, bounds, stream)
        elif form is Form.FHIR:
            n = _write_fhir(history, str(device), bounds, str(subject), stream)
        else:
            n = _write_senml(history, device, bounds, stream)
    if out is not None:
        what = {Form.SENML: "labels", Form.CLOUDEVENTS: "events"}.get(form, "episodes")
        say(f"{out}: {n:,} {what}")


Bounds = tuple[int | None, int | None]


def _write_fhir(history: History, device: str, bounds: Bounds, subject: str, stream: IO[str]) -> int:
    from disc_stream.mappings.fhir import is_activity, to_bundle

    kept = [one for one in _episodes(history, device, bounds) if is_activity(one)]
    json.dump(to_bundle(kept, subject), stream, ensure_ascii=False)
    stream.write("\n")
    return len(kept)


def _write_senml(history: History, device: str | None, bounds: Bounds, stream: IO[str]) -> int:
    from disc_stream.mappings.senml import to_senml

    n, chosen = 0, [device] if device is not None else _devices(history)
    stream.write("[")
    for one in chosen:
        for page in _labels(history, one, bounds):
            records = to_senml(page)  # each page begins with its base: a pack of any length, in little memory
            text = ",\n".join(json.dumps(record, ensure_ascii=False) for record in records)
            if text:
                stream.write((",\n" if n else "") + text)
                n += len(records) // 2
    stream.write("]\n")
    return n


def _write_events(history: History, folder: Path, device: str | None, bounds: Bounds, stream: IO[str]) -> int:
    """Events of episodes; ids are those of the history, which no feed has told yet."""
    from disc_stream.mappings.cloudevents import source_of, to_cloudevent
    from disc_stream.wire.event import SCHEMA, Event, type_of

    n, sequence, more = 0, 0, True
    since, until = bounds
    while more:
        page = history.events_since(sequence)
        sequence, more = page.sequence, page.more
        for one in page.events:
            if (device is not None and one.device != device) or not _is_within(one.at_us, since, until):
                continue
            kind = type_of(one.cluster, ended=one.kind != "begin")
            event = Event(
                SCHEMA, f"00000000-{one.sequence}", one.sequence, kind, one.device, one.at_us, one.begin_us,
                one.end_us, one.cluster, one.name,
            )  # fmt: skip
            stream.write(json.dumps(to_cloudevent(event, source_of(f"history:{folder.name}"))) + "\n")
            n += 1
    return n


def _is_within(at_us: int, since: int | None, until: int | None) -> bool:
    return (since is None or at_us >= since) and (until is None or at_us < until)


def _episodes(history: History, device: str, bounds: Bounds) -> Iterator[Episode]:
    after = None
    while True:
        page = history.episodes(device, *bounds, after=after)
        yield from page.items
        if (after := page.after) is None:
            return


def _labels(history: History, device: str, bounds: Bounds) -> Iterator[tuple[WindowLabel, ...]]:
    after = None
    while True:
        page = history.labels(device, *bounds, after=after, limit=5_000)
        yield page.items
        if (after := page.after) is None:
            return


def _devices(history: History) -> Iterator[str]:
    after = None
    while True:
        page = history.devices(after=after)
        yield from (one.device for one in page.items)
        if (after := page.after) is None:
            return


def _time(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{option} {text[:60]!r} is no time", remedy="Write 2026-05-01T08:00, in UTC"
        ) from None
    return round((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp() * 1e6)


class _output:  # noqa: N801 - used like a function
    """A new file that is removed if it is not finished, or stdout."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def __enter__(self) -> IO[str]:
        self._stream: IO[str] = sys.stdout
        if self._path is not None:
            try:
                self._stream = self._path.open("x", encoding="utf-8")
            except FileExistsError:
                raise ConfigError(f"{str(self._path)!r} is there already", remedy="Name a new file") from None
        return self._stream

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if self._path is not None:
            self._stream.close()
            if kind is not None:
                self._path.unlink(missing_ok=True)
