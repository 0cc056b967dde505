"""However a stream arrives, it gives the windows of the whole recording."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from disc_stream.signal.windowing import StreamWindower, cut_windows
from disc_stream.stream.sessions import Sessions, StreamSpec
from disc_stream.stream.values import ReadyInput
from disc_stream.types import SampleBatch, WindowSpec
from tests.support.device import make_batch
from tests.support.tiny_bundle import CHANNELS, FS


@st.composite
def specs(draw: st.DrawFn) -> WindowSpec:
    samples = draw(st.integers(4, 24))
    return WindowSpec(samples, draw(st.integers(1, samples)), draw(st.integers(1, samples)))


def noise(n: int) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32)


def chunks(values: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """Cut values into pieces of these sizes, the last one taking the rest."""
    return np.split(values, np.cumsum(sizes)[np.cumsum(sizes) < len(values)])


def new_sessions(spec: WindowSpec) -> Sessions:
    return Sessions(StreamSpec(CHANNELS, FS, spec))


def push_all(sessions: Sessions, batches: list[SampleBatch]) -> list[ReadyInput]:
    return [ready for batch in batches for ready in sessions.push(batch) or []]


sizes = st.lists(st.integers(1, 40), max_size=20)


@given(specs(), st.integers(0, 200), sizes)
def test_any_chunking_gives_the_inputs_of_the_whole_recording(
    spec: WindowSpec, n: int, sizes: list[int]
) -> None:
    samples = noise(n)
    windower = StreamWindower(spec, 3)
    spans = [span for chunk in chunks(samples, sizes) for span in windower.push(chunk)]
    whole = cut_windows(samples, spec.input_samples, spec.hop)
    assert len(spans) == len(whole)
    for window, span in enumerate(spans):
        assert (span.window, span.start) == (window, window * spec.hop)
        np.testing.assert_array_equal(span.samples, whole[window])


@given(specs(), sizes, st.data())
def test_any_repetition_of_batches_changes_nothing(
    spec: WindowSpec, sizes: list[int], data: st.DataObject
) -> None:
    pieces = chunks(noise(200), sizes)
    starts = np.cumsum([0, *map(len, pieces)])
    batches = [make_batch("watch", seq, piece, start=int(starts[seq])) for seq, piece in enumerate(pieces)]
    repeated = []
    for position, batch in enumerate(batches):
        repeated += [batch] * data.draw(st.integers(1, 3))
        repeated += data.draw(st.lists(st.sampled_from(batches[: position + 1]), max_size=3))
    once, again = new_sessions(spec), new_sessions(spec)
    expected, found = push_all(once, batches), push_all(again, repeated)
    assert again.counts.duplicates == len(repeated) - len(batches)
    assert again.counts.gaps == again.counts.late == 0
    assert [(r.window, r.t0_us, r.seq) for r in found] == [(r.window, r.t0_us, r.seq) for r in expected]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a.samples, b.samples)


@given(specs(), st.integers(1, 12), st.sets(st.integers(0, 39)))
def test_no_input_crosses_a_gap_and_every_gap_is_counted(spec: WindowSpec, size: int, lost: set[int]) -> None:
    """Each sample holds its own number, so an input that crosses a gap would show a jump."""
    n = 40
    numbers = np.tile(np.arange(n * size, dtype=np.float32)[:, None], (1, 3))
    kept = [seq for seq in range(n) if seq not in lost]
    batches = [make_batch("watch", seq, numbers[seq * size : (seq + 1) * size]) for seq in kept]
    sessions = new_sessions(spec)
    found = push_all(sessions, batches)
    for ready in found:
        assert (np.diff(ready.samples[:, 0]) == 1).all()
        assert ready.t0_us == round(float(ready.samples[0, 0]) * 1e6 / FS)
    jumps = np.diff(kept)
    assert sessions.counts.gaps == int((jumps > 1).sum())
    assert sessions.counts.missing == int((jumps - 1).sum())
    runs = np.split(np.array(kept), np.flatnonzero(jumps > 1) + 1) if kept else []
    assert len(found) == sum(
        len(cut_windows(numbers[: len(run) * size], spec.input_samples, spec.hop)) for run in runs
    )


@given(specs(), st.integers(0, 2**32 - 1), sizes)
def test_where_the_numbers_start_does_not_matter(spec: WindowSpec, first: int, sizes: list[int]) -> None:
    """Also across the wrap of the uint32 sequence number."""
    pieces = chunks(noise(200), sizes)

    def windows(first: int) -> list[tuple[int, int]]:
        sessions = new_sessions(spec)
        batches = [make_batch("watch", (first + i) % 2**32, piece, start=7) for i, piece in enumerate(pieces)]
        found = push_all(sessions, batches)
        assert sessions.counts.gaps == 0
        return [(ready.window, ready.t0_us) for ready in found]

    assert windows(first) == windows(0)
