"""Cutting streams into overlapping windows.

``cut_windows`` is the pure form for whole recordings, ``StreamWindower`` its streaming twin: fed the
same samples in any chunks, it yields the same spans.
"""

from __future__ import annotations

import msgspec
import numpy as np

from disc_stream.types import Float32Array, WindowSpec


def count_windows(n_samples: int, length: int, hop: int) -> int:
    """Number of complete spans of ``length`` that start every ``hop`` in ``n_samples``."""
    return max(0, (n_samples - length) // hop + 1)


def cut_windows(samples: Float32Array, length: int, hop: int) -> Float32Array:
    """All complete windows of a recording.

    Args:
        samples: (n_samples, n_channels).
        length: samples per window.
        hop: samples between two starts.

    Returns:
        (n_windows, length, n_channels), a read-only view of ``samples``.
    """
    n_windows = count_windows(len(samples), length, hop)
    if n_windows == 0:
        return np.empty((0, length, samples.shape[1]), dtype=np.float32)
    view = np.lib.stride_tricks.sliding_window_view(samples, length, axis=0)
    return view[: (n_windows - 1) * hop + 1 : hop].transpose(0, 2, 1)


class Span(msgspec.Struct, frozen=True, gc=False):
    """The encoder's input for one window.

    Args:
        window: number of the window since the windower was made, from 0; gaps do not reset it.
        start: index of the window's first sample, counted as ``StreamWindower.push`` was told.
        samples: (input_samples, n_channels) float32.
    """

    window: int
    start: int
    samples: Float32Array


class StreamWindower:
    """Cuts one device's stream into the spans that are to be encoded.

    Args:
        spec: window length, hop and input length, in samples.
        n_channels: columns of every chunk.
        buffer: (input_samples, n_channels) float32 to work in; None for one of its own.
    """

    def __init__(self, spec: WindowSpec, n_channels: int, buffer: Float32Array | None = None) -> None:
        self._spec = spec
        self._buffer = (
            np.empty((spec.input_samples, n_channels), dtype=np.float32) if buffer is None else buffer
        )
        self._filled = 0  # samples of the current span in the buffer
        self._skip = 0  # samples to pass over before the next span (hop longer than the input)
        self._window = 0
        self._next_index = 0

    @property
    def next_index(self) -> int:
        """Index that the next sample will have."""
        return self._next_index

    @property
    def windows(self) -> int:
        """Number of spans yielded so far."""
        return self._window

    def break_at(self, index: int) -> None:
        """Forget the unfinished span; the next sample has ``index`` and starts a new window.

        A window never spans a gap. Window numbers go on.
        """
        self._filled = 0
        self._skip = 0
        self._next_index = index

    def number_from(self, window: int) -> None:
        """Give the next span this number."""
        self._window = window

    def pass_over(self, n: int) -> None:
        """Begin the first span only n samples from here."""
        self._skip = n

    def state(self) -> tuple[int, int, int, int, bytes]:
        """Everything the next spans depend on, for ``restore``."""
        samples = self._buffer[: self._filled].tobytes()
        return self._filled, self._skip, self._window, self._next_index, samples

    def restore(self, state: tuple[int, int, int, int, bytes]) -> None:
        """Continue where ``state`` was taken.

        Raises:
            ValueError: if it is of other windows.
        """
        self._filled, self._skip, self._window, self._next_index, samples = state
        shape = self._filled, self._buffer.shape[1]
        self._buffer[: self._filled] = np.frombuffer(samples, dtype=np.float32).reshape(shape)

    def push(self, samples: Float32Array) -> list[Span]:
        """Take the next samples and return the spans they complete.

        Args:
            samples: (n, n_channels), following the last ones without a gap.
        """
        spans = []
        position = 0
        n = len(samples)
        while position < n:
            if self._skip:
                step = min(self._skip, n - position)
                self._skip -= step
            else:
                step = min(self._spec.input_samples - self._filled, n - position)
                self._buffer[self._filled : self._filled + step] = samples[position : position + step]
                self._filled += step
            position += step
            self._next_index += step
            if self._filled == self._spec.input_samples:
                spans.append(self._complete())
        return spans

    def _complete(self) -> Span:
        start = self._next_index - self._spec.input_samples
        span = Span(self._window, start, self._buffer.copy())
        self._window += 1
        overlap = self._spec.input_samples - self._spec.hop
        if overlap > 0:
            self._buffer[:overlap] = self._buffer[-overlap:].copy()
        self._filled = max(0, overlap)
        self._skip = max(0, -overlap)
        return span
