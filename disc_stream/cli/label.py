"""``disc-stream label``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disc_stream.cli.common import (
    JsonOption,
    TrustedKeyOption,
    print_json,
    require_extras,
    require_path,
    require_writable,
    say,
)
from disc_stream.cli.labelfile import require_label_file, write_label_file

if TYPE_CHECKING:
    from disc_stream.artifacts.manifest import Manifest
    from disc_stream.artifacts.model import Model
    from disc_stream.clustering.adaptation import AdaptationRule
    from disc_stream.data.series import Series
    from disc_stream.stream.values import Failure
    from disc_stream.types import Label
    from disc_stream_server.offline import RecordingLabels

    Labelled = list[tuple[Series, RecordingLabels]]


def label(
    recordings: Annotated[
        list[str],
        typer.Argument(help="What to label: recording.csv, hapt:exp07-user04, hapt:user04, 'hapt:exp0*' …"),
    ],
    bundle: Annotated[Path, typer.Option("--bundle", help="Folder or zip that `disc-stream export` wrote.")],
    trusted_key: TrustedKeyOption = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", envvar="DISC_STREAM_DATA", help="The dataset's zip or folder, or a folder of these."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Write the labels into this file: .json, .jsonl, .ndjson, .csv or .parquet."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file at --out.")] = False,
    top_k: Annotated[int, typer.Option("--top-k", min=1, help="Soft labels of each window.")] = 3,
    samples: Annotated[
        int, typer.Option("--samples", min=1, help="Samples in a batch; the labels do not depend on it.")
    ] = 50,
    causal: Annotated[
        bool,
        typer.Option("--causal", help="Label each window by what came before it alone, as `serve` does."),
    ] = False,
    adapt: Annotated[
        bool | None,
        typer.Option(
            "--adapt/--no-adapt",
            help="Let the model's centroids follow each recording's device. "
            "Default: where the model can, but for guided DISC.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Label recordings offline, with the code that labels live streams.

    A recording is known as a whole, so each window is labelled by what came
    before and after it, and the centroids follow the device by all of its
    windows. With --causal the labels are those that `serve` would have given.

    Prints a timeline of each recording and, where it has labels of its own,
    ACC and NMI against them. With --json it gives one JSON object whose
    "recordings" each hold their "labels", in the form of the live ones. The
    ending of --out says what is written: .json the same object, .jsonl one
    label a line, .csv and .parquet one label a row. A window that the model
    cannot use has no label, but a reason under "failures".

    Example: disc-stream label hapt:exp07-user04 --bundle bundles/hapt --out labels.csv
    """
    require_extras("disc-stream label", "cpu")
    require_path(bundle, "bundle")
    if out is not None:
        require_label_file(out, replace=force)
        require_writable(out)
    from disc_stream.artifacts.model import Model
    from disc_stream.data.readers import load_recordings_spec
    from disc_stream.data.series import group_series
    from disc_stream.stream.adapting import with_known_centroids
    from disc_stream.stream.pipeline import LabelOptions
    from disc_stream_server.offline import label_recording

    model = with_known_centroids(Model.open(bundle, trusted_keys=trusted_key))
    rule = _rule(model, adapt)
    if trusted_key is None:
        say("no signature of the bundle was checked: no --trusted-key is given", err=True)
    options = LabelOptions(top_k=top_k, adaptation=rule, whole=not causal)
    found = group_series(load_recordings_spec(recordings, data))
    with _progress(found) as advance:
        labelled = [
            (
                recording,
                label_recording(recording, model, options, samples=samples, on_samples=advance),
            )
            for recording in found
        ]
    metrics = _score(labelled, model.manifest)
    if out is not None:
        write_label_file(out, _to_json(labelled, metrics, model.manifest, causal=causal))
    if as_json:
        print_json(_to_json(labelled, metrics, model.manifest, causal=causal))
    else:
        _print_text(labelled, metrics, model.manifest)


@contextmanager
def _progress(found: Sequence[Series]) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, over samples."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Labelling", total=sum(recording.n_samples for recording in found))
        yield lambda n: bar.advance(task, n)


def _score(labelled: Labelled, manifest: Manifest) -> dict[str, Any] | None:
    """ACC and NMI over all recordings together; None without ground truth or scikit-learn."""
    from importlib.util import find_spec

    from disc_stream_server.offline import score

    if find_spec("sklearn") is None or find_spec("scipy") is None:
        return None
    return score([(recording, found.labels) for recording, found in labelled], manifest)


def _rule(model: Model, adapt: bool | None) -> AdaptationRule | None:
    """How centroids follow the device; None if they do not.

    Raises:
        ConfigError: if they are to and cannot.
    """
    from disc_stream.clustering.adaptation import AdaptationRule
    from disc_stream.errors import ConfigError
    from disc_stream.stream.adapting import adapter_of, follows_by_default

    rule = AdaptationRule()
    if adapt is False or (adapt is None and not follows_by_default(model.manifest)):
        return None
    try:
        adapter_of(model, rule)
    except ConfigError:
        if adapt:
            raise
        return None
    return rule


def _to_json(
    labelled: Labelled, metrics: dict[str, Any] | None, manifest: Manifest, *, causal: bool
) -> dict[str, Any]:
    from msgspec.structs import replace

    from disc_stream.wire.label import label_to_dict

    return {
        "schema": "disc-stream.labels/1",
        "model": manifest.version,
        "causal": causal,
        "recordings": [
            {
                "name": recording.name,
                "seconds": round(recording.seconds, 3),
                "windows": len(found.labels) + len(found.failures),
                # A recording's clock begins at 0: at what time of day it was made is not known.
                "labels": [label_to_dict(replace(one, t0_unix_us=None)) for one in found.labels],
                "failures": [
                    {
                        "window": failure.ready.window,
                        "t0": failure.ready.t0_us,
                        "reason": failure.reason,
                        "message": failure.message,
                    }
                    for failure in found.failures
                ],
            }
            for recording, found in labelled
        ],
        "metrics": metrics,
    }


def _print_text(labelled: Labelled, metrics: dict[str, Any] | None, manifest: Manifest) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from disc_stream.text import printable
    from disc_stream_server.offline import segments

    console = Console()
    for recording, (labels, failures) in labelled:
        table = Table(
            title=Text(f"{printable(recording.name)}: {len(labels)} windows in {recording.seconds:.0f} s"),
            title_justify="left",
            caption=Text(printable(_shares(labels) + _adapted(labels))),  # as text: a name may have brackets
            caption_justify="left",
        )
        for name in ("start", "duration", "label", "share", "confidence"):
            table.add_column(name, justify="left" if name == "label" else "right")
        for segment in segments(labels, manifest):
            share = segment.windows / len(labels)
            table.add_row(
                _clock(segment.start_s), f"{segment.duration_s:.1f} s", Text(printable(segment.name)),
                f"{share:.1%}", f"{segment.confidence:.2f}",
            )  # fmt: skip
        console.print(table)
        for line in _failure_lines(failures):
            console.print(Text(printable(line)))
    if metrics is not None:
        console.print(
            f"against the recordings' own labels ({metrics['windows']} windows): "
            f"ACC {metrics['smoothed']['acc']:.1%}, NMI {metrics['smoothed']['nmi']:.1%}; "
            f"without smoothing ACC {metrics['acc']:.1%}, NMI {metrics['nmi']:.1%}"
        )


def _failure_lines(failures: Sequence[Failure]) -> list[str]:
    """One line for each reason why windows have no label."""
    from collections import Counter

    counts = Counter(failure.message for failure in failures)
    first = {failure.message: failure.ready.t0_us / 1e6 for failure in reversed(failures)}
    return [
        f"no label for {n} window{'s' * (n > 1)}, first at {_clock(first[message])}: {message}"
        for message, n in counts.items()
    ]


def _shares(labels: Sequence[Label]) -> str:
    """How much of the time each label has, the most frequent first."""
    from collections import Counter

    counts = Counter(one.smoothed.name for one in labels).most_common()
    return ", ".join(f"{name} {count / len(labels):.1%}" for name, count in counts)


def _adapted(labels: Sequence[Label]) -> str:
    """How far the centroids had followed the device at the end; nothing where they do not."""
    shift = labels[-1].adapted if labels else None
    return f"; adapted by {shift:.1f} σ" if shift else ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes):d}:{rest:04.1f}"
