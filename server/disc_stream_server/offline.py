"""Labels of whole recordings, by the same code that labels live streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from disc_stream.artifacts.manifest import Manifest
from disc_stream.artifacts.model import Model
from disc_stream.clock import Clock
from disc_stream.data.readers import READERS
from disc_stream.data.series import Series, as_series
from disc_stream.data.types import UNLABELLED, Recording
from disc_stream.data.windows import WindowPlan, majority_labels
from disc_stream.errors import StreamMismatchError
from disc_stream.signal.resampling import RATE_TOLERANCE
from disc_stream.stream.layout import fit_layout
from disc_stream.stream.pipeline import LabelOptions, Pipeline, stream_spec
from disc_stream.stream.recording import WholeRecording
from disc_stream.stream.sessions import Sessions
from disc_stream.stream.values import Failure, ReadyInput
from disc_stream.types import Label, SampleBatch

BOOT = 1
_AT_ONCE = 256  # windows encoded at once


def recording_batches(recording: Recording | Series, samples: int = 50) -> Iterator[SampleBatch]:
    """A recording as its device would send it: ``samples`` at a time, the clock starting at 0."""
    series = as_series(recording)
    return series.batches(series.name, BOOT, samples)


class RecordingLabels(NamedTuple):
    """What became of a recording.

    Args:
        labels: of its windows, in order.
        failures: windows that the model could not use.
    """

    labels: list[Label]
    failures: list[Failure]


def label_recording(
    recording: Recording | Series,
    model: Model,
    options: LabelOptions = LabelOptions(),  # noqa: B008 - frozen
    *,
    samples: int = 50,
    clock: Clock | None = None,
    on_samples: Callable[[int], None] = lambda _n: None,
) -> RecordingLabels:
    """Label every window of a recording, in order; a window that fails costs only its own label.

    Args:
        recording: what to label; no window spans two of its stretches.
        model: labels it.
        options: how windows are labelled.
        samples: per batch; the labels do not depend on it.
        clock: for the labels' ``published_us``.
        on_samples: told of the number of samples just taken, for a progress bar.

    Raises:
        StreamMismatchError: if the recording's rate, channels or units do not fit the model.
        EncoderUnavailableError: if the encoder does not work.
    """
    try:
        fit_layout(as_series(recording).parts[0].channels, stream_spec(model).channels)
        if options.whole:
            return _label_whole(recording, WholeRecording(model, options, clock), model, samples, on_samples)
        pipeline = Pipeline(model, options, clock=clock)
        labels: list[Label] = []
        for batch in recording_batches(recording, samples):
            pipeline.accept(batch)
            if pipeline.waiting >= options.max_batch:
                labels += pipeline.run()
            on_samples(len(batch.samples))
    except StreamMismatchError as error:
        raise StreamMismatchError(
            error.reason,
            f"recording {recording.name!r} does not fit the model: {error.message}",
            remedy=error.remedy,
        ) from None
    labels += pipeline.run()
    return RecordingLabels(labels, pipeline.failures)


def _label_whole(
    recording: Recording | Series,
    whole: WholeRecording,
    model: Model,
    samples: int,
    on_samples: Callable[[int], None],
) -> RecordingLabels:
    sessions, waiting = Sessions(stream_spec(model)), list[ReadyInput]()
    for batch in recording_batches(recording, samples):
        waiting += sessions.push(batch) or ()
        if len(waiting) >= _AT_ONCE:
            whole.take(waiting)
            waiting = []
        on_samples(len(batch.samples))
    whole.take(waiting)
    return RecordingLabels(whole.labels(), whole.failures)


@dataclass(frozen=True, slots=True)
class Segment:
    """Successive windows with the same smoothed label.

    Args:
        name: of the cluster.
        start_s: seconds from the recording's start.
        duration_s: seconds until the next segment, or the end of the last window's input.
        windows: number of windows.
        confidence: mean of the smoothed labels' probabilities.
    """

    name: str
    start_s: float
    duration_s: float
    windows: int
    confidence: float


def segments(labels: Sequence[Label], manifest: Manifest) -> list[Segment]:
    """The timeline of one recording."""
    hop_s = manifest.window.hop / manifest.fs
    found = []
    for _, group in groupby(labels, key=lambda label: label.smoothed.label):
        members = list(group)
        found.append(
            Segment(
                name=members[0].smoothed.name,
                start_s=members[0].t0_us / 1e6,
                duration_s=len(members) * hop_s,
                windows=len(members),
                confidence=float(np.mean([label.smoothed.confidence for label in members])),
            )
        )
    return found


def truth_of(
    recording: Recording | Series, labels: Sequence[Label], manifest: Manifest
) -> npt.NDArray[np.int64]:
    """The activity that most samples of each label's window have, (n_labels,).

    ``UNLABELLED`` where most have none, and for a window whose second half the recording lacks.
    """
    series = as_series(recording)
    one = series.parts[0]
    if len(series.parts) > 1 or one.clock_fs or abs(one.fs - manifest.fs) > RATE_TOLERANCE * manifest.fs:
        return _truth_by_time(series, labels, manifest)
    plan = WindowPlan(manifest.window.samples, manifest.window.hop)
    majority = majority_labels(one.labels, plan, len(one.label_names))
    return np.array(
        [int(majority[label.window]) if label.window < len(majority) else UNLABELLED for label in labels],
        dtype=np.int64,
    )


def _truth_by_time(series: Series, labels: Sequence[Label], manifest: Manifest) -> npt.NDArray[np.int64]:
    """The same for a recording of another rate than the model's, or with gaps: by the windows' times."""
    starts = np.array(series.starts_us())
    truth = np.full(len(labels), UNLABELLED, dtype=np.int64)
    for row, label in enumerate(labels):
        place = max(0, int(np.searchsorted(starts, label.t0_us, side="right")) - 1)
        part = series.parts[place]
        rate = part.clock_fs or part.fs
        # As many samples as the model's window where the rate is the model's; times by the part's own clock.
        near = abs(part.fs - manifest.fs) <= RATE_TOLERANCE * manifest.fs
        n = manifest.window.samples if near else round(manifest.window.samples * part.fs / manifest.fs)
        start = round((label.t0_us - int(starts[place])) * rate / 1e6)
        inside = part.labels[start : start + n]
        if len(inside) == n:
            values, counts = np.unique(inside, return_counts=True)
            truth[row] = values[counts.argmax()]
    return truth


def score(
    labelled: Sequence[tuple[Recording | Series, Sequence[Label]]], manifest: Manifest
) -> dict[str, Any] | None:
    """ACC and NMI of all recordings together, of the labels as they are and smoothed.

    Returns:
        ``{"windows", "acc", "nmi", "smoothed": {"acc", "nmi"}}``, each metric in 0..1; None if no window has
        a label of its own. Activities that the dataset does not score are left out.
    """
    from disc_stream.clustering.metrics import accuracy, nmi

    truth = np.concatenate([_scored_truth(recording, labels, manifest) for recording, labels in labelled])
    known = truth != UNLABELLED
    if not known.any():
        return None
    every = [label for _, labels in labelled for label in labels]

    def metrics(found: list[int]) -> dict[str, float]:
        predicted = np.array(found)[known]
        return {"acc": accuracy(truth[known], predicted), "nmi": nmi(truth[known], predicted)}

    return {
        "windows": int(known.sum()),
        **metrics([label.best.label for label in every]),
        "smoothed": metrics([label.smoothed.label for label in every]),
    }


def _scored_truth(
    recording: Recording | Series, labels: Sequence[Label], manifest: Manifest
) -> npt.NDArray[np.int64]:
    """``truth_of`` without what the dataset's own protocol leaves out."""
    truth = truth_of(recording, labels, manifest)
    reader = READERS.get(recording.name.partition("-")[0])
    if reader is not None and reader.scored:
        truth[~np.isin(truth, list(reader.scored))] = UNLABELLED
    return truth
