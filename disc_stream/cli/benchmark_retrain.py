"""``disc-stream benchmark retrain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from disc_stream.cli.common import JsonOption, print_json, require_extras, say
from disc_stream.cli.spinner import spinner


def retrain(
    devices: Annotated[int, typer.Option(min=1, help="Devices that are labelled meanwhile.")] = 200,
    calm_s: Annotated[float, typer.Option(min=1.0, help="Seconds without a retraining, before.")] = 60.0,
    busy_s: Annotated[float, typer.Option(min=10.0, help="Seconds with it.")] = 120.0,
    nice: Annotated[int, typer.Option(min=0, max=19, help="Its priority below that of the server.")] = 19,
    threads: Annotated[int, typer.Option(min=1, help="Of the retraining.")] = 1,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", help="Model of 6 channels at 50 Hz. Default: one that costs nothing."),
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option("--broker", help="mqtt://host:port; default: a Mosquitto started for this run."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What a fleet notices of a retraining on the same machine: latency with and without it.

    Example: disc-stream benchmark retrain --devices 200 --json
    """
    require_extras("disc-stream benchmark retrain", "cpu", "train", "export")
    from disc_stream.load.plan import Load
    from disc_stream.load.relearning import RelearningPlan, run

    plan = RelearningPlan(calm_s, busy_s, nice, threads, () if bundle is None else (bundle,))
    with spinner() as tell:
        report = run(Load(devices, page=True, viewers=1), plan, broker, tell)
    if as_json:
        print_json(report)
        return
    for words, name in ("undisturbed", "undisturbed_ms"), ("retraining", "retraining_ms"):
        ms = report[name]
        say(f"{words:<12} latency {ms['p50']} ms median, {ms['p99']} at the 99th percentile, {ms['max']} max")
    windows = report["windows"]
    missing = windows["expected"] - windows["labelled"]
    say(f"ratio of the 99th percentiles {report['ratio_p99']}; {report['epochs']} epochs meanwhile")
    say(f"{windows['labelled']:,} windows: {missing} without a label, {windows['labelled_twice']} with two")
