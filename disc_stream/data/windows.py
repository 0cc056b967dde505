"""Windows cut from recordings, the split into training and test parts, and their fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from disc_stream.data.alike import require_alike
from disc_stream.data.types import UNLABELLED, LabelArray, Recording, Split, WindowSet
from disc_stream.errors import ConfigError, DataError
from disc_stream.signal.windowing import count_windows, cut_windows

TEST_SHARE = 0.3  # of the people, or of every activity's samples where there are too few people


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """Sizes of the windows in samples.

    Args:
        length: window length T; even, since DISC halves it.
        hop: samples between two window starts.
    """

    length: int
    hop: int


def plan_windows(fs: float, window_s: float, overlap: float) -> WindowPlan:
    """Window sizes for a sampling rate; the length is the nearest even number of samples.

    Args:
        fs: sampling rate in Hz.
        window_s: window length in seconds.
        overlap: share of a window that the next one repeats, 0 to below 1.

    Raises:
        ConfigError: if the window has fewer than 4 samples or the overlap is out of range.
    """
    if not 0.0 <= overlap < 1.0:
        raise ConfigError(f"the overlap must be at least 0 and below 1, got {overlap}")
    length = 2 * round(window_s * fs / 2)
    if length < 4:
        raise ConfigError(f"a window of {window_s} s at {fs:g} Hz has fewer than 4 samples")
    return WindowPlan(length, max(1, round(length * (1.0 - overlap))))


def window_recordings(recordings: Sequence[Recording], plan: WindowPlan) -> WindowSet:
    """All complete windows of some recordings; ``group`` is the recording's position in the sequence.

    Raises:
        DataError: if no recording is as long as one window, or their channels or rates differ.
    """
    pieces = [_Piece(group, r, 0, len(r.samples)) for group, r in enumerate(recordings)]
    return _window_pieces(pieces, plan)


def split_recordings(
    recordings: Sequence[Recording], plan: WindowPlan, test_subjects: Sequence[int]
) -> tuple[WindowSet, WindowSet, str]:
    """Windows to learn from, windows to test on, and one sentence on how they were told apart.

    Args:
        recordings: of one dataset.
        plan: window sizes.
        test_subjects: people held out; if empty, every recording is split in time instead: the last
            30 % of every activity's samples are the test part. No window spans the border.

    Raises:
        DataError: if a part would be empty.
    """
    if test_subjects:
        held_out = set(test_subjects)
        pieces = [_Piece(g, r, 0, len(r.samples)) for g, r in enumerate(recordings)]
        test = [p for p in pieces if p.recording.subject in held_out]
        train = [p for p in pieces if p.recording.subject not in held_out]
        people = ", ".join(str(s) for s in sorted({p.recording.subject for p in test}))
        protocol = f"people {people} are held out for the test"
    else:
        train, test = _split_in_time(recordings)
        protocol = (
            "too few people to hold any out: the last 30 % of every activity's samples "
            "of each recording are the test part"
        )
    for part, name in ((train, "training"), (test, "test")):
        if not part:
            raise DataError(
                f"the {name} part has no recordings (test people: {list(test_subjects)})",
                remedy="Check that the dataset is complete",
            )
    return _window_pieces(train, plan), _window_pieces(test, plan), protocol


def default_test_subjects(subjects: Sequence[int]) -> tuple[int, ...]:
    """About 30 % of the people, evenly spread over their sorted numbers; none if fewer than three."""
    people = sorted(set(subjects))
    if len(people) < 3:
        return ()
    n_test = max(1, round(TEST_SHARE * len(people)))
    return tuple(people[(2 * i + 1) * len(people) // (2 * n_test)] for i in range(n_test))


def drop_unscored(split: Split) -> Split:
    """The same split without windows that no metric counts: unlabelled, or labels not in ``scored``."""

    def scored_only(part: WindowSet) -> WindowSet:
        return part.select(np.isin(part.y, split.scored) if split.scored else part.y != UNLABELLED)

    return Split(
        scored_only(split.train), scored_only(split.test), split.protocol, split.n_clusters, split.scored
    )


def fingerprint(windows: WindowSet) -> str:
    """sha256 over everything in a window set; the same windows give the same hex digits anywhere."""
    facts = {
        "shape": windows.x.shape,
        "fs": windows.fs,
        "channels": [(c.name, c.unit) for c in windows.channels],
        "label_names": windows.label_names,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    # Two bytes a person wherever they are enough: the digits of all windows so far stay as they are.
    person = "<i2" if windows.subject.max(initial=0) <= np.iinfo(np.int16).max else "<i8"
    arrays = ((windows.x, "<f4"), (windows.y, "<i2"), (windows.subject, person))
    for array, dtype in (*arrays, (windows.group, "<i4"), (windows.start, "<i8")):
        digest.update(np.ascontiguousarray(array, dtype=dtype).data)
    return digest.hexdigest()


def majority_labels(labels: LabelArray, plan: WindowPlan, n_labels: int) -> LabelArray:
    """The most frequent label of every window, (n_windows,) int16.

    Between equals, a label wins over ``UNLABELLED`` and the lower label over the higher.
    """
    n_windows = count_windows(len(labels), plan.length, plan.hop)
    starts = np.arange(n_windows) * plan.hop
    counts = np.empty((n_labels + 1, n_windows), dtype=np.int64)
    for column, label in enumerate((*range(n_labels), UNLABELLED)):
        total = np.concatenate([[0], np.cumsum(labels == label)])
        counts[column] = total[starts + plan.length] - total[starts]
    winner = counts.argmax(axis=0) if n_windows else np.empty(0, dtype=np.int64)
    return np.where(winner == n_labels, UNLABELLED, winner).astype(np.int16)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Samples ``start`` to ``stop`` of a recording."""

    group: int
    recording: Recording
    start: int
    stop: int


def _split_in_time(recordings: Sequence[Recording]) -> tuple[list[_Piece], list[_Piece]]:
    parts: tuple[list[_Piece], list[_Piece]] = ([], [])
    for group, recording in enumerate(recordings):
        late = _late_samples(recording.labels)
        borders = np.flatnonzero(np.diff(late)) + 1
        for start, stop in zip([0, *borders], [*borders, len(late)], strict=True):
            parts[int(late[start])].append(_Piece(group, recording, int(start), int(stop)))
    return parts


def _late_samples(labels: LabelArray) -> npt.NDArray[np.bool_]:
    """Which samples are among the last 30 % of their label's, (n_samples,)."""
    late = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        at = np.flatnonzero(labels == label)
        late[at[round(len(at) * (1.0 - TEST_SHARE)) :]] = True
    return late


def _window_pieces(pieces: Sequence[_Piece], plan: WindowPlan) -> WindowSet:
    if not pieces:
        raise DataError("there are no recordings to cut windows from")
    model = pieces[0].recording
    require_alike([piece.recording for piece in pieces], labels=False)
    parts = []
    for piece in pieces:
        x = cut_windows(piece.recording.samples[piece.start : piece.stop], plan.length, plan.hop)
        if len(x):
            parts.append((piece, x))
    if not parts:
        raise DataError(f"no stretch of the recordings is as long as one window of {plan.length} samples")
    sizes = [len(x) for _, x in parts]
    labels = [
        majority_labels(p.recording.labels[p.start : p.stop], plan, len(model.label_names)) for p, _ in parts
    ]
    return WindowSet(
        x=np.concatenate([x for _, x in parts]),
        y=np.concatenate(labels),
        subject=np.repeat(np.array([p.recording.subject for p, _ in parts], dtype=np.int64), sizes),
        group=np.repeat(np.array([p.group for p, _ in parts], dtype=np.int32), sizes),
        start=np.concatenate(
            [
                p.start + np.arange(n, dtype=np.int64) * plan.hop
                for (p, _), n in zip(parts, sizes, strict=True)
            ]
        ),
        fs=model.fs,
        channels=model.channels,
        label_names=model.label_names,
    )
