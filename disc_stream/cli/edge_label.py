"""``disc-stream edge label``."""

from __future__ import annotations

import sys
import threading
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disc_stream.cli.common import (
    DEFAULT_BROKER,
    BrokerOption,
    JsonOption,
    PrefixOption,
    SeedOption,
    TrustedKeyOption,
    VerboseOption,
    print_json,
    require_extras,
    say,
    setup_logging,
)
from disc_stream.cli.edgeoptions import (
    BootOption,
    DataOption,
    DeviceOption,
    DevicesOption,
    DropoutOption,
    DtypeOption,
    FsOption,
    OutboxMbOption,
    OutboxOption,
    PlacementName,
    PlacementOption,
    ReplayOption,
    SamplesOption,
    SecondsOption,
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
    from disc_stream_edge.uploading import UploadTally

_LABELLING, _UPLOAD = "Labelling", "Upload"


class UploadName(StrEnum):
    """What is published besides labels."""

    LABELS = "labels"
    EMBEDDINGS = "embeddings"
    UNCERTAIN = "uncertain"


def label(
    bundle: Annotated[
        Path, typer.Option("--bundle", help="The model: a folder or zip.", rich_help_panel=_LABELLING)
    ],
    trusted_key: TrustedKeyOption = None,
    top_k: Annotated[
        int,
        typer.Option("--top-k", min=1, help="Soft labels in each label.", rich_help_panel=_LABELLING),
    ] = 1,
    adapt: Annotated[
        bool,
        typer.Option(
            "--adapt/--no-adapt",
            help="Whether centroids follow the device, where the model knows its own.",
            rich_help_panel=_LABELLING,
        ),
    ] = True,
    upload: Annotated[
        UploadName,
        typer.Option(
            "--upload",
            help="labels alone; with embeddings of all windows; or with the samples of windows that are "
            "unknown or uncertain.",
            rich_help_panel=_UPLOAD,
        ),
    ] = UploadName.LABELS,
    confidence: Annotated[
        float,
        typer.Option(
            "--confidence", min=0.0, max=1.0, help="Below it a window is uncertain.", rich_help_panel=_UPLOAD
        ),
    ] = 0.5,
    every: Annotated[
        bool,
        typer.Option("--every", help="Publish every label, not changes alone.", rich_help_panel=_UPLOAD),
    ] = False,
    heartbeat_s: Annotated[
        float,
        typer.Option("--heartbeat-s", min=1.0, help="Longest time without a label.", rich_help_panel=_UPLOAD),
    ] = 60.0,
    settle: Annotated[
        int,
        typer.Option(
            "--settle",
            min=1,
            help="Windows for which a new activity must last before it is told.",
            rich_help_panel=_UPLOAD,
        ),
    ] = 1,
    replay: ReplayOption = None,
    data: DataOption = None,
    synthetic: SyntheticOption = False,
    devices: DevicesOption = 1,
    seconds: SecondsOption = None,
    placement: PlacementOption = PlacementName.WAIST,
    dropout: DropoutOption = 0.0,
    seed: SeedOption = 0,
    stdin: StdinOption = False,
    fs: FsOption = None,
    broker: BrokerOption = DEFAULT_BROKER,
    prefix: PrefixOption = "ds/v1",
    device: DeviceOption = None,
    boot: BootOption = None,
    speed: SpeedOption = 1.0,
    samples: SamplesOption = 25,
    dtype: DtypeOption = TypeName.FLOAT32,
    outbox: OutboxOption = None,
    outbox_mb: OutboxMbOption = 64.0,
    when_full: WhenFullOption = WhenFullName.DROP_OLDEST,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Label motion on the device itself, and publish labels instead of samples.

    The labels are those that a server would give for the same bundle. A label is published when the activity
    changes, and once a minute; the last line says how many bytes that has saved.

    Example: my-sensor | disc-stream edge label --bundle bundles/hapt --stdin --fs 50 --outbox /var/lib/motion

    Example: disc-stream edge label --bundle bundles/hapt --synthetic --seconds 60 --upload uncertain
    """
    setup_logging(verbose)
    require_extras("disc-stream edge label", "cpu")
    wanted = Wanted(
        replay, data, synthetic, devices, seconds, placement, dropout, seed, stdin, fs, device, boot, dtype
    )
    wanted.check(may_be_none=False)
    from disc_stream.artifacts.model import Model
    from disc_stream.clustering.adaptation import AdaptationRule
    from disc_stream.stream.pipeline import LabelOptions
    from disc_stream.wire.broker import Broker
    from disc_stream_edge.labelling import EdgeLabeller
    from disc_stream_edge.publisher import Publisher, Sending
    from disc_stream_edge.uploading import Upload, Uploader, UploadRule

    address = Broker.parse(broker)
    model = Model.open(bundle, "cpu", threads=1, trusted_keys=trusted_key)
    options = LabelOptions(top_k, adaptation=AdaptationRule() if adapt else None)
    rule = UploadRule(Upload(upload.value), every, heartbeat_s, settle, confidence)
    uploader = Uploader(EdgeLabeller(model, options), rule)
    stop = threading.Event()
    with signals_stop(stop) as received, kept_in(outbox, outbox_mb, when_full) as kept:
        sources = wanted.open(kept, stop)
        with progress(sources, hidden=as_json) as on_publish:
            summary = Publisher(
                address,
                prefix=prefix,
                sending=Sending(samples=samples, speed=speed),
                on_publish=on_publish,
                outbox=kept,
                maker=uploader,
            ).run(sources, stop)
    _report(summary, uploader.tally, as_json)
    if received:
        sys.exit(128 + received[0])
    if summary.lost:
        raise typer.Exit(1)


def _report(summary: PublishSummary, tally: UploadTally, as_json: bool) -> None:
    from dataclasses import asdict

    values: dict[str, Any] = {**asdict(summary), "upload": asdict(tally)}
    if as_json:
        print_json(values)
        return
    text = (
        f"{tally.windows} windows labelled, {tally.labels} labels published in {tally.bytes:,} bytes; their "
        f"samples would have been {tally.raw_bytes:,}"
    )
    if tally.differ:
        text += f"; {tally.differ} windows differ from the label published last"
    say(text + f"; {summary.confirmed} messages confirmed, {summary.lost} lost, {summary.waiting} waiting")
