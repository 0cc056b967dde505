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
            help="Name of a dataset ('disc-stream data list'), csv for your own files, or parquet for a "
            "folder of 'data export'."
        ),
    ],
    out: OutOption,
    path: PathOption = None,
    si: Annotated[bool, typer.Option("--si", help="Convert to m/s² and rad/s.")] = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    r"""Write a dataset's recordings to one file in the uniform format.

    Examples: disc-stream data import hapt --path ~/data --out hapt.npz

    disc-stream data import csv --path my-recordings/ --out mine.npz

    disc-stream data import parquet --path exported/ --out mine.npz

    Your own files are one CSV for each recording, with a header like t,acc_x\[g],gyro_x\[rad/s],label: t in
    seconds (or t\[ms]), a label where there is one; the person is the number in a name like user07-walk.csv.
    Of a folder that 'disc-stream data export' wrote, each device is a person, and its overlapping windows
    become recordings again, without the model's labels.
    """
    from disc_stream.data.importing import import_dataset

    _require_free(out, force)
    with reading(dataset) as progress:
        header = import_dataset(dataset, path, out, si=si, progress=progress)
    if as_json:
        print_json({"file": str(out), "header": header.model_dump()})
        return
    samples = sum(r.samples for r in header.recordings)
    units = ", ".join(f"{c.name} [{c.unit}]" for c in header.channels)
    say(f"{out}: {len(header.recordings)} recordings, {samples:,} samples of {units}")
    say(f"next: disc-stream train --dataset {quote(str(out))} --out RUN")


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
