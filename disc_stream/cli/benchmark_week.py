"""``disc-stream benchmark week``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from disc_stream.cli.common import JsonOption, parse_settings, print_json, require_extras, say
from disc_stream.cli.spinner import spinner

_QUICK: dict[str, Any] = {
    "days": 2, "day_s": 4.0, "devices": 5, "motion_s": 150.0, "bursts": 2, "dataset": None, "name_on": 1,
    "clusters": 4, "method": "disc", "nice": 0,
    "settings": {"epochs": 8, "refine_epochs": 2, "hidden": 8, "embedding": 4, "decoder_hidden": 8},
}  # fmt: skip


def week(
    days: Annotated[int, typer.Option(min=2, help="Days of the week.")] = 7,
    day_s: Annotated[float, typer.Option(min=1.0, help="Seconds that a day takes, at least.")] = 180.0,
    devices: Annotated[int, typer.Option(min=2, help="Devices of the whole week.")] = 20,
    presence: Annotated[
        float, typer.Option(min=0.1, max=1.0, help="Share of them that is there on a day.")
    ] = 0.6,
    minutes: Annotated[float, typer.Option(min=0.5, help="Of motion that each sends on a day.")] = 8.0,
    replay: Annotated[
        str, typer.Option("--replay", help="Half of the people: those of hapt, of motionsense, or none.")
    ] = "hapt",
    method: Annotated[str, typer.Option("--method", help="disc, dsc or disc-plus.")] = "disc-plus",
    preset: Annotated[str, typer.Option("--preset", help="See `train --help`.")] = "small",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Replace a setting of the preset; repeatable."),
    ] = None,
    clusters: Annotated[int, typer.Option(min=2, help="How many.")] = 8,
    nice: Annotated[
        int, typer.Option(min=0, max=19, help="Priority of the retrainings below that of the server.")
    ] = 19,
    seed: Annotated[int, typer.Option(min=0, help="Of people, timetable and training.")] = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Two days of a small simulated fleet, within half a minute.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="DISC_STREAM_DATA", help="The folder that holds the datasets."),
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option("--broker", help="mqtt://host:port; default: a Mosquitto started for this run."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Days of a fleet in fast motion: it is named once and retrained every day.

    A real server retrains by its schedule, with the acceptance gate, while devices
    come and go. Reports for each day: windows without a label and with two, what
    came of the retraining, which of the names given on day two are still right,
    disk and memory. Without the dataset all people are simulated.

    Example: disc-stream benchmark week --method disc-plus --json
    """
    require_extras("disc-stream benchmark week", "cpu", "train", "export")
    from disc_stream.load.week import WeekPlan, run

    plan = WeekPlan(
        days=days, day_s=day_s, devices=devices, presence=presence, motion_s=60 * minutes,
        dataset=None if replay == "none" or data is None else replay, data=data, clusters=clusters,
        method=method, preset=preset, settings=parse_settings(settings or []), nice=nice,
        seed=seed,
    )  # fmt: skip
    if quick:
        plan = replace(plan, **_QUICK)
    with spinner() as tell:
        report = run(plan, broker, tell)
    if as_json:
        print_json(report)
    else:
        _print(report)


def _print(report: dict[str, Any]) -> None:
    for day in report["days"]:
        windows, disk = day["windows"], day["disk_mib"]
        outcomes = ", ".join(one["outcome"] for one in day["retrainings"])
        alive = sum(one["alive"] for one in day["names"])
        right = sum(one["alive"] and one["right"] is True for one in day["names"])
        say(
            f"day {day['day']}: {day['devices']} devices, {windows['expected']:,} windows, "
            f"{windows['lost']} lost, {windows['doubled']} twice, {windows['unknown']:.1%} unknown; "
            f"retraining {outcomes}; {right} of {len(day['names'])} names right, {alive} alive; "
            f"disk {disk['all']} MiB, memory {day['rss_mib']} MiB"
        )
    limits = report["limits"]
    say(
        f"spool {limits['most_mib']['spool']} MiB at most, of {limits['spool_mib']} allowed and "
        f"{limits['sent_mib']} sent; memory {limits['rss_growth']:+.1%} since the names were given"
    )
