"""Options and sources that the commands on the edge have in common."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from disc_stream.cli.common import (
    DEFAULT_BROKER,
    BrokerOption,
    JsonOption,
    LogFormatOption,
    PrefixOption,
    SeedOption,
    VerboseOption,
)
from disc_stream.errors import DataError, UsageError

if TYPE_CHECKING:
    from disc_stream_edge.lines import LineSource
    from disc_stream_edge.outbox import Outbox
    from disc_stream_edge.publisher import Published
    from disc_stream_edge.sources import FleetMotion, Source


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


class WhenFullName(StrEnum):
    """What gives way when an outbox is full."""

    DROP_OLDEST = "drop-oldest"
    DROP_NEWEST = "drop-newest"


_REPLAY, _SYNTHETIC, _STDIN, _SENDING = "Replay", "Synthetic", "Standard input", "Sending"
_OUTBOX, _SENSORS = "Outbox", "Sensors"


EncodingOption = Annotated[
    EncodingName, typer.Option("--encoding", help="Encoding of the payloads.", rich_help_panel=_SENDING)
]
MaxSamplesOption = Annotated[
    int,
    typer.Option(
        "--max-samples",
        min=1,
        max=65_536,
        help="Samples per message while messages wait in the outbox.",
        rich_help_panel=_OUTBOX,
    ),
]
DescribeOption = Annotated[
    bool,
    typer.Option("--describe", help="Name the channels in each message.", rich_help_panel=_SENDING),
]


@dataclass(frozen=True, slots=True)
class Keeping:
    """The outbox that a command line names; its fields are the options."""

    outbox: Annotated[
        Path | None,
        typer.Option(
            "--outbox",
            help="Folder that keeps messages until the broker has confirmed them, also over a power cut; "
            "without a source, what is left in it is sent.",
            rich_help_panel=_OUTBOX,
        ),
    ] = None
    outbox_mb: Annotated[
        float,
        typer.Option("--outbox-mb", min=0.1, help="Most megabytes in it.", rich_help_panel=_OUTBOX),
    ] = 64.0
    when_full: Annotated[
        WhenFullName,
        typer.Option("--when-full", help="What gives way then; it is counted.", rich_help_panel=_OUTBOX),
    ] = WhenFullName.DROP_OLDEST

    @contextmanager
    def open(self) -> Iterator[Outbox | None]:
        """The outbox, if one is named."""
        if self.outbox is None:
            yield None
            return
        from disc_stream_edge.outbox import open_outbox

        outbox = open_outbox(self.outbox, self.outbox_mb, self.when_full.value)
        try:
            yield outbox
        finally:
            outbox.close()


@dataclass(frozen=True, slots=True)
class Reaching:
    """Where a command on the edge sends to, and how it says what it does; its fields are the options."""

    broker: BrokerOption = DEFAULT_BROKER
    prefix: PrefixOption = "ds/v1"
    speed: Annotated[
        float,
        typer.Option(
            "--speed", min=0.0, help="1 is real time, 0 as fast as possible.", rich_help_panel=_SENDING
        ),
    ] = 1.0
    samples: Annotated[
        int,
        typer.Option("--samples", min=1, max=65_536, help="Samples per message.", rich_help_panel=_SENDING),
    ] = 25
    log_format: LogFormatOption = None
    as_json: JsonOption = False
    verbose: VerboseOption = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """The source that a command line names; its fields are the options (``spread``)."""

    replay: Annotated[
        list[str] | None,
        typer.Option(
            "--replay", help="Recordings, such as hapt:exp01-user01; repeatable.", rich_help_panel=_REPLAY
        ),
    ] = None
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            envvar="DISC_STREAM_DATA",
            help="The dataset's zip or folder, or a folder of these.",
            rich_help_panel=_REPLAY,
        ),
    ] = None
    synthetic: Annotated[
        bool, typer.Option("--synthetic", help="Simulated wearables.", rich_help_panel=_SYNTHETIC)
    ] = False
    devices: Annotated[
        int,
        typer.Option("--devices", min=1, help="Number of simulated wearables.", rich_help_panel=_SYNTHETIC),
    ] = 1
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds",
            min=0.1,
            help="Length of the streams; endless by default.",
            rich_help_panel=_SYNTHETIC,
        ),
    ] = None
    placement: Annotated[
        PlacementName, typer.Option("--placement", help="Where they are worn.", rich_help_panel=_SYNTHETIC)
    ] = PlacementName.WAIST
    dropout: Annotated[
        float,
        typer.Option(
            "--dropout",
            min=0.0,
            max=0.9,
            help="Share of messages that a bad radio link swallows.",
            rich_help_panel=_SYNTHETIC,
        ),
    ] = 0.0
    seed: SeedOption = 0
    stdin: Annotated[
        bool,
        typer.Option(
            "--stdin",
            help=r"CSV lines under a header such as acc_x\[g],acc_y\[g], or JSON lines.",
            rich_help_panel=_STDIN,
        ),
    ] = False
    iio: Annotated[
        Path | None,
        typer.Option(
            "--iio",
            help="A sensor of Linux Industrial I/O: its folder, such as /sys/bus/iio/devices/iio:device0.",
            rich_help_panel=_SENSORS,
        ),
    ] = None
    serial: Annotated[
        Path | None,
        typer.Option(
            "--serial",
            help="Lines as of --stdin, from a port such as /dev/ttyACM0.",
            rich_help_panel=_SENSORS,
        ),
    ] = None
    baud: Annotated[
        int, typer.Option("--baud", help="Speed of the serial port.", rich_help_panel=_SENSORS)
    ] = 115_200
    fs: Annotated[
        float | None,
        typer.Option("--fs", min=0.1, max=10_000, help="Lines per second.", rich_help_panel=_STDIN),
    ] = None
    device: Annotated[
        str | None,
        typer.Option("--device", help="Device id, if there is only one.", rich_help_panel=_SENDING),
    ] = None
    boot: Annotated[
        int | None,
        typer.Option(
            "--boot",
            min=0,
            max=2**32 - 1,
            help="Boot id; default the time in seconds. A server drops batches that it has seen of a boot.",
            rich_help_panel=_SENDING,
        ),
    ] = None
    dtype: Annotated[
        TypeName, typer.Option("--dtype", help="int16 quantises as sensors do.", rich_help_panel=_SENDING)
    ] = TypeName.FLOAT32

    def check(self, *, may_be_none: bool) -> None:
        """Check that there is one source.

        Raises:
            UsageError: if there are several, or none where one is needed.
        """
        chosen = sum((bool(self.replay), self.synthetic, self.stdin, bool(self.iio), bool(self.serial)))
        if chosen > 1 or not (chosen or may_be_none):
            raise UsageError(
                "choose one source", remedy="Use --replay, --synthetic or --stdin, --iio or --serial"
            )

    def open(self, outbox: Outbox | None, stop: threading.Event) -> Sequence[Source]:
        """The devices; none if no source is named.

        Raises:
            DiscStreamError: if the source cannot be read.
        """
        from disc_stream_edge.sources import FleetMotion

        boots = _boots(self.boot, outbox)
        if self.replay:
            return _replays(self.replay, self.data, self.device, boots, self.dtype)
        if self.synthetic:
            names = _fleet_names(self.devices, self.device)
            motion = FleetMotion(self.seed, self.placement.value)
            return _fleet(names, motion, self.seconds, boots, self.dtype, self.dropout)
        if self.iio:
            from disc_stream_edge.iio import IioSource

            name = self.device or "iio"
            return [IioSource(self.iio, device=name, boot=boots(name), fs=self.fs, stop=stop)]
        if self.serial:
            from disc_stream_edge.serial import open_serial

            descriptor = open_serial(self.serial, self.baud)
            return [_lines(descriptor, self.fs, self.device or "serial", boots, stop)]
        return (
            [_lines(sys.stdin.fileno(), self.fs, self.device or "stdin", boots, stop)] if self.stdin else []
        )


def _boots(boot: int | None, outbox: Outbox | None) -> Callable[[str], int]:
    """Gives each device the id of its new boot: the one asked for, or the time, or what follows its last."""
    from disc_stream.clock import SystemClock

    number = SystemClock().unix_us() // 1_000_000 if boot is None else boot
    if boot is not None or outbox is None:
        return lambda _device: number
    return lambda device: outbox.next_boot(device, number)


@contextmanager
def signals_stop(stop: threading.Event) -> Iterator[list[int]]:
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
    specs: Sequence[str], data: Path | None, device: str | None, boots: Callable[[str], int], dtype: TypeName
) -> list[Source]:
    from disc_stream.data.readers import load_recordings_spec
    from disc_stream.data.series import group_series
    from disc_stream_edge.sources import ReplaySource

    recordings = group_series(load_recordings_spec(specs, data))
    if device is not None and len(recordings) > 1:
        raise UsageError(
            f"--device names one device, but there are {len(recordings)} recordings",
            remedy="Leave out --device, or name one recording",
        )
    # A replay is a new boot, or a server that has seen the last one would drop this one as a repetition.
    return [
        ReplaySource(r, device=device, boot=boots(device or r.name), dtype=dtype.value) for r in recordings
    ]


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
    boots: Callable[[str], int],
    dtype: TypeName,
    dropout: float,
) -> list[Source]:
    from disc_stream.clock import SystemClock
    from disc_stream.data.synthetic import MessageLoss, device_names
    from disc_stream_edge.sources import LossySource, synthetic_fleet

    names = device_names(devices) if isinstance(devices, int) else devices
    fleet = synthetic_fleet(
        names,
        start_us=SystemClock().unix_us(),
        motion=motion,
        seconds=seconds,
        boot=max(boots(name) for name in names),
        dtype=dtype.value,
    )
    if not dropout:
        return list(fleet)
    return [LossySource(s, MessageLoss(dropout, seed=motion.seed + i)) for i, s in enumerate(fleet)]


def _lines(
    descriptor: int, fs: float | None, name: str, boots: Callable[[str], int], stop: threading.Event
) -> LineSource:
    from disc_stream.clock import SystemClock
    from disc_stream_edge.lines import LineSource, read_chunks

    if fs is None:
        raise UsageError("lines do not say the sampling rate", remedy="Add --fs, such as --fs 50")
    chunks = read_chunks(descriptor, stop, SystemClock())
    try:
        return LineSource(chunks, device=name, fs=fs, boot=boots(name))
    except DataError:
        if stop.is_set():  # the header has not come yet
            raise KeyboardInterrupt from None
        raise


@contextmanager
def progress(sources: Sequence[Source], *, hidden: bool) -> Iterator[Callable[[Published], None] | None]:
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
