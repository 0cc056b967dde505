"""``disc-stream edge label``."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from disc_stream.cli.common import TrustedKeyOption, print_json, require_extras, say, setup_logging
from disc_stream.cli.edgeoptions import Keeping, Reaching, Wanted, progress, signals_stop
from disc_stream.cli.spread import spread
from disc_stream.errors import UsageError

if TYPE_CHECKING:
    from disc_stream.stream.pipeline import LabelOptions
    from disc_stream_edge.fetching import ModelSource
    from disc_stream_edge.following import ModelFollower
    from disc_stream_edge.labelling import EdgeLabeller
    from disc_stream_edge.publisher import PublishSummary
    from disc_stream_edge.uploading import UploadTally


class _Following(NamedTuple):
    """Where models are kept, and where they come from."""

    folder: Path
    models: ModelSource


_LABELLING, _UPLOAD = "Labelling", "Upload"


class _Models(NamedTuple):
    """The model that labels at first, whose signature is trusted, and what runs models."""

    first: Path
    trusted_keys: list[Path] | None
    provider: Literal["cpu", "numpy"]


class EdgeProviderName(StrEnum):
    """What runs models on a device."""

    CPU = "cpu"
    NUMPY = "numpy"


class UploadName(StrEnum):
    """What is published besides labels."""

    LABELS = "labels"
    EMBEDDINGS = "embeddings"
    UNCERTAIN = "uncertain"


@spread
def label(
    *,
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
            help="With --follow: a server's /api/v1/models, or the URL of a folder with VERSION.zip.",
            rich_help_panel=_LABELLING,
        ),
    ] = None,
    models_token: Annotated[
        Path | None,
        typer.Option(
            "--models-token",
            help="File with a token to be shown there (`token add`, role device).",
            rich_help_panel=_LABELLING,
        ),
    ] = None,
    provider: Annotated[
        EdgeProviderName,
        typer.Option(
            "--provider",
            help="cpu is onnxruntime; numpy needs no extra, and runs models of disc-plus.",
            rich_help_panel=_LABELLING,
        ),
    ] = EdgeProviderName.CPU,
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
    source: Wanted,
    reaching: Reaching,
    keeping: Keeping,
) -> None:
    """Label motion on the device itself, and publish labels instead of samples.

    The labels are those that a server would give for the same bundle. A label is published when the activity
    changes, and once a minute; the last line says how many bytes that has saved.

    Example: my-sensor | disc-stream edge label --bundle bundles/hapt --stdin --fs 50 --outbox /var/lib/motion

    Example: disc-stream edge label --bundle bundles/hapt --synthetic --seconds 60 --upload uncertain

    Example: disc-stream edge label --bundle b.zip --stdin --fs 50 --follow m --models-from https://host/api/v1/models
    """
    setup_logging(reaching.verbose, reaching.log_format)
    if provider is EdgeProviderName.CPU:
        require_extras("disc-stream edge label", "cpu")
    source.check(may_be_none=False)
    following = _following(follow, models_from, models_token)
    from disc_stream.clustering.adaptation import AdaptationRule
    from disc_stream.stream.pipeline import LabelOptions
    from disc_stream.wire.broker import Broker
    from disc_stream_edge.publisher import Publisher, Sending
    from disc_stream_edge.uploading import Upload, Uploader, UploadRule

    address = Broker.parse(reaching.broker)
    options = LabelOptions(max(1, top_k), adaptation=AdaptationRule() if adapt else None)
    rule = UploadRule(Upload(upload.value), every, heartbeat_s, settle, top_k > 0, confidence)
    stop, as_json = threading.Event(), reaching.as_json
    with (
        signals_stop(stop) as received,
        keeping.open() as outbox,
        _labeller(_Models(bundle, trusted_key, provider.value), options, following) as (labeller, follower),
    ):
        uploader = Uploader(labeller, rule)
        sources = source.open(outbox, stop)
        with progress(sources, hidden=as_json) as on_publish:
            publisher = Publisher(
                address,
                prefix=reaching.prefix,
                sending=Sending(samples=reaching.samples, speed=reaching.speed),
                on_publish=on_publish,
                outbox=outbox,
                maker=uploader,
            )
            if follower is not None:
                publisher.hear_model(follower.hear)
            summary = publisher.run(sources, stop)
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
    from disc_stream_edge.fetching import ModelSource, check_base

    secret = None if token is None else read_secret(str(token), "token")
    return _Following(folder, ModelSource(check_base(base), secret))


@contextmanager
def _labeller(
    models: _Models, options: LabelOptions, source: _Following | None
) -> Iterator[tuple[EdgeLabeller, ModelFollower | None]]:
    """What labels, and what follows the model that a server announces."""
    from disc_stream.artifacts.model import Model
    from disc_stream_edge.labelling import EdgeLabeller

    if source is None:
        model = Model.open(models.first, models.provider, threads=1, trusted_keys=models.trusted_keys)
        yield EdgeLabeller(model, options), None
        return
    from disc_stream_edge.following import ModelFollower, TrialLabeller
    from disc_stream_edge.modelstore import ModelStore

    store = ModelStore(source.folder, *models)
    opened = store.open()
    labeller = TrialLabeller(opened.model, options)
    labeller.begin_trial(store, on_trial=opened.on_trial)
    follower = ModelFollower(store, source.models, labeller.offer)
    follower.start()
    try:
        yield labeller, follower
    finally:
        follower.stop()


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
