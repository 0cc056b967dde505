"""``disc-stream benchmark latency``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from disc_stream.cli.benchmark_encode import parse_batches
from disc_stream.cli.common import JsonOption, print_json, require_extras, require_path, say
from disc_stream.cli.spinner import spinner


def latency(
    devices: Annotated[
        str, typer.Option(help="Numbers of devices, with commas; it ends after the first that is too many.")
    ] = "300",
    variant: Annotated[
        str, typer.Option(help="A preset of DISC, or disc-plus, with random weights.")
    ] = "released",
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="Folder of a trained model of 6 channels instead.")
    ] = None,
    provider: Annotated[str, typer.Option(help="auto, cpu, cuda, openvino or openvino-bf16.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="Of the encoder.")] = 1,
    seconds: Annotated[float, typer.Option(min=1.0, help="Of each number of devices.")] = 60.0,
    settle_s: Annotated[float, typer.Option("--settle", min=0.0, help="Seconds before.")] = 10.0,
    limit_ms: Annotated[float, typer.Option("--limit-ms", help="Too much, at the 99th percentile.")] = 250.0,
    fs: Annotated[float, typer.Option(help="Their sampling rate in Hz.")] = 50.0,
    samples: Annotated[int, typer.Option(min=1, help="Samples per message.")] = 50,
    broker: Annotated[
        str | None,
        typer.Option("--broker", help="mqtt://host:port; default: a Mosquitto started for this run."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """From the last sample that a window needs to its label at a subscriber, by stage.

    Through a real broker; the generator, the broker, the server and the subscriber share this
    machine. A number of devices is too many when a window has no label, a label was
    deferred, or the 99th percentile is above the limit.

    Example: disc-stream benchmark latency --devices 300,600,900 --variant released --json
    """
    require_extras("disc-stream benchmark latency", "cpu", "export")
    from disc_stream.load.latency import LatencyPlan, run
    from disc_stream.load.plan import Load
    from disc_stream.load.publisher import CHANNELS

    numbers = parse_batches(devices)
    with tempfile.TemporaryDirectory(prefix="disc-stream-latency-") as place, spinner() as tell:
        if bundle is None:
            from disc_stream.load.untrained import untrained

            tell(f"exporting {variant}")
            bundle = untrained(variant, Path(place) / variant, CHANNELS, fs).bundle.path
        else:
            require_path(bundle, "bundle")
        plan = LatencyPlan(bundle, provider, threads, numbers, seconds, settle_s, limit_ms)
        report = run(plan, Load(1, fs, samples), broker, tell)
    if as_json:
        print_json(report)
    else:
        _print(report)


def _print(report: dict[str, Any]) -> None:
    say(f"{report['model']}, {report['threads']} threads, {report['seconds']:g} s each")
    for step in report["steps"]:
        ms, lost = step["ms"], step["lost"]
        quantiles = f"{ms['p50']} ms median, {ms['p99']} at the 99th percentile, {ms['max']} longest"
        say(f"{step['devices']:,} devices by {step['provider']}: {quantiles}")
        windows = f"{step['windows']:,} windows, {lost} without a label, {step['twice']} with two"
        say(f"  {windows}, {step['deferred']} deferred")
        for name, stage in step["stages_ms"].items():
            say(f"  {name.replace('_', ' '):<22}{stage['p50']:>9} {stage['p99']:>9} {stage['max']:>9} ms")
    if report["breaks_at"] is not None:
        say(f"too many: {report['breaks_at']:,} devices")
