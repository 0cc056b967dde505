"""Windows of whole recordings and of streams."""

from __future__ import annotations

import numpy as np
import pytest

from disc_stream.signal.windowing import StreamWindower, count_windows, cut_windows
from disc_stream.types import WindowSpec


def ramp(n: int) -> np.ndarray:
    """Samples whose only channel is their own index."""
    return np.arange(n, dtype=np.float32)[:, None]


@pytest.mark.parametrize(
    ("n", "length", "hop", "windows"), [(0, 4, 2, 0), (3, 4, 2, 0), (4, 4, 2, 1), (5, 4, 2, 1), (6, 4, 2, 2)]
)
def test_only_complete_windows_count(n: int, length: int, hop: int, windows: int) -> None:
    assert count_windows(n, length, hop) == windows
    assert cut_windows(ramp(n), length, hop).shape == (windows, length, 1)


def test_windows_of_a_recording_start_every_hop() -> None:
    # samples  0 1 2 3 4 5 6 7 8
    # windows  |-------|
    #                |-------|       (3 to 6; from 6 on there are too few)
    cut = cut_windows(ramp(9), 4, 3)[:, :, 0]
    assert cut.tolist() == [[0, 1, 2, 3], [3, 4, 5, 6]]


def test_at_half_overlap_the_encoded_halves_tile_the_stream() -> None:
    # T = 4, hop = 2, input = 2:  0 1 | 2 3 | 4 5 | 6
    windower = StreamWindower(WindowSpec(4, 2, 2), 1)
    spans = windower.push(ramp(7))
    assert [span.samples[:, 0].tolist() for span in spans] == [[0, 1], [2, 3], [4, 5]]
    assert [(span.window, span.start) for span in spans] == [(0, 0), (1, 2), (2, 4)]


def test_a_hop_longer_than_the_input_skips_samples() -> None:
    # T = 6, hop = 5, input = 2:  0 1 . . . | 5 6 . . . | 10 11
    windower = StreamWindower(WindowSpec(6, 5, 2), 1)
    spans = windower.push(ramp(12))
    assert [span.samples[:, 0].tolist() for span in spans] == [[0, 1], [5, 6], [10, 11]]


def test_a_label_is_ready_with_the_last_sample_of_its_input() -> None:
    windower = StreamWindower(WindowSpec(4, 2, 2), 1)
    assert [len(windower.push(ramp(1))) for _ in range(4)] == [0, 1, 0, 1]


def test_a_break_forgets_the_unfinished_input_and_starts_a_new_grid() -> None:
    # 0 1 | 2 x   10 11 | 12
    windower = StreamWindower(WindowSpec(4, 2, 2), 1)
    first = windower.push(ramp(3))
    windower.break_at(10)
    second = windower.push(ramp(20)[10:13])
    assert [span.samples[:, 0].tolist() for span in first + second] == [[0, 1], [10, 11]]
    assert [(span.window, span.start) for span in second] == [(1, 10)]


def test_spans_keep_their_samples_when_the_stream_goes_on() -> None:
    windower = StreamWindower(WindowSpec(4, 2, 4), 1)
    (span,) = windower.push(ramp(4))
    windower.push(-ramp(8))
    assert span.samples[:, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("sizes", [(3, 1, 1), (8, 0, 4), (8, 9, 4), (8, 4, 0), (8, 4, 9)])
def test_impossible_sizes_are_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"window needs|input_samples must"):
        WindowSpec(*sizes)
