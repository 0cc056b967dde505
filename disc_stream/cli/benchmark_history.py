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

    "own" is the time but for that in which other work had the processor.

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
    titles = ("median", "99 %", "max", "processor", "own", "own 99 %", "reads", "KiB read")
    say(f"{'ms':<20}{'':<10}" + "".join(f"{title:>11}" for title in titles))
    for kind, alone in report["alone_ms"].items():
        for when, facts in (("alone", alone), ("writing", report["while_writing_ms"][kind])):
            values = (
                facts[name]
                for name in (
                    "p50",
                    "p99",
                    "max",
                    "cpu_p50",
                    "own_p50",
                    "own_p99",
                    "reads_p50",
                    "disk_kib_p50",
                )
            )
            say(f"{kind:<20}{when:<10}" + "".join(f"{value:>11.2f}" for value in values))
    say(f"meanwhile {report['written']['labels']:,} labels were written")
