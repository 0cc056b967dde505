"""``disc-stream benchmark adapt``."""

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
    say,
)

if TYPE_CHECKING:
    from disc_stream.data.types import Split

_DATASETS = ("hapt", "motionsense", "mhealth-partial")


def adapt(
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
    folds: Annotated[int, typer.Option(min=2, help="Into which the people are dealt.")] = 3,
    prior_windows: Annotated[
        float | None, typer.Option(help="Weight of the model's centroid, in windows; default as in serve.")
    ] = None,
    memory_windows: Annotated[
        float | None, typer.Option(help="Windows that a cluster remembers; default as in serve.")
    ] = None,
    bound: Annotated[
        float | None,
        typer.Option(help="Farthest way, in distances to the nearest other centroid; default as in serve."),
    ] = None,
    stay: Annotated[
        float | None,
        typer.Option(help="Probability of staying, for what windows count; default as in serve."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any setting of the method. Repeatable."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="DISC_STREAM_DATA", help="The folder that holds the datasets."),
    ] = None,
    seed: SeedOption = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="A few seconds on a simulated fleet: to see that it works.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """What do centroids that follow each person gain, on people never trained on?

    Fold by fold, a model learns from some people and labels the others as they
    stream: as it is, smoothed, with centroids that follow the person, and both;
    then as whole recordings, smoothed both ways, without and with them.
    Also how many people it harms.

    Example: disc-stream benchmark adapt --dataset hapt --dataset motionsense --data ~/data --json
    """
    require_extras("disc-stream benchmark adapt", "train")
    from rich.console import Console

    from disc_stream.benchmarks.adapt import Plan, measure, quick_plan
    from disc_stream.benchmarks.cells import unique_in_order
    from disc_stream.benchmarks.continuity_cells import settings_of
    from disc_stream.benchmarks.continuity_quick import SYNTHETIC
    from disc_stream.clustering.adaptation import AdaptationRule
    from disc_stream.training.session import exportable_recipe

    given = {"prior_windows": prior_windows, "memory_windows": memory_windows, "bound": bound,
             "stay": stay}  # fmt: skip
    rule = AdaptationRule(**{name: value for name, value in given.items() if value is not None})
    settings = parse_settings(setting or [])
    methods = unique_in_order(method or ["disc"])
    for one in methods:  # a wrong one is said before a dataset is read
        exportable_recipe(one).resolve("small", settings_of(one, settings))
    plans = [Plan(one, folds, seed, settings=settings, rule=rule) for one in methods]
    datasets = unique_in_order(dataset or _DATASETS)
    if quick:
        plans, datasets = [quick_plan(plan) for plan in plans], [SYNTHETIC]
    reports: list[dict[str, Any]] = []
    with Console(stderr=True).status("reading") as status:
        for name in datasets:
            split = _load(name, data)
            reports += [measure(Path(name).name, split, plan, status.update) for plan in plans]
    if as_json:
        print_json({"results": reports})
    else:
        _print(reports)


def _load(name: str, data: Path | None) -> Split:
    from disc_stream.benchmarks.continuity_quick import SYNTHETIC, synthetic_split
    from disc_stream.data.readers import load_split

    return synthetic_split() if name == SYNTHETIC else load_split(name, data, include_unlabelled=False)


def _print(reports: list[dict[str, Any]]) -> None:
    from disc_stream.benchmarks.adapt import helps

    words = {
        "smoothing": "smoothing",
        "adapting": "adaptation",
        "adapting_too": "adaptation, beside smoothing",
        "adapting_whole": "adaptation, whole recordings",
    }
    for report in reports:
        say(
            f"{report['dataset']}, {report['method']}: {report['people']} people "
            f"in {len(report['folds'])} folds"
        )
        for way, score in report["scores"].items():
            say(f"  {way:<14}NMI {_points(score['nmi'], '')}  ACC {_points(score['acc'], '')}")
        for name, gain in report["gains"].items():
            say(
                f"  {words[name]}: NMI {_points(gain['nmi'])}, ACC {_points(gain['acc'])} over folds; right "
                f"for a person {_points(gain['right'])}; {gain['people_who_gain']:.0%} of people gain and "
                f"{gain['people_who_lose']:.0%} lose more than a point"
            )
    helped = [f"{one['dataset']} with {one['method']}" for one in reports if helps(one)]
    say(
        "adaptation beside smoothing, in the stream and of whole recordings, helps on "
        f"{len(helped)} of {len(reports)}: {', '.join(helped) or 'none'}"
    )


def _points(spread: dict[str, float], sign: str = "+") -> str:
    return f"{100 * spread['mean']:{sign}.1f} ± {100 * spread['sd']:.1f}"
