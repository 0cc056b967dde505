"""``disc-stream benchmark continuity``."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disc_stream.cli.common import (
    JsonOption,
    parse_settings,
    print_json,
    require_extras,
    require_writable,
    say,
)
from disc_stream.errors import UsageError

if TYPE_CHECKING:
    from disc_stream.benchmarks.continuity import Schedule
    from disc_stream.benchmarks.continuity_cells import ContinuityCell, Failure, Key, Request
    from disc_stream.data.types import Split

_DATASETS = ("hapt", "motionsense", "mhealth-partial")
_OUT = Path("docs/benchmarks/continuity/cells")


def continuity(
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            help="A dataset, or a .npz file. Repeatable; default hapt, motionsense, mhealth-partial.",
        ),
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option("--method", help="disc, dsc or disc-plus. Repeatable; default disc.")
    ] = None,
    start: Annotated[
        list[str] | None,
        typer.Option(
            "--start",
            help="scratch, or warm: from the weights and clusters of the model in use. Repeatable; "
            "default both.",
        ),
    ] = None,
    held_back: Annotated[
        list[str] | None,
        typer.Option(
            "--held-back",
            metavar="ACTIVITY",
            help="An activity that only comes with the second group of new people. Repeatable, each in "
            "cells of its own.",
        ),
    ] = None,
    grow: Annotated[
        bool,
        typer.Option(
            "--grow",
            help="Warm retrainings find the number of clusters: one more for every group of new motion.",
        ),
    ] = False,
    retrainings: Annotated[int, typer.Option(min=1, help="Retrainings after the first training.")] = 5,
    warm_rate: Annotated[
        float | None,
        typer.Option(
            "--warm-rate",
            min=1e-6,
            max=1.0,
            help="Learning rates of a warm retraining, as a share of those from scratch: the lower, the "
            "fewer windows change their id and the less is learned; default about 0.03.",
        ),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "0",
    preset: Annotated[str, typer.Option(help="small, released or paper.")] = "small",
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any setting of the method. Repeatable."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="DISC_STREAM_DATA", help="The folder that holds the datasets."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the cells, one file each.")] = _OUT,
    force: Annotated[
        bool, typer.Option("--force/--resume", help="Compute again the cells that are there; or keep them.")
    ] = False,
    page: Annotated[
        Path | None, typer.Option("--page", help="Also write all cells in --out as a page, such as out.md.")
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="A few seconds on a simulated fleet, nothing kept: to see that it works."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Retrain on what accumulates, and measure which windows and names keep their meaning.

    A model learns from half of the people and its clusters get ids and names. The other
    people come in groups; after each a new model, of another seed and another number of
    clusters, gets the ids of the old one by anchors. Finished cells are kept; the same
    command resumes.

    Example: disc-stream benchmark continuity --dataset hapt --retrainings 5 --data ~/data
    """
    require_extras("disc-stream benchmark continuity", "train")
    from disc_stream.benchmarks.cells import unique_in_order
    from disc_stream.benchmarks.continuity import STARTS
    from disc_stream.benchmarks.continuity_cells import ContinuityCell, Request, read_cells
    from disc_stream.benchmarks.continuity_quick import quick_request
    from disc_stream.benchmarks.continuity_report import write_page
    from disc_stream.cli.benchmark import parse_seeds

    starts = unique_in_order(start or STARTS)
    if unknown := [one for one in starts if one not in STARTS]:
        raise UsageError(f"--start {unknown[0]!r} is not known", remedy=f"Use {' or '.join(STARTS)}")
    with tempfile.TemporaryDirectory() as nowhere:
        request = Request(
            datasets=unique_in_order(dataset or _DATASETS),
            methods=unique_in_order(method or ["disc"]),
            starts=starts,  # type: ignore[arg-type]
            seeds=parse_seeds(seeds),
            held_back=unique_in_order(held_back or []),
            retrainings=retrainings,
            preset=preset,
            out=out,
            settings=parse_settings(setting or []),
            grow=grow,
            force=force,
        )
        if quick:
            small = quick_request(tuple(starts), list(request.held_back), Path(nowhere))  # type: ignore[arg-type]
            request = replace(small, grow=grow)
        _check(request)
        if warm_rate is not None:
            request = replace(request, schedule=_with_rate(request, warm_rate))
        for place in (request.out, page):
            if place is not None:
                require_writable(place)
        results = _run(request, data)
        if page is not None and (cells := read_cells(request.out)):
            write_page(cells, page)
    cells = [one for one in results if isinstance(one, ContinuityCell)]
    failures = [one for one in results if not isinstance(one, ContinuityCell)]
    _report(cells, failures, as_json)
    if failures:
        raise typer.Exit(1)


def _with_rate(request: Request, rate: float) -> Schedule:
    """The schedule with other learning rates of a warm retraining; by the first method's own rates."""
    from disc_stream.benchmarks.continuity import GENTLE
    from disc_stream.benchmarks.continuity_cells import settings_of
    from disc_stream.training.session import exportable_recipe

    name = request.methods[0]
    config = exportable_recipe(name).resolve(request.preset, settings_of(name, request.settings))
    rates = {one: rate * getattr(config, one) for one in ("learning_rate", "refine_learning_rate")}
    return replace(request.schedule, warm_settings={**GENTLE, **rates})


def _check(request: Request) -> None:
    """A wrong method, preset or setting is said before a dataset is read."""
    from disc_stream.benchmarks.continuity_cells import settings_of
    from disc_stream.training.session import exportable_recipe

    if request.grow and "scratch" in request.starts:
        raise UsageError("--grow goes on from the model in use", remedy="Add --start warm")
    for name in request.methods:
        recipe = exportable_recipe(name)
        recipe.resolve(request.preset, settings_of(name, request.settings))


def _run(request: Request, data: Path | None) -> list[ContinuityCell | Failure]:
    from disc_stream.benchmarks.continuity_cells import keys, run_all
    from disc_stream.benchmarks.continuity_quick import SYNTHETIC, synthetic_split
    from disc_stream.data.readers import load_split

    def load(name: str) -> Split:
        return synthetic_split() if name == SYNTHETIC else load_split(name, data, include_unlabelled=False)

    order = keys(request)

    def on_stage(key: Key, stage: int) -> None:
        what = f"retraining {stage} of {request.retrainings}" if stage else "first training"
        say(f"{order.index(key) + 1}/{len(order)} {key}: {what}", err=True)

    results: list[ContinuityCell | Failure] = []
    try:
        results.extend(run_all(request, load, on_stage=on_stage))
    except KeyboardInterrupt:
        say(f"finished cells are kept in {request.out}; the same command resumes", err=True)
        raise
    return results


def _report(cells: Sequence[ContinuityCell], failures: Sequence[Failure], as_json: bool) -> None:
    from disc_stream.benchmarks.continuity_report import summary

    rows = [summary(cell) for cell in cells]
    if as_json:
        failed = [{"cell": str(one.key), "reason": one.reason} for one in failures]
        print_json({"rows": rows, "failed": failed})
        return
    for row in rows:
        _say_row(row)
    for one in failures:
        say(f"failed: {one.key}: {one.reason}", err=True)


def _say_row(row: dict[str, Any]) -> None:
    held_out, names = row["windows"]["held_out"], row["names"]
    say(f"{row['dataset']}, {row['method']}, {row['start']}, seed {row['seed']}")
    say(
        f"  held-out windows: {held_out['kept']:.1%} keep their id, at best {held_out['best']:.1%} "
        f"({held_out['of_best']:.2%} of the best; at least {held_out['least_of_best']:.2%}); "
        f"without alignment {held_out['unaligned']:.1%}"
    )
    right, given = sum(one["right"] for one in names), sum(one["given"] for one in names)
    say(f"  names right: {right} of {given}; at best {sum(one['possible'] for one in names)}")
    if seen := row.get("appeared"):
        found = f"found by retraining {seen['found_at']}" if seen["found_at"] else "not found"
        found += f" ({seen['retrainings_with_it']} with it)"
        say(
            f"  {row['held_back']}: {found}, after {seen['windows_seen']} windows "
            f"({seen['minutes_seen']} minutes); others moved {seen['others_moved']:.1%}; called unknown "
            f"before {seen['unknown']:.1%}, known windows {seen['known_unknown']:.1%}"
        )
