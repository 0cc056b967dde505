"""``disc-stream benchmark names`` and ``states``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from disc_stream.cli.common import JsonOption, SeedOption, print_json, require_extras, say

DatasetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset",
        help="A dataset, or synthetic, synthetic-pocket, synthetic-wrist. Repeatable; default: several.",
    ),
]
RunOption = Annotated[
    list[Path] | None,
    typer.Option("--run", help="A trained run, on its dataset; instead of --dataset. Repeatable."),
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", envvar="DISC_STREAM_DATA", help="The folder that holds the datasets."),
]


def names(
    dataset: DatasetOption = None,
    run: RunOption = None,
    data: DataOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """For how many clusters does the first proposed name agree with most of their windows?

    Clusters come from k-means on spectral descriptors, and from the activities
    themselves, to tell naming from clustering; or from trained runs. Names are
    proposed without labels.

    Example: disc-stream benchmark names --dataset hapt --data ~/data
    """
    require_extras("disc-stream benchmark names", "train")
    from rich.console import Console

    from disc_stream.benchmarks.names import DATASETS, measure_names

    with Console(stderr=True).status("reading") as status:
        report = measure_names(dataset or DATASETS, data, seed, runs=run or (), on_step=status.update)
    if as_json:
        print_json(report)
    else:
        _print_names(report)


def states(
    dataset: DatasetOption = None,
    run: RunOption = None,
    data: DataOption = None,
    rate: Annotated[
        float, typer.Option(min=0.001, max=0.4, help="Share of known motion that may be called unknown.")
    ] = 0.02,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """How often are worn devices called not worn, and known motion unknown?

    On recordings of people that nothing was learned from; beside it, how soon a
    sensor on a table is found, and how much of an activity never seen before.

    Example: disc-stream benchmark states --dataset motionsense --data ~/data --json
    """
    require_extras("disc-stream benchmark states", "train")
    from rich.console import Console

    from disc_stream.benchmarks.states import DATASETS, measure_states

    with Console(stderr=True).status("reading") as status:
        report = measure_states(dataset or DATASETS, data, seed, rate, runs=run or (), on_step=status.update)
    if as_json:
        print_json(report)
    else:
        _print_states(report)


def _print_names(report: dict[str, Any]) -> None:
    for result in report["results"]:
        say(
            f"{result['dataset']}, {result['people']} people, {result['partition']}: "
            f"{result['first_agrees']} of {result['clusters']} first proposals agree"
        )
        for one in result["of"]:
            proposed = one["proposals"][0] if one["proposals"] else "nothing"
            say(
                f"  {'✓' if one['agrees'] else '✗'} {one['description']:<46}{proposed:<20}"
                f"is {one['activity']} ({one['purity']:.0%})"
            )
    for partition, total in report["total"].items():
        say(f"{partition}: {total['first_agrees']} of {total['clusters']} ({total['share']:.0%})")


def _print_states(report: dict[str, Any]) -> None:
    for one in report["not_worn"]:
        false = ", ".join(f"{words}: {share:.2%}" for words, share in one["false_not_worn"].items())
        say(f"{one['dataset']}, {one['hours']} h worn, called not worn by {false}")
    for kind, one in report["table"].items():
        after = one["not_worn_after_min"]
        found = "never found" if after is None else f"found after {after} min"
        say(f"on a table, noise {kind}: {found}, worn again after {one['worn_again_after_windows']} windows")
    for one in report["unknown"]:
        say(f"{one['dataset']}, known motion called unknown (aim {one['rate']:.1%}):")
        for words, value in one["known_called_unknown"].items():
            say(f"  {words:<18}{value['mean']:.1%} ({value['least']:.1%} to {value['most']:.1%})")
        for activity, value in one["held_back_called_unknown"].items():
            say(f"  {activity} held back: {value['mean']:.0%} ({value['least']:.0%} to {value['most']:.0%})")
