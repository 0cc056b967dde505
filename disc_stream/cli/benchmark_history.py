"""``disc-stream benchmark history``."""

from __future__ import annotations

from typing import Annotated

import typer

from disc_stream.cli.common import JsonOption, SeedOption, print_json, say
from disc_stream.errors import UsageError


def history(
    devices: Annotated[int, typer.Option(min=1, help="Devices in the store.")] = 1_000,
    days: Annotated[int, typer.Option(min=1, help="Days of each.")] = 30,
    fewest: Annotated[int, typer.Option(min=1, help="Episodes of a device and day, at least.")] = 50,
    most: Annotated[int, typer.Option(min=1, max=10_000, help="At most.")] = 500,
    reads: Annotated[int, typer.Option(min=1, help="Days that are read.")] = 200,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """How fast a device's day is read out of many devices' months, alone and while labels are written.

    The store is synthetic and in a temporary folder; a month of 1,000 devices takes about a gigabyte.

    Example: disc-stream benchmark history --devices 1000 --days 30
    """
    from rich.console import Console

    from disc_stream.load.pasts import HistoryPlan, run

    if fewest > most:
        raise UsageError(f"--fewest {fewest} is more than --most {most}", remedy="Exchange them")
    plan = HistoryPlan(devices, days, fewest, most, reads, seed)
    with Console(stderr=True).status("making a store") as status:
        report = run(plan, status.update)
    if as_json:
        print_json(report)
        return
    say(
        f"{report['episodes']:,} episodes of {devices:,} devices: {report['bytes_per_episode']} bytes each; "
        f"a label takes {report['bytes_per_label']}"
    )
    say(f"{'ms':<20}{'alone: median':>15}{'99 %':>9}{'max':>9}{'writing: median':>18}{'99 %':>9}{'max':>9}")
    for kind, alone in report["alone_ms"].items():
        beside = report["while_writing_ms"][kind]
        say(
            f"{kind:<20}{alone['p50']:>15.2f}{alone['p99']:>9.2f}{alone['max']:>9.2f}"
            f"{beside['p50']:>18.2f}{beside['p99']:>9.2f}{beside['max']:>9.2f}"
        )
    say(f"meanwhile {report['written']['labels']:,} labels were written")
