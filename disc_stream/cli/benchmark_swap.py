"""``disc-stream benchmark swap``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from disc_stream.cli.common import JsonOption, print_json, require_extras, say
from disc_stream.errors import UsageError


def swap(
    swaps: Annotated[int, typer.Option(min=2, help="How often another version goes into production.")] = 100,
    devices: Annotated[int, typer.Option(min=1, help="Devices that are labelled meanwhile.")] = 200,
    every_s: Annotated[float, typer.Option(min=0.1, help="Seconds from one swap to the next.")] = 1.5,
    calm_s: Annotated[float, typer.Option(min=1.0, help="Seconds without swaps, before.")] = 60.0,
    bundle: Annotated[
        list[Path] | None,
        typer.Option(
            "--bundle",
            help="Repeatable: two models of 6 channels at 50 Hz. Default: two that cost nothing.",
        ),
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option("--broker", help="mqtt://host:port; default: a Mosquitto started for this run."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What a fleet notices when the model is exchanged again and again under load.

    Counts windows without a label and with two, latency with and without swaps,
    and whether memory grows from swap to swap. The live page is on, with a viewer.

    Example: disc-stream benchmark swap --swaps 100 --devices 200 --json
    """
    require_extras("disc-stream benchmark swap", "cpu", "export")
    from rich.console import Console

    from disc_stream.load.plan import Load
    from disc_stream.load.swapping import SwapPlan, run

    if bundle and len(bundle) != 2:
        raise UsageError(f"{len(bundle)} bundles are given", remedy="Give --bundle twice, or not at all")
    with Console(stderr=True).status("measuring") as status:
        report = run(
            Load(devices, page=True, viewers=1),
            SwapPlan(swaps, every_s, calm_s, tuple(bundle or ())),
            broker,
            lambda what: status.update(f"measuring: {what}"),
        )
    if as_json:
        print_json(report)
    else:
        _print(report)


def _print(report: dict[str, Any]) -> None:
    for words, name in ("undisturbed", "undisturbed_ms"), ("with swaps", "swapping_ms"):
        ms = report[name]
        say(f"{words:<12} latency {ms['p50']} ms median, {ms['p99']} at the 99th percentile, {ms['max']} max")
    rss, windows, seconds = report["rss_mib"], report["windows"], report["swap_s"]
    say(f"ratio of the 99th percentiles {report['ratio_p99']}; a swap takes {seconds['median']} s")
    say(f"memory {rss['before']} MiB before, {rss['after_10']} after 10 swaps, {rss['end']} at the end")
    missing = windows["expected"] - windows["labelled"]
    say(f"{windows['labelled']:,} windows: {missing} without a label, {windows['labelled_twice']} with two")
