"""``disc-stream benchmark scrub``."""

from __future__ import annotations

from typing import Annotated

import typer

from disc_stream.cli.common import JsonOption, print_json, require_extras, say
from disc_stream.cli.spinner import spinner
from disc_stream.errors import UsageError


def scrub(
    days: Annotated[int, typer.Option(min=2, help="Days of the device that are stored.")] = 30,
    episodes: Annotated[int, typer.Option(min=1, max=10_000, help="Episodes of each day.")] = 500,
    shown: Annotated[float, typer.Option(min=0.05, help="Days on the strip at once.")] = 1.0,
    drags: Annotated[int, typer.Option(min=1, help="How often it is dragged across.")] = 6,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of each.")] = 2.0,
    broker: Annotated[
        str | None,
        typer.Option("--broker", help="mqtt://host:port; default: a Mosquitto started for this run."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """How smoothly the dashboard's strip of a day follows the mouse, in Chromium.

    Frames are the browser's own; of pictures there are as many as frames in which the strip
    was drawn anew.

    Example: disc-stream benchmark scrub --episodes 500 --json
    """
    require_extras("disc-stream benchmark scrub", "cpu", "server", "export")
    from disc_stream.load.scrubbing import ScrubPlan, run

    if shown > days / 2:
        raise UsageError(f"--shown {shown:g} is more than half of --days {days}", remedy="Give more --days")
    with spinner() as tell:
        report = run(ScrubPlan(days, episodes, shown, drags, seconds), broker, tell)
    if as_json:
        print_json(report)
        return
    frame, drawing = report["frame_ms"], report["drawing_ms"]
    say(f"{report['frames_per_s']} frames/s, {report['pictures_per_s']} pictures/s, {report['moves']} moves")
    say(f"from frame to frame: {frame['p50']} ms median, {frame['p99']} ms at the 99th percentile")
    say(f"drawing one: {drawing['p50']} ms median, {drawing['p99']} ms at the 99th percentile")
