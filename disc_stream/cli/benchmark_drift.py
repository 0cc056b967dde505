"""``disc-stream benchmark drift``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from disc_stream.cli.common import JsonOption, SeedOption, print_json, require_extras, say


def drift(
    dataset: Annotated[
        list[str] | None,
        typer.Option("--dataset", help="Repeatable. Default: hapt, motionsense, wisdm, mhealth-partial."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="DISC_STREAM_DATA", help="The folder that holds the datasets."),
    ] = None,
    detector: Annotated[
        list[str] | None,
        typer.Option("--detector", help="adwin, page-hinkley or kswin (slow). Repeatable; default all."),
    ] = None,
    people: Annotated[int, typer.Option(min=1, help="Of each dataset, at most.")] = 6,
    days: Annotated[float, typer.Option(min=1.0, help="Of a stationary stream of each person.")] = 30.0,
    quick: Annotated[bool, typer.Option("--quick", help="Two people for four days: to try it.")] = False,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """How often is drift seen where there is none, and how soon where there is?

    Real recordings of people that nothing was learned from, played for weeks:
    false alarms per device and month, and the delay until a new activity, a turned
    sensor or another gain is seen. Beside it, a dummy that fires at random, as
    often as the detector did on the same streams.

    Example: disc-stream benchmark drift --data ~/data --quick
    """
    require_extras("disc-stream benchmark drift", "train", "drift")
    from rich.console import Console

    from disc_stream.benchmarks.drift import DATASETS, DETECTORS, measure_drift
    from disc_stream.benchmarks.driftstreams import DriftPlan

    plan = DriftPlan(2, 4.0, seed=seed) if quick else DriftPlan(people, days, seed=seed)
    with Console(stderr=True).status("reading") as status:
        report = measure_drift(dataset or DATASETS, data, plan, detector or DETECTORS, status.update)
    if as_json:
        print_json(report)
    else:
        _print(report)


def _print(report: dict[str, Any]) -> None:
    for row in report["rows"]:
        where = f"{row['dataset']:15} {row['way']:8} {row['detector']:12} {row['change']:12}"
        dummy, fleet = row["dummy"], row["fleet"]
        if row["change"] == "none":
            say(
                f"{where} {row['false_per_month']:.2f} false alarms per device and month "
                f"(dummy {dummy['false_per_month']:.2f}); {fleet['false_alarms']} of the fleet"
            )
            continue
        delay = "-" if row["median_delay_h"] is None else f"{row['median_delay_h']} h"
        say(
            f"{where} {row['seen_in_a_day']:.0%} seen within a day (dummy {dummy['seen_in_a_day']:.0%}), "
            f"median delay {delay}; {fleet['seen']} of {fleet['fleets']} fleets"
        )
    for row in report["totals"]:
        where = f"{'all':15} {row['way']:8} {row['detector']:12}"
        say(
            f"{where} {row['false_per_month']:.2f} false alarms per device and month, "
            f"{row['seen_in_a_day']:.0%} of changes seen within a day "
            f"(dummy {row['dummy_seen_in_a_day']:.0%})"
        )
