"""``disc-stream benchmark ingest`` and ``soak``."""

from __future__ import annotations

from typing import Annotated

import typer

from disc_stream.cli.common import JsonOption, print_json, require_extras
from disc_stream.cli.spinner import spinner

PageOption = Annotated[bool, typer.Option("--page/--no-page", help="Whether the server has its live page.")]
ViewersOption = Annotated[
    int, typer.Option("--viewers", min=0, max=64, help="Browsers' worth of readers of the live page.")
]


def ingest(
    devices: Annotated[int, typer.Option(min=1, help="Devices that publish.")] = 300,
    fs: Annotated[float, typer.Option(help="Their sampling rate in Hz.")] = 50.0,
    samples: Annotated[int, typer.Option(min=1, help="Samples per message.")] = 50,
    seconds: Annotated[
        float | None, typer.Option(help="Seconds of every device's stream; default: see --messages.")
    ] = None,
    messages: Annotated[
        int | None,
        typer.Option(min=1, help="Messages in all; default: 100,000, but 30 of each device at least."),
    ] = None,
    qos: Annotated[int, typer.Option(min=1, max=1, help="1: nothing is promised of QoS 0.")] = 1,  # noqa: ARG001 - the only one
    publishers: Annotated[int, typer.Option(min=1, help="Publishing processes.")] = 1,
    encoding: Annotated[str, typer.Option(help="cbor or packed.")] = "cbor",
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each; medians are reported.")] = 1,
    broker: Annotated[
        str | None,
        typer.Option("--broker", help="mqtt://host:port; default: a Mosquitto started for this run."),
    ] = None,
    page: PageOption = True,
    viewers: ViewersOption = 1,
    as_json: JsonOption = False,
) -> None:
    """Messages per second that a server spools, windows and labels, with QoS 1.

    The same messages go to a bare paho subscriber that only counts, as the
    reference, and then to `serve` with a model that costs nothing, its live
    page and one viewer of it. Reports rates, processor time by stage, memory,
    losses and repetitions. Rates are those after the first two messages of
    each device; what it costs to get to know a device is reported by itself.

    Example: disc-stream benchmark ingest --devices 1000 --fs 50 --samples 50 --seconds 100
    """
    require_extras("disc-stream benchmark ingest", "cpu", "export")
    from disc_stream.load.ingest import check, run
    from disc_stream.load.plan import MESSAGES, ROUNDS, Load

    if seconds is not None:
        messages = max(1, round(devices * seconds * fs / samples))
    elif messages is None:
        messages = max(MESSAGES, ROUNDS * devices)
    load = Load(devices, fs, samples, messages, publishers, encoding, page=page, viewers=viewers)
    check(load)
    with spinner() as say:
        report = run(load, broker, repeats, say)
    if as_json:
        print_json(report)
        return
    bare, server = report["bare"], report["server"]
    for name, cost, run_ in (
        ("bare subscriber", bare["cpu_us_per_message"], bare),
        ("server", server["cpu_us_per_message_total"], server),
    ):
        rate = run_["messages_per_s"]
        shown = "too short to tell" if rate is None else f"{rate:>10,.0f} messages/s"
        say(f"{name:<17}{shown}  {cost:.1f} µs each")
    if report["ratio"] is None:
        say("ratio: not known; give more --messages")
    else:
        say(f"ratio {report['ratio']:.2f}")
    first = server["first_contact"]
    if first["us_per_device"] is not None:
        say(
            f"first contact {first['us_per_device']:.0f} µs for each device, "
            f"then {first['then_us_per_message']:.1f} µs for each message"
        )
    for name, us in server["cpu_us_per_message"].items():
        say(f"  {name:<15}{us:>10.1f} µs")
    say(
        f"labels {server['labels']:,} of {server['labels_expected']:,}; lost {server['lost']}, "
        f"duplicated {server['duplicated']}; {server['bytes_per_device']:,} bytes per device; "
        f"latency {server['latency_ms']['p50']} ms median, {server['latency_ms']['p99']} ms at 99 %"
    )


def soak(
    minutes: Annotated[float, typer.Option(min=0.1, help="How long.")] = 60.0,
    warm_minutes: Annotated[float, typer.Option(help="Memory is judged from here on.")] = 5.0,
    devices: Annotated[int, typer.Option(min=1, help="Devices at any moment.")] = 300,
    churn_s: Annotated[
        float, typer.Option("--churn", help="A device restarts or is replaced every so many seconds.")
    ] = 5.0,
    fs: Annotated[float, typer.Option(help="Their sampling rate in Hz.")] = 50.0,
    samples: Annotated[int, typer.Option(min=1, help="Samples per message.")] = 50,
    encoding: Annotated[str, typer.Option(help="cbor or packed.")] = "cbor",
    broker: Annotated[
        str | None,
        typer.Option("--broker", help="mqtt://host:port; default: a Mosquitto started for this run."),
    ] = None,
    page: PageOption = True,
    viewers: ViewersOption = 1,
    as_json: JsonOption = False,
) -> None:
    """A server under a steady load with devices that come and go: memory, queues, latency.

    Example: disc-stream benchmark soak --minutes 60 --devices 300 --json
    """
    require_extras("disc-stream benchmark soak", "cpu", "export")
    from disc_stream.load.ingest import check
    from disc_stream.load.plan import Load
    from disc_stream.load.soak import SoakPlan, run

    load = Load(devices, fs, samples, encoding=encoding, page=page, viewers=viewers)
    check(load)
    with spinner() as say:
        report = run(load, SoakPlan(minutes, warm_minutes, churn_s), broker, say)
    if as_json:
        print_json(report)
        return
    rss, ms = report["rss_mib"], report["latency_ms"]
    say(
        f"memory {rss['after_warm_up']} MiB after {warm_minutes:g} min, {rss['end']} at the end "
        f"({report['rss_growth']:+.1%}); longest queue {report['longest_queue']}"
    )
    say(
        f"{report['fleet']['sent']:,} messages, lost {report['lost']}, {report['labels']:,} labels; "
        f"latency {ms['p50']} ms median, {ms['p99']} at the 99th percentile, {ms['max']} longest"
    )
