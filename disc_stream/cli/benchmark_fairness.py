"""``disc-stream benchmark fairness``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from disc_stream.cli.common import JsonOption, print_json, require_extras, say
from disc_stream.errors import UsageError


def fairness(
    minutes: Annotated[float, typer.Option(min=0.05, help="Of the attack; half of it comes before.")] = 2.0,
    devices: Annotated[int, typer.Option(min=1, help="Good devices.")] = 50,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind", help="huge, many or garbage: what the attacker sends. Repeatable; default all."
        ),
    ] = None,
    memory_mb: Annotated[
        int, typer.Option("--memory-mb", metavar="MIB", help="Of the server, as `serve --memory-mb` has it.")
    ] = 1024,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="Model of the server. Default: one that costs nothing.")
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option("--broker", help="mqtt://host:port; default: a Mosquitto started for this run."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What the others notice of one device that sends as much as the broker takes.

    The same fleet is labelled undisturbed and then under attack: latencies,
    memory, and what the attacker was told.

    Example: disc-stream benchmark fairness --minutes 10 --json
    """
    require_extras("disc-stream benchmark fairness", "cpu", "export")
    from rich.console import Console

    from disc_stream.load.attacker import KINDS
    from disc_stream.load.fairness import FairnessPlan, run
    from disc_stream.load.plan import Load

    kinds = tuple(kind or KINDS)
    if unknown := [one for one in kinds if one not in KINDS]:
        raise UsageError(f"--kind {unknown[0]!r} is not known", remedy=f"Use {', '.join(KINDS)}")
    load = Load(devices, page=True, viewers=1)
    with Console(stderr=True).status("measuring") as status:
        report = run(
            load,
            FairnessPlan(minutes, kinds, bundle, {"memory_mb": memory_mb}),
            broker,
            lambda what: status.update(f"measuring {what}"),
        )
    if as_json:
        print_json(report)
    else:
        _print(report)


def _print(report: dict[str, Any]) -> None:
    for name in ("undisturbed", "attack"):
        ms = report[name]["latency_ms"]
        say(
            f"{name:<12} latency {ms['p50']} ms median, {ms['p99']} at the 99th percentile, {ms['max']} "
            f"longest; memory {report[name]['rss_mib']} MiB"
        )
    attacker, fleet = report["attacker"], report["fleet"]
    memory = report["memory"]
    say(
        f"ratio {report['ratio_p99']}; {fleet['labels']:,} of {fleet['labels_expected']:,} labels; memory at "
        f"most {memory['peak_mib']} of {memory['limit_mib']:.0f} MiB"
    )
    say(
        f"attacker: {attacker['messages_s']:,} messages/s, {attacker['megabytes_s']} MB/s; "
        f"told {', '.join(attacker['told']) or 'nothing'}; {report['over_quota']:,} refused"
    )
