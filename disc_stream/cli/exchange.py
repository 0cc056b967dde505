"""Episodes, events and labels in the forms of standards, for ``disc-stream episodes export --as``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING

from disc_stream.errors import ConfigError

if TYPE_CHECKING:
    from disc_stream_server.storage.history import Episode, History, WindowLabel

Bounds = tuple[int | None, int | None]


class Form(StrEnum):
    """What can be written."""

    FHIR = "fhir"
    CLOUDEVENTS = "cloudevents"
    SENML = "senml"

    @property
    def items(self) -> str:
        """What of, in words."""
        return {Form.SENML: "labels", Form.CLOUDEVENTS: "events"}.get(self, "episodes")


def write(
    history: History, form: Form, devices: Sequence[str], bounds: Bounds, subject: str | None, out: Path
) -> int:
    """Write what a form is of; how many items.

    Args:
        history: what is written.
        form: how.
        devices: of these; none for all.
        bounds: begin and end of the time, Unix microseconds.
        subject: whose it is, for FHIR.
        out: a new file; ``-`` for stdout.

    Raises:
        ConfigError: if the form needs one device and a person.
    """
    if form is Form.FHIR and (len(devices) != 1 or not subject):
        raise ConfigError(
            "a health record is of one person", remedy="Give one --device, and --subject such as Patient/17"
        )
    with _output(out) as stream:
        if form is Form.FHIR:
            return _write_fhir(history, devices[0], bounds, str(subject), stream)
        if form is Form.CLOUDEVENTS:
            return _write_events(history, devices, bounds, stream)
        return _write_senml(history, devices, bounds, stream)


def _write_fhir(history: History, device: str, bounds: Bounds, subject: str, stream: IO[str]) -> int:
    from disc_stream.mappings.fhir import is_activity, to_bundle

    kept = [one for one in _episodes(history, device, bounds) if is_activity(one)]
    json.dump(to_bundle(kept, subject), stream, ensure_ascii=False)
    stream.write("\n")
    return len(kept)


def _write_senml(history: History, devices: Sequence[str], bounds: Bounds, stream: IO[str]) -> int:
    from disc_stream.mappings.senml import to_senml

    n, chosen = 0, devices or _devices(history)
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


def _write_events(history: History, devices: Sequence[str], bounds: Bounds, stream: IO[str]) -> int:
    """Events of episodes; ids are those of the history, which no feed has told yet."""
    from disc_stream.mappings.cloudevents import to_cloudevent
    from disc_stream.wire.event import SCHEMA, Event, type_of

    n, sequence, more = 0, 0, True
    since, until = bounds
    while more:
        page = history.events_since(sequence)
        sequence, more = page.sequence, page.more
        for one in page.events:
            if (devices and one.device not in devices) or not _is_within(one.at_us, since, until):
                continue
            kind = type_of(one.cluster, ended=one.kind != "begin")
            event = Event(
                SCHEMA, f"00000000-{one.sequence}", one.sequence, kind, one.device, one.at_us, one.begin_us,
                one.end_us, one.cluster, one.name,
            )  # fmt: skip
            stream.write(json.dumps(to_cloudevent(event, "urn:disc-stream:export")) + "\n")
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


@contextmanager
def _output(path: Path) -> Iterator[IO[str]]:
    """A new file that is removed if it is not finished, or stdout."""
    if str(path) == "-":
        yield sys.stdout
        return
    try:
        with path.open("w", encoding="utf-8") as stream:
            yield stream
    except BaseException:
        path.unlink(missing_ok=True)
        raise
