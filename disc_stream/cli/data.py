"""``disc-stream data``: inspect datasets, convert them to one format, cut them into windows."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from disc_stream.cli.common import JsonOption, print_json, reading, require_free, require_writable, say
from disc_stream.errors import ConfigError

if TYPE_CHECKING:
    from disc_stream.data.summary import Summary

app = typer.Typer(
    no_args_is_help=True,
    help="Inspect datasets, convert them to one format, cut them into windows.\n\n"
    "Example: disc-stream data info hapt --path ~/data",
)

DatasetArgument = Annotated[
    str,
    typer.Argument(
        help="Name of a dataset ('disc-stream data list'), a .npz of 'data import', or a folder of "
        "'data export'."
    ),
]
PathOption = Annotated[
    Path | None,
    typer.Option(
        "--path",
        "--data",
        envvar="DISC_STREAM_DATA",
        help="The dataset's zip or folder, or a folder that holds either.",
    ),
]
OutOption = Annotated[Path, typer.Option("--out", help="The .npz file to write.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")]


@app.command("list")
def list_datasets(as_json: JsonOption = False) -> None:
    """List the datasets that can be read.

    Example: disc-stream data list
    """
    from disc_stream.data.readers import READERS

    if as_json:
        datasets = [
            {
                "name": r.name,
                "title": r.title,
                "kind": r.kind,
                "fs": r.fs,
                "channels": len(r.channels),
                "labels": list(r.label_names),
                "n_clusters": r.n_clusters,
                "window_s": r.window_s,
                "citation": r.citation,
                "terms": r.terms,
                "files": [r.layout.folder, *r.layout.archives],
            }
            for r in READERS.values()
        ]
        print_json({"datasets": datasets})
        return
    width = max(map(len, READERS))
    for r in READERS.values():
        say(f"{r.name:<{width}}  {r.fs:3g} Hz  {len(r.channels):2d} channels  {r.title}")
    say("next: disc-stream data info NAME --path FOLDER, where FOLDER holds its zip")


@app.command("info")
def info(
    dataset: DatasetArgument,
    path: PathOption = None,
    recordings: Annotated[
        bool,
        typer.Option("--recordings", help="List every recording, by the name that other commands take."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Read a dataset, check it, and summarise it.

    Example: disc-stream data info hapt --path ~/data
    """
    from disc_stream.data.summary import summarise

    with reading(dataset) as progress:
        summary = summarise(dataset, path, progress)
    if as_json:
        print_json(summary.to_json())
        return
    _print_summary(summary)
    if recordings:
        say("recordings:")
        for name, subject, seconds in summary.recordings:
            say(f"  {name}  person {subject}  {seconds:.1f} s")
    where = "" if path is None or Path(dataset).exists() else f" --path {quote(str(path))}"
    say(f"next: disc-stream train --dataset {quote(dataset)}{where} --out RUN")


@app.command("import")
def import_(
    dataset: Annotated[
        str,
        typer.Argument(
            help="A file, gz, zip or folder of recordings; or the name of a dataset ('disc-stream data "
            "list'); csv for recordings at --path, or parquet for a folder of 'data export' there."
        ),
    ],
    out: Annotated[Path | None, typer.Option("--out", help="The .npz file to write.")] = None,
    path: PathOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, and write nothing.")
    ] = False,
    maps: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            help="What a column is (ax=acc_x[g], clock=t[ms], temp=-), whose a file is (walk.csv=person7), a "
            "file to leave out (notes.csv=-), or a YAML of such settings.",
        ),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Hz of the result; default: that of most recordings.")
    ] = None,
    source_rate: Annotated[float | None, typer.Option(help="Hz of files without a column of times.")] = None,
    bridge: Annotated[
        float | None,
        typer.Option(help="Longest stretch of lost samples that is filled, in seconds; default 0.2."),
    ] = None,
    dates: Annotated[
        str | None, typer.Option(help="day-first or month-first, for dates like 03/04/2024.")
    ] = None,
    si: Annotated[bool, typer.Option("--si", help="Convert to m/s² and rad/s.")] = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    r"""Bring recordings, or a dataset, into one file in the uniform format.

    Examples: disc-stream data import my-recordings/ --dry-run

    disc-stream data import my-recordings/ --out mine.npz

    disc-stream data import walk.csv --map 'ax=acc_x\[g]' --map 'clock=t\[ms]' --out mine.npz

    disc-stream data import hapt --path ~/data --out hapt.npz

    disc-stream data import parquet --path exported/ --out mine.npz

    Recordings may be what known loggers write, or any text with a header like
    t,acc_x\[g],gyro_x\[rad/s],label. The plan is shown before anything is written: whose each file is, what
    each column is, its rate and gaps, and what is resampled, joined or left out, with the reason. What cannot
    be known is asked. The settings are saved beside the result, for --map. docs/guides/recordings.md says
    more. Of a folder that 'disc-stream data export' wrote, each device is a person, and its overlapping
    windows become recordings again, without the model's labels.
    """
    from disc_stream.data.readers import READERS

    if out is None and not dry_run:
        raise ConfigError("where is the result to go?", remedy="Give --out FILE.npz, or --dry-run")
    if out is not None and not dry_run:
        _require_free(out, force)
    own = _own_recordings(dataset, path, tuple(READERS))
    if own is not None:
        from disc_stream.cli.data_import import Decided, Wanted, import_own

        decided = Decided(tuple(maps or ()), rate, source_rate, bridge, dates)
        import_own(Wanted(own, None if dry_run else out, si, as_json), decided)
        return
    if dry_run or maps or rate or source_rate or bridge or dates or out is None:
        raise ConfigError(
            f"{dataset!r} is a dataset, whose form is known: --dry-run, --map, --rate, --source-rate, "
            f"--bridge and --dates are for recordings of your own",
            remedy="Leave them out",
        )
    from disc_stream.data.dataset_import import import_dataset

    with reading(dataset) as progress:
        header = import_dataset(dataset, path, out, si=si, progress=progress)
    if as_json:
        print_json({"file": str(out), "header": header.model_dump()})
        return
    samples = sum(r.samples for r in header.recordings)
    units = ", ".join(f"{c.name} [{c.unit}]" for c in header.channels)
    say(f"{out}: {len(header.recordings)} recordings, {samples:,} samples of {units}")
    say(f"next: disc-stream train --dataset {quote(str(out))} --out RUN")


def _own_recordings(dataset: str, path: Path | None, known: tuple[str, ...]) -> Path | None:
    """Where recordings of one's own are; None if a dataset is meant."""
    if dataset == "csv":
        if path is None:
            raise ConfigError("where are the recordings?", remedy="Give a file or a folder of them")
        return path
    place = Path(dataset)
    return place if dataset not in known and dataset != "parquet" and place.exists() else None


@app.command("look")
def look(
    file: Annotated[Path, typer.Argument(help="A file, gz, zip or folder of recordings.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Also draw it: a .png or .svg.")] = None,
    maps: Annotated[
        list[str] | None, typer.Option("--map", help="As for data import: COLUMN=acc_x[g], or a YAML.")
    ] = None,
    source_rate: Annotated[float | None, typer.Option(help="Hz of files without a column of times.")] = None,
    dates: Annotated[
        str | None, typer.Option(help="day-first or month-first, for dates like 03/04/2024.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a recording looks like: traces, gaps, rate, when it was not worn, gravity at rest.

    In the terminal, each bar is as high as the channel's range in that piece of time; gaps are blank. A
    calibrated accelerometer measures 1 g at rest, in whatever unit.

    Example: disc-stream data look walk.csv --out walk.png
    """
    from disc_stream.cli.data_import import Decided, look_at

    look_at(file, out, Decided(tuple(maps or ()), None, source_rate, None, dates), as_json=as_json)


@app.command("windows")
def windows(
    dataset: DatasetArgument,
    out: OutOption,
    path: PathOption = None,
    window_s: Annotated[
        float | None, typer.Option("--window", help="Window length in seconds; default the dataset's own.")
    ] = None,
    overlap: Annotated[float, typer.Option(help="Share of a window that the next one repeats.")] = 0.5,
    labelled_only: Annotated[
        bool, typer.Option("--labelled-only", help="Drop windows without a scored label from both parts.")
    ] = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Cut a dataset into windows and split them into training and test parts.

    Example: disc-stream data windows hapt --path ~/data --out hapt-windows.npz
    """
    from disc_stream.data.readers import load_split
    from disc_stream.data.windowfile import write_windows

    _require_free(out, force)
    with reading(dataset) as progress:
        split = load_split(
            dataset,
            path,
            window_s=window_s,
            overlap=overlap,
            include_unlabelled=not labelled_only,
            progress=progress,
        )
    header = write_windows(out, split, dataset=dataset)
    shape = split.train.x.shape[1:]
    if as_json:
        sizes = {"train": len(split.train), "test": len(split.test), "window": list(shape)}
        print_json({"file": str(out), **sizes, "header": header.model_dump()})
        return
    say(f"{out}: {len(split.train):,} training and {len(split.test):,} test windows of {shape}")
    say(f"split: {split.protocol}")
    say(f"fingerprint of the training windows: {header.train_fingerprint}")
    say(f"next: disc-stream train --dataset {quote(str(out))} --out RUN")


def _print_summary(summary: Summary) -> None:
    say(f"{summary.name}: {summary.title}")
    say(f"people {summary.people}, recordings {len(summary.recordings)}, {summary.hours:.2f} h")
    units = ", ".join(f"{c.name} [{c.unit}]" for c in summary.channels)
    say(f"{summary.fs:g} Hz, {len(summary.channels)} channels: {units}")
    say("samples per label:")
    total = max(1, sum(summary.samples_per_label.values()))
    for name, count in summary.samples_per_label.items():
        say(f"  {name:<24} {count:>10,}  {count / total:6.1%}")
    for check in summary.checks:
        say(f"{'ok     ' if check.ok else 'DIFFERS'} {check}")
    for dropped in summary.dropped:
        say(f"left out {dropped.rows:,} rows: {dropped.reason}")
    for note in summary.notes:
        say(f"note: {note}")
    say(f"cite: {summary.citation or 'not stated'}")
    say(f"terms: {summary.terms or 'not stated'}")


def _require_free(out: Path, force: bool) -> None:
    if out.suffix != ".npz":
        raise ConfigError(f"--out {str(out)!r} must end in .npz")
    require_free(out, force=force)
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"the folder {str(out.parent)!r} does not exist", remedy="Make it first")
    require_writable(out)
