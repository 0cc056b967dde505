"""``disc-stream benchmark encode``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disc_stream.cli.common import JsonOption, print_json, require_extras, say
from disc_stream.cli.spinner import spinner
from disc_stream.errors import UsageError

if TYPE_CHECKING:
    from disc_stream.benchmarks.encode import Subject

_CHANNELS = ("acc", "gyro", "total")
_DEFAULT = ["released", "small", "guided", "guided-whole", "disc-plus"]


def encode(
    variant: Annotated[
        list[str] | None,
        typer.Option(
            "--variant",
            help="Repeatable: a preset of DISC, such as guided or guided-tiny (at half a window; "
            "guided-whole at the whole), or disc-plus, with random weights. The first is the reference. "
            "Default: released, small, guided, guided-whole, disc-plus.",
        ),
    ] = None,
    bundle: Annotated[
        list[Path] | None, typer.Option("--bundle", help="Repeatable: trained models instead.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="With --bundle: whose held-out windows labels are compared on.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="DISC_STREAM_DATA", help="The folder that holds the datasets."),
    ] = None,
    provider: Annotated[
        list[str] | None,
        typer.Option("--provider", help="Repeatable: cpu, cuda, openvino, openvino-bf16. Default: all."),
    ] = None,
    batches: Annotated[str, typer.Option(help="Windows at once, with commas.")] = "1,8,64,256,1024",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Of every runtime. Default: the processors it may use.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Of each measurement; the fastest counts.")] = 3,
    seconds: Annotated[float, typer.Option(min=0.0, help="That a round takes at least.")] = 0.2,
    clock: Annotated[
        str, typer.Option(help="wall, or cpu: processor time, for a machine that does other things too.")
    ] = "wall",
    as_json: JsonOption = False,
) -> None:
    """How fast windows are encoded: models, runtimes, sizes of batches.

    Beside eager torch in fp32 and the plain way, the fp32 graph of the first model by
    onnxruntime, in one run; with the share of what large matrix products reach here.

    Example: disc-stream benchmark encode --batches 1,64,256 --threads 1 --json
    """
    require_extras("disc-stream benchmark encode", "export")
    from disc_stream.artifacts.runtimes.cpus import usable_cpus
    from disc_stream.benchmarks.encode import Grid, measure
    from disc_stream.benchmarks.timing import Effort
    from disc_stream.cli.providers import parse_providers

    if clock not in ("wall", "cpu"):
        raise UsageError(f"there is no clock {clock!r}", remedy="Use wall or cpu")
    if variant and bundle:
        raise UsageError("--variant and --bundle exclude each other", remedy="Give one of them")
    effort = Effort(rounds, seconds, "cpu" if clock == "cpu" else "wall", threads or usable_cpus())
    grid = Grid(parse_providers(provider), parse_batches(batches), effort)
    with tempfile.TemporaryDirectory(prefix="disc-stream-encode-") as place, spinner() as tell:
        subjects = (
            [_opened(path, dataset, data) for path in bundle]
            if bundle
            else _untrained(variant or _DEFAULT, Path(place))
        )
        report = measure(subjects, grid, tell)
    if as_json:
        print_json(report)
    else:
        _print(report)


def parse_batches(text: str) -> list[int]:
    """The sizes of an option.

    Raises:
        UsageError: if it is something else than whole numbers from 1 on.
    """
    try:
        found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or min(found) < 1:
        raise UsageError(f"--batches {text!r} is not a list of sizes", remedy="Write 1,64,256")
    return found


def _untrained(names: list[str], folder: Path) -> list[Subject]:
    from disc_stream.load.untrained import untrained
    from disc_stream.types import Channel

    channels = [Channel(f"{kind}_{axis}", "g", 1.0) for kind in _CHANNELS for axis in "xyz"]
    return [untrained(name, folder / name, channels) for name in dict.fromkeys(names)]


def _opened(path: Path, dataset: str | None, data: Path | None) -> Subject:
    from disc_stream.artifacts.bundle import Bundle
    from disc_stream.benchmarks.encode import Subject

    bundle = Bundle.open(path)
    windows = None
    if dataset is not None:
        from disc_stream.data.readers import load_split

        held_out = load_split(dataset, data, include_unlabelled=False).test.x
        wanted = (bundle.manifest.window.input_samples, len(bundle.manifest.channels))
        if held_out.shape[2] != wanted[1] or held_out.shape[1] < wanted[0]:
            raise UsageError(
                f"{str(path)!r} reads {wanted[0]} samples of {wanted[1]} channels, windows of {dataset} have "
                f"{held_out.shape[1]} of {held_out.shape[2]}",
                remedy="Name the dataset that the model was trained on",
            )
        windows = held_out[:, : wanted[0]]
    return Subject(bundle.manifest.name, bundle, windows=windows)


def _print(report: dict[str, Any]) -> None:
    peaks = ", ".join(f"{name} {rate:,.0f}" for name, rate in report["peak_gflop_per_s"].items())
    say(f"{report['cpu']}; {report['threads']} threads; matrix products {peaks} GFLOP/s")
    say(f"{'model':<24}{'runtime':<15}{'batch':>6}{'windows/s':>12}{'ratio':>9}{'of peak':>9}")
    for row in report["rows"]:
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
        share = "" if row["share_of_peak"] is None else f"{row['share_of_peak']:.0%}"
        say(
            f"{row['model']:<24.24}{row['runtime']:<15}{row['batch']:>6}{row['windows_per_s']:>12,.0f}"
            f"{ratio:>9}{share:>9}"
        )
    say(f"ratio: to {report['reference']}, in the same size of batch")
    for row in report["labels"]:
        which = "held-out" if row["held_out"] else "synthetic"
        equal = f"{row['labels_equal']:.2%} of {row['windows']:,} {which} windows"
        say(f"{row['model']} by {row['runtime']}: {equal} have the label that onnxruntime gives")
    for name, why in report["skipped"].items():
        say(f"{name} was not measured: {why}")
