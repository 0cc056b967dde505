"""``disc-stream benchmark segmentation``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disc_stream.cli.common import (
    JsonOption,
    SeedOption,
    parse_settings,
    print_json,
    require_extras,
    require_writable,
    say,
)
from disc_stream.cli.spinner import spinner

if TYPE_CHECKING:
    from disc_stream.benchmarks.segmentation import Failure, Plan, SegmentationCell

_DATASETS = ("hapt", "actrectut-walk", "mhealth-partial", "synthetic")
_QUICK: dict[str, Any] = {"spans": [0, 3], "restarts": 2, "moves": 5}


def segmentation(
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            help="A dataset, or a .npz file of recordings. Repeatable; default hapt, actrectut-walk, "
            "mhealth-partial, synthetic.",
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            help="One that train offers, or clap, pelt-kmeans, hmm, hmm-shared, kmeans. Repeatable; default "
            "disc-plus and all of those.",
        ),
    ] = None,
    preset: Annotated[str, typer.Option(help="Of methods of ours that have presets.")] = "small",
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any setting of our methods. Repeatable."),
    ] = None,
    scored: Annotated[
        bool,
        typer.Option(
            "--scored/--no-scored",
            help="Methods learn from all motion of other people, as a server does. Also let them learn from "
            "scored activities only, as in Table I.",
        ),
    ] = True,
    people: Annotated[
        int, typer.Option(min=0, help="Hold out no more than so many people; 0 for all test people.")
    ] = 0,
    clap_hz: Annotated[
        float, typer.Option(min=0, help="Samples a second that CLaP reads, averages; 0 for those recorded.")
    ] = 12.5,
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="DISC_STREAM_DATA", help="The folder that holds the datasets."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the results, one file a dataset and method.")
    ] = Path("docs/benchmarks/segmentation"),
    page: Annotated[
        Path | None, typer.Option("--page", help="Also write the figures as a page, such as out.md.")
    ] = None,
    seed: SeedOption = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="A few seconds on a simulated fleet: to see that it works.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Our labels beside published segmentation and state detection, on recordings of new people.

    CLaP, PELT with k-means and Gaussian HMMs are the libraries' own (the extra baselines); what
    is not installed is said and left out. Most look at each recording as a whole and number its
    states anew; ours label as windows come, with one set of ids. Finished figures are kept; the
    same command resumes.

    Example: disc-stream benchmark segmentation --dataset hapt --method disc-plus --data ~/data --json
    """
    require_extras("disc-stream benchmark segmentation", "train")
    from disc_stream.benchmarks.cells import unique_in_order
    from disc_stream.benchmarks.segmentation import Plan, split_methods
    from disc_stream.benchmarks.segmentation_own import Own
    from disc_stream.benchmarks.segmentation_streams import SYNTHETIC
    from disc_stream.benchmarks.segmenters import BASELINES, Options

    ours, others = split_methods(unique_in_order(method or ["disc-plus", *BASELINES]))
    settings = parse_settings(setting or [])
    if quick:
        settings = {**_QUICK, **settings} if ours == ["disc-plus"] else settings
    own = [Own(name, preset, settings) for name in ours]
    for one in own:  # a wrong setting is said before a dataset is read
        one.config()
    for place in (out, *([page] if page else [])):
        require_writable(place)
    plan = Plan(own, others, Options(seed, clap_hz), out)
    names = [SYNTHETIC] if quick else unique_in_order(dataset or _DATASETS)
    cells, failures = _measure(names, plan, data, (people, scored, quick))
    _report(cells, failures, _left_out(names, others, cells), as_json)
    if page is not None:
        _write_page(page, cells)
    if failures:
        raise typer.Exit(1)


def _left_out(names: list[str], others: list[str], cells: list[SegmentationCell]) -> list[str]:
    """Methods that are not installed, without those whose figures of all datasets were there already."""
    from disc_stream.benchmarks.segmentation import missing

    measured = {(cell.dataset, cell.method) for cell in cells}
    there = [one for one in others if all((Path(name).name, one) in measured for name in names)]
    return [one for one in missing(others) if one not in there]


def _report(
    cells: list[SegmentationCell], failures: list[Failure], left_out: list[str], as_json: bool
) -> None:
    _say_missing(left_out)
    if as_json:
        failed = [{"dataset": one.dataset, "method": one.method, "reason": one.reason} for one in failures]
        results = [cell.model_dump(mode="json") for cell in cells]
        print_json({"results": results, "failed": failed, "not_installed": left_out})
        return
    _print(cells)
    for failure in failures:
        say(f"failed: {failure.method} on {failure.dataset}: {failure.reason}", err=True)


def _say_missing(names: list[str]) -> None:
    from disc_stream.benchmarks.segmenters import BASELINES
    from disc_stream.errors import install_command

    if names:
        libraries = sorted({BASELINES[name].library for name in names})
        say(
            f"left out: {', '.join(names)}; not installed: {', '.join(libraries)}. "
            f"Run: {install_command('baselines')}",
            err=True,
        )


def _measure(
    names: list[str], plan: Plan, data: Path | None, choice: tuple[int, bool, bool]
) -> tuple[list[SegmentationCell], list[Failure]]:
    from disc_stream.benchmarks.segmentation import Failure, measure, measure_scored
    from disc_stream.benchmarks.segmentation_streams import load_streams

    people, scored, quick = choice
    cells: list[SegmentationCell] = []
    failures: list[Failure] = []
    try:
        with spinner() as on_step:
            for name in names:
                on_step(f"reading {name}")
                streams = load_streams(name, data, people, quick=quick)
                found = measure(streams, plan, on_step)
                if scored:
                    found += measure_scored(streams, plan, on_step)
                cells += [one for one in found if not isinstance(one, Failure)]
                failures += [one for one in found if isinstance(one, Failure)]
    except KeyboardInterrupt:
        say("finished figures are kept; the same command resumes", err=True)
        raise
    return cells, failures


def _write_page(page: Path, cells: list[SegmentationCell]) -> None:
    from disc_stream.benchmarks.segmentation_report import render
    from disc_stream.training.files import replace_file

    notes = page.with_name(f"{page.stem}-notes.md")
    text = notes.read_text(encoding="utf-8") if notes.is_file() else ""
    replace_file(page, render(cells, text).encode())


def _print(cells: list[SegmentationCell]) -> None:
    from disc_stream.benchmarks.segmentation_report import facts, figures

    shown = ""
    for cell in cells:
        if cell.dataset != shown:
            shown = cell.dataset
            say(facts(cell))
        for line in figures(cell):
            say("  " + line)
