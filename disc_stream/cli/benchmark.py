"""``disc-stream benchmark``: measurements that others can repeat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disc_stream.cli.benchmark_adapt import adapt
from disc_stream.cli.benchmark_continuity import continuity
from disc_stream.cli.benchmark_drift import drift
from disc_stream.cli.benchmark_encode import encode
from disc_stream.cli.benchmark_fairness import fairness
from disc_stream.cli.benchmark_gpu import gpu
from disc_stream.cli.benchmark_history import history
from disc_stream.cli.benchmark_ingest import ingest, soak
from disc_stream.cli.benchmark_latency import latency
from disc_stream.cli.benchmark_page import page
from disc_stream.cli.benchmark_retrain import retrain
from disc_stream.cli.benchmark_scrub import scrub
from disc_stream.cli.benchmark_segmentation import segmentation
from disc_stream.cli.benchmark_supervised import supervised
from disc_stream.cli.benchmark_swap import swap
from disc_stream.cli.benchmark_turned import turned
from disc_stream.cli.benchmark_week import week
from disc_stream.cli.benchmark_words import names, states
from disc_stream.cli.common import (
    JsonOption,
    parse_settings,
    print_json,
    require_extras,
    require_writable,
    say,
)
from disc_stream.cli.spinner import spinner
from disc_stream.errors import UsageError

if TYPE_CHECKING:
    from disc_stream.benchmarks.cells import Cell
    from disc_stream.benchmarks.grid import Failure, Request
    from disc_stream.data.types import Split

app = typer.Typer(no_args_is_help=True, help="Measure: Table I, continuity, training, encoding, ingest.")
app.command()(continuity)
app.command()(drift)
app.command()(adapt)
app.command()(turned)
app.command()(encode)
app.command()(gpu)
app.command()(latency)
app.command()(ingest)
app.command()(soak)
app.command()(fairness)
app.command()(swap)
app.command()(history)
app.command()(page)
app.command()(scrub)
app.command()(retrain)
app.command()(week)
app.command()(names)
app.command()(states)
app.command()(supervised)
app.command()(segmentation)

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
        list[str] | None,
        typer.Option("--protocol", help="paper, stream or adapted. Repeatable; default paper."),
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
    work: Annotated[
        Path, typer.Option(help="Folder of autoencoders and checkpoints, to resume from.")
    ] = Path("runs/table1"),
    force: Annotated[
        bool, typer.Option("--force/--resume", help="Compute again the cells that are there; or keep them.")
    ] = False,
    stay: Annotated[
        float,
        typer.Option(
            help="Protocols stream and adapted: probability that an activity continues in the next window."
        ),
    ] = 0.8,
    prior_windows: Annotated[
        float, typer.Option(help="Protocol stream: weight of the training windows in a device's statistics.")
    ] = 50.0,
    as_json: JsonOption = False,
) -> None:
    """Compute Table I of the paper, beside the paper's figures.

    Every finished cell is kept in a file of its own and not computed again; a run that was
    stopped resumes with the same command, a training from its last epoch.

    Example: disc-stream benchmark table1 --dataset uci-har --method ac-ward --method kmeans --data ~/data
    """
    require_extras("disc-stream benchmark table1", "train")
    from disc_stream.benchmarks.cells import PROTOCOLS, Cell, unique_in_order
    from disc_stream.benchmarks.grid import Request
    from disc_stream.benchmarks.protocols import StreamSettings
    from disc_stream.training.methods import METHODS, get_method

    chosen = unique_in_order(method or list(METHODS))
    for name in chosen:
        get_method(name)
    protocols = unique_in_order(protocol or ["paper"])
    if unknown := [p for p in protocols if p not in PROTOCOLS]:
        raise UsageError(f"there is no protocol {unknown[0]!r}", remedy="Use paper, stream or adapted")
    request = Request(
        datasets=unique_in_order(dataset or ["uci-har"]),
        protocols=protocols,  # type: ignore[arg-type]
        methods=chosen,
        seeds=parse_seeds(seeds),
        preset=preset,
        settings=parse_settings(setting or []),
        out=out,
        work=work,
        force=force,
        stream=StreamSettings(stay, prior_windows),
    )
    check_preset(request)
    require_writable(out)
    require_writable(work)
    results = _run(request, data)
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
        say(f"{page}: {len(cells)} cells")


def _run(request: Request, data: Path | None) -> list[Cell | Failure]:
    from disc_stream.benchmarks.grid import run_grid
    from disc_stream.cli.benchmark_progress import following
    from disc_stream.data.readers import load_split

    def load(name: str) -> Split:
        return load_split(name, data, include_unlabelled=False)

    results: list[Cell | Failure] = []
    try:
        with following(request) as (callback, on_cell):
            results.extend(run_grid(request, load, callback, on_cell))
    except KeyboardInterrupt:
        say(f"finished cells are kept in {request.out}; the same command resumes", err=True)
        raise
    return results


def parse_seeds(text: str) -> list[int]:
    """The seeds of an option: whole numbers separated by commas.

    Raises:
        UsageError: if it is something else.
    """
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--seeds {text!r} is not a list of whole numbers", remedy="Write 0,1,2") from None
    if any(not 0 <= seed < 2**32 for seed in found):
        raise UsageError(f"--seeds {text!r} has a seed that is not 0 to {2**32 - 1}", remedy="Write 0,1,2")
    return found


def check_preset(request: Request) -> None:
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
        say(f"failed: {where}: {f['reason']}", err=True)


def _print_rows(table: list[Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from disc_stream.text import printable

    shown = Table("dataset", "protocol", "method", "part", "NMI", "ACC", "ARI", "AMI", "paper NMI/ACC", "Δ")
    for row in table:
        for part in row.parts:
            scores = [_mean_sd(row, part, metric) for metric in ("nmi", "acc", "ari", "ami")]
            first = row.first
            cells = (first.dataset, first.protocol, first.method, part, *scores, *_beside(row, part))
            shown.add_row(*(Text(printable(cell)) for cell in cells))  # as text: a name may have brackets
    Console(width=None if Console().is_terminal else 140).print(shown)


def _beside(row: Any, part: str) -> tuple[str, str]:
    """The paper's figures, and how far ours are from them."""
    paper = [row.paper_value(part, metric) for metric in ("nmi", "acc")]
    if None in paper:
        return "", ""
    ahead = [row.mean(part, metric) - value for metric, value in zip(("nmi", "acc"), paper, strict=True)]
    mark = "" if row.first.dataset == row.to_dict()["paper_is_of"] else "~"  # of another dataset: a reference
    return f"{mark}{paper[0]:.2f}/{paper[1]:.2f}", f"{ahead[0]:+.1f}/{ahead[1]:+.1f}"


def _mean_sd(row: Any, part: str, metric: str) -> str:
    deviation = row.deviation(part, metric)
    return f"{row.mean(part, metric):.2f}" + (f"±{deviation:.1f}" if deviation is not None else "")


@app.command()
def train(
    preset: Annotated[str, typer.Option(help="released; or paper or small with --set frame=1.")] = "released",
    dataset: Annotated[str, typer.Option(help="Whose windows to train on.")] = "uci-har",
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="DISC_STREAM_DATA", help="The folder that holds the datasets."),
    ] = None,
    batches: Annotated[int, typer.Option(min=1, help="Batches to measure, of each implementation.")] = 5,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any other setting. Repeatable.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Time DISC's training against a plain eager implementation in fp32, in the same run.

    Without data, windows of noise of UCI HAR's shape are used: the time does not depend on
    what is in them. An epoch's seconds are those of a batch times the batches of an epoch.

    Example: disc-stream benchmark train --json
    """
    require_extras("disc-stream benchmark train", "train")
    from disc_stream.benchmarks.training_speed import measure
    from disc_stream.training.presets import resolve

    config = resolve(preset, parse_settings(setting or []))
    windows = _windows_of(dataset, data)
    with spinner() as say:
        facts = measure(windows, config, rounds=batches, device_name=device, on_step=say)
    facts = {"preset": preset, "dataset": dataset if data else "noise", **facts}
    if as_json:
        print_json(facts)
        return
    titles = {"ours": "disc-stream", "eager_fp32": "eager, fp32", "eager_gru_cells": "eager, GRU cells"}
    for name, title in titles.items():
        speed = facts[name]
        seconds = f"{speed['batch_s_median']:8.3f} s a batch {speed['epoch_s']:9.1f} s an epoch"
        say(f"{title:<17} {seconds}")
    say(
        f"ratio {facts['ratio']:.2f} (against GRU cells {facts['ratio_gru_cells']:.2f}); "
        f"{facts['measured_batches']} batches of each measured, {facts['batches_per_epoch']} make an epoch"
    )
    say(
        f"{facts['windows_per_s']:,.0f} windows/s; {facts['gflop_per_s']:,.0f} GFLOP/s, "
        f"{facts['share_of_peak']:.0%} of the measured {facts['precision']} peak"
    )


def _windows_of(dataset: str, data: Path | None) -> Any:
    if data is None:
        import numpy as np

        return np.random.default_rng(0).normal(size=(7352, 128, 9)).astype(np.float32)
    from disc_stream.data.readers import load_split

    return load_split(dataset, data, include_unlabelled=False).train.x
