"""``disc-stream edge``: what runs beside the sensors."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from disc_stream.cli import edge_label
from disc_stream.cli.common import print_json, say, setup_logging
from disc_stream.cli.edgeoptions import (
    DescribeOption,
    EncodingName,
    EncodingOption,
    Keeping,
    MaxSamplesOption,
    Reaching,
    Wanted,
    progress,
    signals_stop,
)
from disc_stream.cli.spread import spread

if TYPE_CHECKING:
    from disc_stream_edge.publisher import PublishSummary
    from disc_stream_edge.sources import Source

app = typer.Typer(
    no_args_is_help=True,
    help="What runs beside the sensors.\n\nExample: disc-stream edge publish --synthetic --devices 3",
)


@app.callback()
def _edge() -> None:
    """What runs beside the sensors."""


@app.command()
@spread
def publish(
    source: Wanted,
    reaching: Reaching,
    keeping: Keeping,
    encoding: EncodingOption = EncodingName.CBOR,
    max_samples: MaxSamplesOption = 250,
    describe: DescribeOption = False,
) -> None:
    """Publish motion to an MQTT broker: recordings, simulated wearables, or lines from a sensor.

    Ends when everything is sent and confirmed; Ctrl-C ends it earlier, and what was sent is still confirmed.
    Exit code 1 if a message is lost: not confirmed, and not in an outbox for the next run either.

    Example: disc-stream edge publish --replay hapt:exp01-user01 --data hapt.zip --speed 20

    Example: disc-stream edge publish --synthetic --devices 10 --seconds 60

    Example: my-sensor | disc-stream edge publish --stdin --fs 100 --device kitchen --outbox /var/lib/motion
    """
    setup_logging(reaching.verbose, reaching.log_format)
    source.check(may_be_none=keeping.outbox is not None)
    from disc_stream.wire.broker import Broker
    from disc_stream.wire.codecs import Encoding
    from disc_stream_edge.publisher import Publisher, Sending

    stop, as_json = threading.Event(), reaching.as_json
    address = Broker.parse(reaching.broker)
    sending = Sending(
        Encoding(encoding.value), reaching.samples, reaching.speed, describe, most_samples=max_samples
    )
    with signals_stop(stop) as received, keeping.open() as outbox:
        sources = source.open(outbox, stop)
        with progress(sources, hidden=as_json) as on_publish:
            summary = Publisher(
                address, prefix=reaching.prefix, sending=sending, on_publish=on_publish, outbox=outbox
            ).run(sources, stop)
    _report(summary, sources, as_json)
    if received:
        sys.exit(128 + received[0])  # not typer's Exit: the summary above has said what happened
    if summary.lost:
        raise typer.Exit(1)


app.command("label")(edge_label.label)


def _report(summary: PublishSummary, sources: Sequence[Source], as_json: bool) -> None:
    from dataclasses import asdict

    values: dict[str, Any] = asdict(summary)
    values["dropped"] = sum(getattr(source, "dropped", 0) for source in sources)
    values["malformed_lines"] = sum(getattr(source, "malformed", 0) for source in sources)
    if as_json:
        print_json(values)
        return
    text = (
        f"{summary.devices} device{'s' * (summary.devices > 1)}: {summary.messages} messages with "
        f"{summary.samples} samples in {summary.seconds:.1f} s, "
        f"{summary.confirmed} confirmed, {summary.lost} lost"
    )
    for name, what in (
        ("dropped", "dropped on purpose"),
        ("invalid", "invalid"),
        ("malformed_lines", "malformed lines"),
        ("waiting", "in the outbox for later"),
    ):
        if values[name]:
            text += f", {values[name]} {what}"
    say(text)
