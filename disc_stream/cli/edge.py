"""``disc-stream edge``: what runs beside the sensors."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from disc_stream.cli import edge_label
from disc_stream.cli.common import (
    DEFAULT_BROKER,
    BrokerOption,
    JsonOption,
    LogFormatOption,
    PrefixOption,
    SeedOption,
    VerboseOption,
    print_json,
    say,
    setup_logging,
)
from disc_stream.cli.edgeoptions import (
    BaudOption,
    BleOption,
    BootOption,
    DataOption,
    DescribeOption,
    DeviceOption,
    DevicesOption,
    DropoutOption,
    DtypeOption,
    EncodingName,
    EncodingOption,
    FsOption,
    IioOption,
    MaxSamplesOption,
    OutboxMbOption,
    OutboxOption,
    PlacementName,
    PlacementOption,
    ReplayOption,
    SamplesOption,
    SecondsOption,
    SerialOption,
    SpeedOption,
    StdinOption,
    SyntheticOption,
    TypeName,
    Wanted,
    WhenFullName,
    WhenFullOption,
    kept_in,
    progress,
    signals_stop,
)

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
def publish(
    replay: ReplayOption = None,
    data: DataOption = None,
    synthetic: SyntheticOption = False,
    devices: DevicesOption = 1,
    seconds: SecondsOption = None,
    placement: PlacementOption = PlacementName.WAIST,
    dropout: DropoutOption = 0.0,
    seed: SeedOption = 0,
    stdin: StdinOption = False,
    iio: IioOption = None,
    serial: SerialOption = None,
    baud: BaudOption = 115_200,
    ble: BleOption = None,
    fs: FsOption = None,
    broker: BrokerOption = DEFAULT_BROKER,
    prefix: PrefixOption = "ds/v1",
    device: DeviceOption = None,
    boot: BootOption = None,
    speed: SpeedOption = 1.0,
    samples: SamplesOption = 25,
    encoding: EncodingOption = EncodingName.CBOR,
    dtype: DtypeOption = TypeName.FLOAT32,
    outbox: OutboxOption = None,
    outbox_mb: OutboxMbOption = 64.0,
    when_full: WhenFullOption = WhenFullName.DROP_OLDEST,
    max_samples: MaxSamplesOption = 250,
    describe: DescribeOption = False,
    log_format: LogFormatOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Publish motion to an MQTT broker: recordings, simulated wearables, or lines from a sensor.

    Ends when everything is sent and confirmed; Ctrl-C ends it earlier, and what was sent is still confirmed.
    Exit code 1 if a message is lost: not confirmed, and not in an outbox for the next run either.

    Example: disc-stream edge publish --replay hapt:exp01-user01 --data hapt.zip --speed 20

    Example: disc-stream edge publish --synthetic --devices 10 --seconds 60

    Example: my-sensor | disc-stream edge publish --stdin --fs 100 --device kitchen --outbox /var/lib/motion

    Example: disc-stream edge publish --ble "Bangle.js a1b2" --device watch-1 --outbox /var/lib/motion
    """
    setup_logging(verbose, log_format)
    wanted = Wanted(
        replay,
        data,
        synthetic,
        devices,
        seconds,
        placement,
        dropout,
        seed,
        stdin,
        fs,
        device,
        boot,
        dtype,
        iio,
        serial,
        baud,
        ble,
    )
    wanted.check(may_be_none=outbox is not None)
    from disc_stream.wire.broker import Broker
    from disc_stream.wire.codecs import Encoding
    from disc_stream_edge.publisher import Publisher, Sending

    stop = threading.Event()
    address = Broker.parse(broker)
    sending = Sending(Encoding(encoding.value), samples, speed, describe, most_samples=max_samples)
    with signals_stop(stop) as received, kept_in(outbox, outbox_mb, when_full) as kept:
        sources = wanted.open(kept, stop)
        with progress(sources, hidden=as_json) as on_publish:
            summary = Publisher(
                address, prefix=prefix, sending=sending, on_publish=on_publish, outbox=kept
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
