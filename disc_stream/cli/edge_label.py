"""``disc-stream edge label``."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from disc_stream.cli.common import (
    DEFAULT_BROKER,
    BrokerOption,
    JsonOption,
    LogFormatOption,
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
    BaudOption,
    BootOption,
    DataOption,
    DeviceOption,
    DevicesOption,
    DropoutOption,
    DtypeOption,
    FsOption,
    IioOption,
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
from disc_stream.errors import UsageError

if TYPE_CHECKING:
    from disc_stream.stream.pipeline import LabelOptions
    from disc_stream.wire.broker import Broker
    from disc_stream.wire.mqtt import MqttLink
    from disc_stream_edge.labelling import EdgeLabeller
    from disc_stream_edge.publisher import PublishSummary
    from disc_stream_edge.uploading import UploadTally


class _Following(NamedTuple):
    """Where models are kept, and where they come from."""

    folder: Path
    base: str
    token: str | None


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
    follow: Annotated[
        Path | None,
        typer.Option(
            "--follow",
            help="Folder for the models that a server announces; the newest one that proves itself labels.",
            rich_help_panel=_LABELLING,
        ),
    ] = None,
    models_from: Annotated[
        str | None,
        typer.Option(
            "--models-from",
            help="With --follow: URL of the folder that has them as VERSION.zip.",
            rich_help_panel=_LABELLING,
        ),
    ] = None,
    models_token: Annotated[
        Path | None,
        typer.Option(
            "--models-token", help="File with a secret to be shown there.", rich_help_panel=_LABELLING
        ),
    ] = None,
    top_k: Annotated[
        int,
        typer.Option("--top-k", min=0, help="Soft labels in each label.", rich_help_panel=_LABELLING),
    ] = 0,
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
    iio: IioOption = None,
    serial: SerialOption = None,
    baud: BaudOption = 115_200,
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
    log_format: LogFormatOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Label motion on the device itself, and publish labels instead of samples.

    The labels are those that a server would give for the same bundle. A label is published when the activity
    changes, and once a minute; the last line says how many bytes that has saved.

    Example: my-sensor | disc-stream edge label --bundle bundles/hapt --stdin --fs 50 --outbox /var/lib/motion

    Example: disc-stream edge label --bundle bundles/hapt --synthetic --seconds 60 --upload uncertain

    Example: disc-stream edge label --bundle b.zip --stdin --fs 50 --follow m --models-from https://host/m
    """
    setup_logging(verbose, log_format)
    require_extras("disc-stream edge label", "cpu")
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
    )
    wanted.check(may_be_none=False)
    following = _following(follow, models_from, models_token)
    from disc_stream.clustering.adaptation import AdaptationRule
    from disc_stream.stream.pipeline import LabelOptions
    from disc_stream.wire.broker import Broker
    from disc_stream_edge.publisher import Publisher, Sending
    from disc_stream_edge.uploading import Upload, Uploader, UploadRule

    address = Broker.parse(broker)
    options = LabelOptions(max(1, top_k), adaptation=AdaptationRule() if adapt else None)
    rule = UploadRule(Upload(upload.value), every, heartbeat_s, settle, top_k > 0, confidence)
    stop = threading.Event()
    with (
        signals_stop(stop) as received,
        kept_in(outbox, outbox_mb, when_full) as kept,
        _labeller(bundle, trusted_key, options, following) as (labeller, begin_following),
    ):
        uploader = Uploader(labeller, rule)
        sources = wanted.open(kept, stop)
        begin_following(address, prefix, sources[0].device)
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


def _following(folder: Path | None, base: str | None, token: Path | None) -> _Following | None:
    """What is to be followed, if anything.

    Raises:
        UsageError: if an option lacks its counterpart, or the file with the secret cannot be read.
    """
    if folder is None or base is None:
        if folder is not None or base is not None or token is not None:
            raise UsageError(
                "--follow and --models-from belong together", remedy="Name a folder here, and a URL there"
            )
        return None
    from disc_stream.wire.secrecy import read_secret
    from disc_stream_edge.fetching import check_base

    return _Following(folder, check_base(base), None if token is None else read_secret(str(token), "token"))


@contextmanager
def _labeller(
    bundle: Path, trusted_key: list[Path] | None, options: LabelOptions, following: _Following | None
) -> Iterator[tuple[EdgeLabeller, Callable[[Broker, str, str], None]]]:
    """What labels, and a function that begins to follow the model that a server announces."""
    from disc_stream.artifacts.model import Model
    from disc_stream_edge.labelling import EdgeLabeller

    if following is None:
        model = Model.open(bundle, "cpu", threads=1, trusted_keys=trusted_key)
        yield EdgeLabeller(model, options), lambda _broker, _prefix, _device: None
        return
    from disc_stream.wire.topics import Topics
    from disc_stream_edge.following import ModelFollower, ModelSource, TrialLabeller, listen
    from disc_stream_edge.modelstore import ModelStore

    store = ModelStore(following.folder, bundle, trusted_key)
    opened = store.open()
    labeller = TrialLabeller(opened.model, options)
    labeller.begin_trial(store, on_trial=opened.on_trial)
    follower = ModelFollower(store, ModelSource(following.base, following.token), labeller.offer)
    links: list[MqttLink] = []

    def begin(broker: Broker, prefix: str, device: str) -> None:
        client_id = f"{prefix.replace('/', '-')}-{device}-models"
        links.append(listen(broker, Topics(prefix), client_id, follower))
        follower.start()

    try:
        yield labeller, begin
    finally:
        follower.stop()
        for link in links:
            link.close()


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
