"""``disc-stream edge``: what runs beside the sensors."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
from disc_stream.errors import DataError, UsageError

if TYPE_CHECKING:
    from disc_stream_edge.lines import LineSource
    from disc_stream_edge.publisher import Published, PublishSummary
    from disc_stream_edge.sources import FleetMotion, LossySource, Source

app = typer.Typer(
    no_args_is_help=True,
    help="What runs beside the sensors.\n\nExample: disc-stream edge publish --synthetic --devices 3",
)


@app.callback()
def _edge() -> None:
    """What runs beside the sensors."""


class EncodingName(StrEnum):
    """Names of ``disc_stream.wire.codecs.Encoding``, without importing it."""

    CBOR = "cbor"
    PACKED = "packed"
    JSON = "json"


class TypeName(StrEnum):
    """Types of the samples on the wire."""

    FLOAT32 = "float32"
    INT16 = "int16"


class PlacementName(StrEnum):
    """Where synthetic wearables are worn."""

    WAIST = "waist"
    POCKET = "pocket"
    WRIST = "wrist"
    MIXED = "mixed"


_REPLAY, _SYNTHETIC, _STDIN, _SENDING = "Replay", "Synthetic", "Standard input", "Sending"


@app.command()
def publish(
    replay: Annotated[
        list[str] | None,
        typer.Option(
            "--replay", help="Recordings, such as hapt:exp01-user01; repeatable.", rich_help_panel=_REPLAY
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            envvar="DISC_STREAM_DATA",
            help="The dataset's zip or folder, or a folder of these.",
            rich_help_panel=_REPLAY,
        ),
    ] = None,
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Simulated wearables.", rich_help_panel=_SYNTHETIC)
    ] = False,
    devices: Annotated[
        int,
        typer.Option("--devices", min=1, help="Number of simulated wearables.", rich_help_panel=_SYNTHETIC),
    ] = 1,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds",
            min=0.1,
            help="Length of the streams; endless by default.",
            rich_help_panel=_SYNTHETIC,
        ),
    ] = None,
    placement: Annotated[
        PlacementName, typer.Option("--placement", help="Where they are worn.", rich_help_panel=_SYNTHETIC)
    ] = PlacementName.WAIST,
    dropout: Annotated[
        float,
        typer.Option(
            "--dropout",
            min=0.0,
            max=0.9,
            help="Share of messages that a bad radio link swallows.",
            rich_help_panel=_SYNTHETIC,
        ),
    ] = 0.0,
    seed: SeedOption = 0,
    stdin: Annotated[
        bool,
        typer.Option(
            "--stdin",
            help=r"CSV lines under a header such as acc_x\[g],acc_y\[g], or JSON lines.",
            rich_help_panel=_STDIN,
        ),
    ] = False,
    fs: Annotated[
        float | None,
        typer.Option("--fs", min=0.1, max=10_000, help="Lines per second.", rich_help_panel=_STDIN),
    ] = None,
    broker: BrokerOption = DEFAULT_BROKER,
    prefix: PrefixOption = "ds/v1",
    device: Annotated[
        str | None,
        typer.Option("--device", help="Device id, if there is only one.", rich_help_panel=_SENDING),
    ] = None,
    boot: Annotated[
        int | None,
        typer.Option(
            "--boot",
            min=0,
            max=2**32 - 1,
            help="Boot id; default the time in seconds. A server drops batches that it has seen of a boot.",
            rich_help_panel=_SENDING,
        ),
    ] = None,
    speed: Annotated[
        float,
        typer.Option(
            "--speed", min=0.0, help="1 is real time, 0 as fast as possible.", rich_help_panel=_SENDING
        ),
    ] = 1.0,
    samples: Annotated[
        int,
        typer.Option("--samples", min=1, max=65_536, help="Samples per message.", rich_help_panel=_SENDING),
    ] = 25,
    encoding: Annotated[
        EncodingName, typer.Option("--encoding", help="Encoding of the payloads.", rich_help_panel=_SENDING)
    ] = EncodingName.CBOR,
    dtype: Annotated[
        TypeName, typer.Option("--dtype", help="int16 quantises as sensors do.", rich_help_panel=_SENDING)
    ] = TypeName.FLOAT32,
    describe: Annotated[
        bool,
        typer.Option("--describe", help="Name the channels in each message.", rich_help_panel=_SENDING),
    ] = False,
    log_format: LogFormatOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Publish motion to an MQTT broker: recordings, simulated wearables, or lines from a sensor.

    Ends when everything is sent and confirmed; Ctrl-C ends it earlier, and what was sent is still confirmed.
    Exit code 1 if the broker has not confirmed a message.

    Example: disc-stream edge publish --replay hapt:exp01-user01 --data hapt.zip --speed 20

    Example: disc-stream edge publish --synthetic --devices 10 --seconds 60

    Example: my-sensor | disc-stream edge publish --stdin --fs 100 --device kitchen
    """
    setup_logging(verbose, log_format)
    if sum((bool(replay), synthetic, stdin)) != 1:
        raise UsageError("choose one source", remedy="Use --replay, --synthetic or --stdin")
    from disc_stream.wire.broker import Broker
    from disc_stream.wire.codecs import Encoding
    from disc_stream_edge.publisher import Publisher, Sending
    from disc_stream_edge.sources import FleetMotion

    stop = threading.Event()
    address = Broker.parse(broker)
    with _signals(stop) as received:
        sources: Sequence[Source]
        if replay:
            sources = _replays(replay, data, device, boot, dtype)
        elif synthetic:
            names = _fleet_names(devices, device)
            motion = FleetMotion(seed, placement.value)
            sources = _fleet(names, motion, seconds, boot, dtype, dropout)
        else:
            sources = [_standard_input(fs, device, boot, stop)]
        with _progress(sources, hidden=as_json) as on_publish:
            summary = Publisher(
                address,
                prefix=prefix,
                sending=Sending(Encoding(encoding.value), samples, speed, describe),
                on_publish=on_publish,
            ).run(sources, stop)
    _report(summary, sources, as_json)
    if received:
        sys.exit(128 + received[0])  # not typer's Exit: the summary above has said what happened
    if summary.lost:
        raise typer.Exit(1)


@contextmanager
def _signals(stop: threading.Event) -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM set ``stop``; yields the list of those received."""
    received: list[int] = []

    def handle(number: int, _frame: object) -> None:
        received.append(number)
        stop.set()
        if len(received) > 1:  # asked twice: do not wait for the broker any longer
            raise KeyboardInterrupt

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _replays(
    specs: Sequence[str], data: Path | None, device: str | None, boot: int | None, dtype: TypeName
) -> list[Source]:
    from disc_stream.clock import SystemClock
    from disc_stream.data.readers import load_recordings_spec
    from disc_stream_edge.sources import ReplaySource

    recordings = load_recordings_spec(specs, data)
    if device is not None and len(recordings) > 1:
        raise UsageError(
            f"--device names one device, but there are {len(recordings)} recordings",
            remedy="Leave out --device, or name one recording",
        )
    # A replay is a new boot, or a server that has seen the last one would drop this one as a repetition.
    number = SystemClock().unix_us() // 1_000_000 if boot is None else boot
    return [ReplaySource(r, device=device, boot=number, dtype=dtype.value) for r in recordings]


def _fleet_names(n_devices: int, device: str | None) -> int | list[str]:
    if device is None:
        return n_devices
    if n_devices > 1:
        raise UsageError(
            f"--device names one device, but there are {n_devices}", remedy="Leave out --device or --devices"
        )
    return [device]


def _fleet(
    devices: int | list[str],
    motion: FleetMotion,
    seconds: float | None,
    boot: int | None,
    dtype: TypeName,
    dropout: float,
) -> list[Source]:
    from disc_stream.clock import SystemClock
    from disc_stream.data.synthetic import MessageLoss
    from disc_stream_edge.sources import LossySource, synthetic_fleet

    fleet = synthetic_fleet(
        devices,
        start_us=SystemClock().unix_us(),
        motion=motion,
        seconds=seconds,
        boot=boot,
        dtype=dtype.value,
    )
    if not dropout:
        return list(fleet)
    return [LossySource(s, MessageLoss(dropout, seed=motion.seed + i)) for i, s in enumerate(fleet)]


def _standard_input(
    fs: float | None, device: str | None, boot: int | None, stop: threading.Event
) -> LineSource:
    from disc_stream.clock import SystemClock
    from disc_stream_edge.lines import LineSource, read_chunks

    if fs is None:
        raise UsageError("--stdin needs the sampling rate", remedy="Add --fs, such as --fs 50")
    clock = SystemClock()
    number = clock.unix_us() // 1_000_000 if boot is None else boot
    chunks = read_chunks(sys.stdin.fileno(), stop, clock)
    try:
        return LineSource(chunks, device=device or "stdin", fs=fs, boot=number)
    except DataError:
        if stop.is_set():  # the header has not come yet
            raise KeyboardInterrupt from None
        raise


@contextmanager
def _progress(sources: Sequence[Source], *, hidden: bool) -> Iterator[Callable[[Published], None] | None]:
    """A bar of samples sent, on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    totals = [source.total_samples for source in sources]
    total = None if None in totals else sum(n for n in totals if n is not None)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} samples"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=hidden or not console.is_terminal) as bar:
        task = bar.add_task(f"{len(sources)} device{'s' * (len(sources) > 1)}", total=total)
        yield lambda message: bar.advance(task, message.n_samples)


def _report(
    summary: PublishSummary, sources: Sequence[Source | LossySource | LineSource], as_json: bool
) -> None:
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
    ):
        if values[name]:
            text += f", {values[name]} {what}"
    say(text)
