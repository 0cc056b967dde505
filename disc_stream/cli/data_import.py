"""``disc-stream data import`` of recordings of one's own, and ``data look``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from disc_stream.cli.common import print_json, reading, require_extras, require_writable, say
from disc_stream.errors import ConfigError

if TYPE_CHECKING:
    from disc_stream.data.importing.settings import Settings


@dataclass(frozen=True, slots=True)
class Decided:
    """What the options of the command say.

    Args:
        maps: ``--map``, each a YAML file or COLUMN=WHAT.
        rate: ``--rate``.
        source_rate: ``--source-rate``.
        bridge: ``--bridge``.
        dates: ``--dates``.
    """

    maps: tuple[str, ...] = ()
    rate: float | None = None
    source_rate: float | None = None
    bridge: float | None = None
    dates: str | None = None

    def settings(self) -> Settings:
        """All of it together; what is said on the command line counts more than what a file says.

        Raises:
            ConfigError: if one is not usable.
            InputNotFoundError: if a file does not exist.
        """
        from disc_stream.data.importing.settings import read_settings

        if self.dates not in (None, "day-first", "month-first"):
            raise ConfigError(f"--dates {self.dates!r} is neither day-first nor month-first")
        said = {
            "rate": self.rate, "source_rate": self.source_rate, "bridge_s": self.bridge, "dates": self.dates,
        }  # fmt: skip
        base = read_settings(self.maps)
        return type(base).model_validate(
            base.model_dump() | {key: value for key, value in said.items() if value is not None}
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be made.

    Args:
        path: where the recordings are.
        out: the file to write; None for a plan alone.
        si: whether units become m/s² and rad/s.
        as_json: whether to print JSON.
    """

    path: Path
    out: Path | None
    si: bool
    as_json: bool


def import_own(wanted: Wanted, decided: Decided) -> None:
    """Show the plan of an import, and write its result unless only the plan is wanted."""
    from disc_stream.data.importing.front import import_recordings
    from disc_stream.data.importing.writer import settings_path, write_import
    from disc_stream.data.uniform import to_si

    settings = decided.settings()
    with reading(wanted.path.name) as progress:
        plan, recordings = import_recordings(wanted.path, settings, progress)
    if not wanted.as_json:
        for line in plan.lines():
            say(line)
    out = wanted.out
    if out is None:
        if wanted.as_json:
            print_json({"file": None, "plan": plan.to_json()})
        else:
            say("nothing is written (--dry-run)")
            say(f"next: disc-stream data import {quote(str(wanted.path))} --out mine.npz")
        return
    if wanted.si:
        recordings = [to_si(one) for one in recordings]
    header = write_import(out, plan, recordings, settings)
    if wanted.as_json:
        print_json({"file": str(out), "plan": plan.to_json(), "header": header.model_dump()})
        return
    samples = sum(r.samples for r in header.recordings)
    units = ", ".join(f"{c.name} [{c.unit}]" for c in header.channels)
    say(f"{out}: {len(header.recordings)} recordings, {samples:,} samples of {units}")
    say(f"settings, for --map: {settings_path(out)}")
    say(f"next: disc-stream train --dataset {quote(str(out))} --out RUN")


def look_at(path: Path, out: Path | None, decided: Decided, *, as_json: bool) -> None:
    """Show what recordings look like: in the terminal, and as a figure."""
    from disc_stream.data.importing.build import load
    from disc_stream.data.importing.look import look_at_recordings

    if out is not None:
        require_extras("disc-stream data look --out", "plot")
        from disc_stream.plots.style import check_target

        check_target(out)
        require_writable(out)
    with reading(path.name) as progress:
        loaded = load(path, decided.settings(), progress)
    looks = look_at_recordings(loaded)
    if out is not None:
        from disc_stream.plots.recording import draw_recordings
        from disc_stream.plots.style import save

        save(draw_recordings(look_at_recordings(loaded, columns=900)), out)
    if as_json:
        print_json({"file": str(out) if out else None, "recordings": [look.to_json() for look in looks]})
        return
    for look in looks:
        for line in look.lines():
            say(line)
    if out is not None:
        say(f"{out}: {out.stat().st_size:,} bytes")
    say(f"next: disc-stream data import {quote(str(path))} --dry-run")
