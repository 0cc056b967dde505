"""``disc-stream benchmark``: measurements that others can repeat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disc_stream.cli.common import JsonOption, print_json, require_extras
from disc_stream.errors import UsageError

if TYPE_CHECKING:
    from disc_stream.benchmarks.cells import Cell
    from disc_stream.benchmarks.grid import Failure, Request

app = typer.Typer(no_args_is_help=True, help="Measure: Table I, training speed.")

_DEFAULT_OUT = Path("docs/benchmarks/table1/cells")
OutOption = Annotated[Path, typer.Option("--out", "-o", help="Folder of the cells, one file each.")]


@app.command()
def table1(
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", help="A dataset, or a .npz file. Repeatable; default uci-har."),
    ] = None,
    method: Annotated[
        list[str] | None, typer.Option("--method", help="A row of the table. Repeatable; default all.")
    ] = None,
    protocol: Annotated[
        list[str] | None, typer.Option("--protocol", help="paper or stream. Repeatable; default paper.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds, separated by commas.")] = "0",
    preset: Annotated[str, typer.Option(help="small, released or paper.")] = "small",
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any setting of the methods. Repeatable."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="DISC_STREAM_DATA", help="The folder that holds the datasets."),
    ] = None,
    out: OutOption = _DEFAULT_OUT,
    work: Annotated[Path, typer.Option(help="Folder of autoencoders and checkpoints, to go on from.")] = Path(
        "runs/table1"
    ),
    force: Annotated[bool, typer.Option("--force", help="Compute cells again that are there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compute Table I of the paper, beside the paper's figures.

    Every finished cell is kept in a file of its own and not computed again; a run that was
    stopped goes on with the same command, an autoencoder's training from its last epoch.

    Example: disc-stream benchmark table1 --dataset uci-har --method ac-ward --method kmeans --data ~/data
    """
    require_extras("disc-stream benchmark table1", "train")
    from disc_stream.benchmarks.cells import PROTOCOLS, Cell, unique_in_order
    from disc_stream.benchmarks.grid import Request, run_grid
    from disc_stream.cli.common import parse_settings
    from disc_stream.training.methods import METHODS, get_method

    chosen = unique_in_order(method or list(METHODS))
    for name in chosen:
        get_method(name)
    protocols = unique_in_order(protocol or ["paper"])
    if unknown := [p for p in protocols if p not in PROTOCOLS]:
        raise UsageError(f"there is no protocol {unknown[0]!r}", remedy=f"Use {' or '.join(PROTOCOLS)}")
    request = Request(
        datasets=unique_in_order(dataset or ["uci-har"]),
        protocols=protocols,  # type: ignore[arg-type]
        methods=chosen,
        seeds=_parse_seeds(seeds),
        preset=preset,
        settings=parse_settings(setting or []),
        out=out,
        work=work,
        force=force,
    )
    _check_preset(request)
    from disc_stream.cli.benchmark_progress import following
    from disc_stream.data.readers import load_split

    with following(request) as (callback, on_cell):
        results = list(
            run_grid(
                request, lambda name: load_split(name, data, include_unlabelled=False), callback, on_cell
            )
        )
    cells = [result for result in results if isinstance(result, Cell)]
    failures = [result for result in results if not isinstance(result, Cell)]
    _report(cells, failures, as_json)
    if failures:
        raise typer.Exit(1)


@app.command()
def render(
    out: OutOption = _DEFAULT_OUT,
    page: Annotated[Path, typer.Option(help="The page to write.")] = Path("docs/benchmarks/table1.md"),
    as_json: JsonOption = False,
) -> None:
    """Write the page of Table I from its cells.

    The text of NAME-notes.md beside the page, if there is one, becomes part of it.

    Example: disc-stream benchmark render
    """
    require_extras("disc-stream benchmark render", "train")
    from disc_stream.benchmarks.cells import read_cells
    from disc_stream.benchmarks.report import write_page

    cells = read_cells(out)
    if not cells:
        raise UsageError(
            f"there are no cells in {str(out)!r}", remedy="Run disc-stream benchmark table1 first"
        )
    write_page(cells, page, page.with_name(f"{page.stem}-notes.md"))
    if as_json:
        print_json({"page": str(page), "cells": len(cells)})
    else:
        typer.echo(f"{page}: {len(cells)} cells")


def _parse_seeds(text: str) -> list[int]:
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--seeds {text!r} is not a list of whole numbers", remedy="Write 0,1,2") from None
    if any(not 0 <= seed < 2**32 for seed in found):
        raise UsageError(f"--seeds {text!r} has a seed that is not 0 to {2**32 - 1}", remedy="Write 0,1,2")
    return found


def _check_preset(request: Request) -> None:
    """A wrong preset or setting is said before a dataset is read."""
    from disc_stream.benchmarks.grid import configuration_of
    from disc_stream.training.methods import get_method

    for name in request.methods:
        configuration_of(get_method(name), request, n_clusters=2, seed=0)


def _report(cells: list[Cell], failures: list[Failure], as_json: bool) -> None:
    from disc_stream.benchmarks.summary import rows

    table = rows(cells)
    failed = [
        {"dataset": f.key.dataset, "protocol": f.key.protocol, "method": f.key.method, "seed": f.key.seed,
         "reason": f.reason}
        for f in failures
    ]  # fmt: skip
    if as_json:
        print_json({"rows": [row.to_dict() for row in table], "failed": failed})
        return
    _print_rows(table)
    for f in failed:
        where = f"{f['method']} on {f['dataset']} (seed {f['seed']})"
        typer.echo(f"failed: {where}: {f['reason']}", err=True)


def _print_rows(table: list[Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    shown = Table("dataset", "protocol", "method", "part", "NMI", "ACC", "ARI", "AMI", "paper NMI/ACC", "Δ")
    for row in table:
        for part in row.parts:
            scores = [_mean_sd(row, part, metric) for metric in ("nmi", "acc", "ari", "ami")]
            first = row.first
            shown.add_row(first.dataset, first.protocol, first.method, part, *scores, *_beside(row, part))
    Console(width=None if Console().is_terminal else 140).print(shown)


def _beside(row: Any, part: str) -> tuple[str, str]:
    """The paper's figures, and how far ours are from them."""
    paper = [row.paper_value(part, metric) for metric in ("nmi", "acc")]
    if None in paper:
        return "", ""
    ahead = [row.mean(part, metric) - value for metric, value in zip(("nmi", "acc"), paper, strict=True)]
    return f"{paper[0]:.2f}/{paper[1]:.2f}", f"{ahead[0]:+.1f}/{ahead[1]:+.1f}"


def _mean_sd(row: Any, part: str, metric: str) -> str:
    deviation = row.deviation(part, metric)
    return f"{row.mean(part, metric):.2f}" + (f"±{deviation:.1f}" if deviation is not None else "")
