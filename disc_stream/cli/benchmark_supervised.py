"""``disc-stream benchmark supervised``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disc_stream.cli.common import JsonOption, print_json, require_extras, require_writable, say

if TYPE_CHECKING:
    from disc_stream.benchmarks.cells import Cell
    from disc_stream.benchmarks.grid import Failure, Request
    from disc_stream.data.types import Split

_DATASETS = (
    "uci-har", "hapt", "motionsense", "wisdm", "mhealth-partial", "actrectut-walk", "actrectut",
)  # fmt: skip


def supervised(
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", help="A dataset, or a .npz file. Repeatable; default all seven."),
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option("--method", help="A row of Table I. Repeatable; default disc-plus.")
    ] = None,
    preset: Annotated[str, typer.Option(help="Of methods that have presets.")] = "small",
    seeds: Annotated[str, typer.Option(help="Of methods and forests, separated by commas.")] = "0,1,2",
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="DISC_STREAM_DATA", help="The folder that holds the datasets."),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the classifiers' figures, one file a dataset.")
    ] = Path("docs/benchmarks/supervised"),
    cells: Annotated[
        Path, typer.Option(help="Folder of the methods' cells; those that are missing are computed.")
    ] = Path("docs/benchmarks/table1/cells"),
    page: Annotated[
        Path | None, typer.Option("--page", help="Also write the figures as a page, such as out.md.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """How far are clusters from classifiers that are given the labels?

    A linear discriminant and a random forest learn from the labels of the training people's
    windows, a method from the same windows without. Both are asked about people never trained
    on. Finished figures are kept; the same command resumes.

    Example: disc-stream benchmark supervised --dataset motionsense --data ~/data --json
    """
    require_extras("disc-stream benchmark supervised", "train")
    from disc_stream.benchmarks.cells import unique_in_order
    from disc_stream.benchmarks.grid import Request
    from disc_stream.cli.benchmark import check_preset, parse_seeds

    request = Request(
        datasets=unique_in_order(dataset or _DATASETS),
        protocols=["paper"],
        methods=unique_in_order(method or ["disc-plus"]),
        seeds=parse_seeds(seeds),
        preset=preset,
        out=cells,
        work=Path("runs/table1"),
    )
    check_preset(request)
    for place in (out, cells, *([page] if page else [])):
        require_writable(place)
    results, failures = _measure(request, out, data)
    if page is not None:
        _write_page(page, results)
    if as_json:
        failed = [{"cell": str(one.key), "reason": one.reason} for one in failures]
        print_json({"rows": results, "failed": failed})
    else:
        _print(results)
        for one in failures:
            say(f"failed: {one.key}: {one.reason}", err=True)
    if failures:
        raise typer.Exit(1)


def _measure(request: Request, out: Path, data: Path | None) -> tuple[list[dict[str, Any]], list[Failure]]:
    """Rows of all datasets, and the methods that failed on one."""
    from disc_stream.benchmarks.cells import Cell
    from disc_stream.benchmarks.grid import run_grid
    from disc_stream.benchmarks.supervised import compare, reference
    from disc_stream.cli.benchmark_progress import following

    load = _loader(data)
    results, failures = [], []
    done: list[Cell] = []
    try:
        for name in request.datasets:
            beside = reference(name, load(name), request.seeds, out, lambda what: say(what, err=True))
            results.append(beside)
        with following(request) as (callback, on_cell):
            for one in run_grid(request, load, callback, on_cell):
                if isinstance(one, Cell):
                    done.append(one)
                else:
                    failures.append(one)
    except KeyboardInterrupt:
        say("finished figures are kept; the same command resumes", err=True)
        raise
    return [compare(beside, done) for beside in results], failures


def _loader(data: Path | None) -> Callable[[str], Split]:
    from disc_stream.data.readers import load_split

    return lambda name: load_split(name, data, include_unlabelled=False)


def _write_page(page: Path, results: list[dict[str, Any]]) -> None:
    from disc_stream.benchmarks.supervised_report import render
    from disc_stream.training.files import replace_file

    notes = page.with_name(f"{page.stem}-notes.md")
    text = notes.read_text(encoding="utf-8") if notes.is_file() else ""
    replace_file(page, render(results, text).encode())


def _print(results: list[dict[str, Any]]) -> None:
    for row in results:
        people = "unseen people" if row["people_apart"] else "the same people's later motion"
        say(f"{row['dataset']}: {row['windows']:,} windows of {people}")
        for name, one in row["classifiers"].items():
            say(f"  {name:<22} NMI {one['nmi']['mean']:5.1f}  ACC {one['acc']['mean']:5.1f}")
        for name, one in row["methods"].items():
            figures = f"NMI {one['nmi']['mean']:5.1f}  ACC {one['acc']['mean']:5.1f}"
            say(f"  {name:<22} {figures}  {one['behind']:.1f} points behind the better classifier")
