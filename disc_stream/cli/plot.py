"""``disc-stream plot``: figures of runs and of Table I."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disc_stream.cli.common import JsonOption, SeedOption, print_json, require_extras, require_writable, say
from disc_stream.errors import TrainingError, UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

app = typer.Typer(no_args_is_help=True, help="Draw: embeddings, confusions, trainings, Table I.")

RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="Run folder that 'disc-stream train' wrote.")
]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="File to write, .png or .svg.")]


@app.command()
def embedding(run: RunArgument, out: OutOption, seed: SeedOption = 0, as_json: JsonOption = False) -> None:
    """Draw the embedding space from the initial weights to the end (PCA to 50, then t-SNE).

    Colour and marker show the activity where the dataset has activities, else the cluster.

    Example: disc-stream plot embedding runs/hapt --out embedding.png
    """
    _prepare("disc-stream plot embedding", out)
    from disc_stream.plots.embedding import draw_embedding
    from disc_stream.training.evidence import load_evidence

    evidence = load_evidence(run)
    figure = draw_embedding(evidence, _title(run), seed)
    _write(figure, out, {"stages": list(evidence.stages), "windows": len(evidence.activities)}, as_json)


@app.command()
def confusion(
    run: RunArgument,
    out: OutOption,
    part: Annotated[str, typer.Option(help="train or test.")] = "test",
    as_json: JsonOption = False,
) -> None:
    """Draw activities against clusters, after the best one-to-one matching.

    Example: disc-stream plot confusion runs/hapt --out confusion.png
    """
    _prepare("disc-stream plot confusion", out)
    if part not in ("train", "test"):
        raise UsageError(f"there is no part {part!r}", remedy="Use train or test")
    from disc_stream.plots.confusion import draw_confusion
    from disc_stream.training.evidence import load_evidence

    evidence = load_evidence(run)
    figure = draw_confusion(evidence, _title(run), part)
    _write(figure, out, {"part": part, "windows": len(evidence.parts[part][0])}, as_json)


@app.command()
def training(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="One or several run folders.")],
    out: OutOption,
    as_json: JsonOption = False,
) -> None:
    """Draw losses and changing labels over the epochs; of disc-plus, the scores of its candidates.

    Example: disc-stream plot training runs/hapt runs/hapt-seed1 --out training.svg
    """
    _prepare("disc-stream plot training", out)
    from disc_stream.plots.training import draw_training

    histories = {_name(run, runs): _history(run) for run in runs}
    lengths = {name: len(history) for name, history in histories.items()}
    _write(draw_training(histories), out, {"epochs": lengths}, as_json)


@app.command()
def table1(
    out: OutOption,
    cells: Annotated[Path, typer.Option(help="Folder of the cells.")] = Path("docs/benchmarks/table1/cells"),
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", help="Only this dataset. Repeatable.")
    ] = None,
    protocol: Annotated[str, typer.Option(help="paper or stream.")] = "paper",
    part: Annotated[str, typer.Option(help="test, train, test_causal or test_noncausal.")] = "test",
    as_json: JsonOption = False,
) -> None:
    """Draw every method's NMI and ACC beside the paper's.

    Example: disc-stream plot table1 --out table1.png
    """
    _prepare("disc-stream plot table1", out)
    from disc_stream.benchmarks.cells import read_cells
    from disc_stream.plots.table import draw_table

    chosen = [cell for cell in read_cells(cells) if not dataset or cell.dataset in dataset]
    if not chosen:
        raise UsageError(
            f"there are no such cells in {str(cells)!r}", remedy="Run disc-stream benchmark table1 first"
        )
    _write(draw_table(chosen, protocol, part), out, {"cells": len(chosen), "protocol": protocol}, as_json)


def _prepare(command: str, out: Path) -> None:
    """What can be wrong is said before anything is computed."""
    require_extras(command, "train", "plot")
    from disc_stream.plots.style import check_target

    check_target(out)
    require_writable(out)


def _write(figure: Figure, out: Path, facts: dict[str, Any], as_json: bool) -> None:
    from disc_stream.plots.style import save

    save(figure, out)
    size = out.stat().st_size
    if as_json:
        print_json({"file": str(out), "bytes": size, **facts})
    else:
        say(f"{out}: {size:,} bytes")


def _title(run: Path) -> str:
    from disc_stream.training.runs import read_info

    info = read_info(run)
    name = info.method if info.method == info.preset else f"{info.method}, preset {info.preset}"
    return f"{name} on {info.dataset}, seed {info.seed}"


def _name(run: Path, runs: list[Path]) -> str:
    """The folder's name, or its path where two have the same."""
    return run.name if [r.name for r in runs].count(run.name) == 1 else str(run)


def _history(run: Path) -> list[dict[str, Any]]:
    from disc_stream.artifacts.run import HISTORY_FILE
    from disc_stream.cli.common import require_path

    file = require_path(require_path(run, "run folder") / HISTORY_FILE, "history")
    try:
        return [json.loads(line) for line in file.read_text().splitlines()]
    except ValueError as error:
        raise TrainingError(f"{str(file)!r} cannot be read: {error}", remedy="Train it again") from error
