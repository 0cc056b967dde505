"""``disc-stream benchmark page``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from disc_stream.cli.common import JsonOption, print_json, require_extras, require_writable, say
from disc_stream.cli.spinner import spinner
from disc_stream.errors import UsageError


def page(
    devices: Annotated[int, typer.Option(min=1, help="Devices of the fleet.")] = 2_000,
    rate: Annotated[float, typer.Option(min=0.01, help="Labels of each device per second.")] = 2.0,
    viewers: Annotated[
        str, typer.Option(help="Numbers of viewers, with commas, one after the other; 0 to compare with.")
    ] = "0,1,20",
    rounds: Annotated[int, typer.Option(min=1, help="How often all of them; medians are told.")] = 2,
    seconds: Annotated[float, typer.Option(min=1.0, help="Of each number of viewers.")] = 30.0,
    minutes: Annotated[
        float, typer.Option(min=0.0, help="Afterwards, with one viewer, for the growth of memory.")
    ] = 0.0,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="No viewer is Chromium, even where it is installed.")
    ] = False,
    broker: Annotated[
        str | None,
        typer.Option("--broker", help="mqtt://host:port; default: a Mosquitto started for this run."),
    ] = None,
    log: Annotated[
        Path | None, typer.Option("--log", metavar="FILE", help="Add each measurement, as a line of JSON.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What viewers of the dashboard cost the server, what they get, and whether labels wait for them.

    The first viewer is Chromium if it is installed; the others ask the API for what the page
    asks. The fleet, the broker, the server and the viewers share this machine, so the
    page's cost is told as processor time of its threads.

    Example: disc-stream benchmark page --devices 500 --viewers 0,1,20 --minutes 60 --log page.jsonl
    """
    require_extras("disc-stream benchmark page", "cpu", "server", "export")
    from disc_stream.load.page import PagePlan, run, write_line
    from disc_stream.load.plan import WINDOW, Load

    numbers = _numbers(viewers)
    if log is not None:
        require_writable(log.parent)
    plan = PagePlan(numbers, rounds, seconds, minutes, browser=not no_browser)
    load = Load(devices, fs=WINDOW.hop * rate, samples=WINDOW.hop, viewers=0)

    def note(facts: dict[str, Any]) -> None:
        if log is not None:
            write_line(log, facts)

    with spinner() as tell:
        report = run(load, plan, broker, tell, note)
    note({"event": "report", **report})
    if as_json:
        print_json(report)
    else:
        _print(report)


def _numbers(text: str) -> list[int]:
    """Numbers of viewers."""
    words = text.split(",")
    if not all(one.strip().isdecimal() and int(one) <= 200 for one in words):
        raise UsageError(
            f"--viewers {text!r} is not understood", remedy="Use for example 0,1,20; 200 at most"
        )
    return [int(one) for one in words]


def _print(report: dict[str, Any]) -> None:
    load = report["load"]
    say(f"{load['devices']:,} devices, {load['labels_per_s']:,.0f} labels/s; browser: {report['browser']}")
    for viewers, one in report["by_viewers"].items():
        ratio = "" if "p99_ratio" not in one else f", {one['p99_ratio']:.2f} times that without viewers"
        say(f"{viewers:>4} viewers: page {one['page_cores']:.1%} of a core, server {one['server_cores']:.1%}")
        say(f"     labels after {one['label_p50_ms']} ms, 99 %: {one['label_p99_ms']} ms{ratio}")
        for phase in report["phases"]:
            if phase["viewers"] and str(phase["viewers"]) == viewers:
                say(f"     updates/s in the browser: {phase['browser_updates_per_s']}, of the others: "
                    f"{phase['updates_per_s']}, {phase['kib_per_s_each']} KiB/s each")  # fmt: skip
    for name, facts in (report["memory"] or {}).items():
        if isinstance(facts, dict):
            say(f"{name}: {facts['first_mib']} MiB, then {facts['last_mib']} MiB: {facts['growth']:+.1%}")
