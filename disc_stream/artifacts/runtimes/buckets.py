"""Batches padded to few sizes, for runtimes that prepare something anew for each shape."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

import numpy as np

from disc_stream.artifacts.runtimes.session import Outputs, Session
from disc_stream.types import Float32Array

# At most a third of the rows is padding, and at most 1,023 windows.
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)

_ONE = 64


def sizes_up_to(most: int, sizes: Sequence[int] = SIZES) -> tuple[int, ...]:
    """The sizes that batches of at most ``most`` windows are padded to."""
    return tuple(sizes[: bisect_left(sizes, min(most, sizes[-1])) + 1]) if sizes else ()


def run_each_size(session: Session, shape: tuple[int, int], most: int) -> None:
    """Run windows of zeros (T, C) in each of a session's sizes, or in one size if it has none."""
    for size in sizes_up_to(most, session.buckets) or (min(_ONE, most),):
        session.run(np.zeros((size, *shape), dtype=np.float32))


def run_padded(session: Session, x: Float32Array) -> Outputs:
    """Run a batch in the session's sizes.

    Windows do not depend on each other, so rows of zeros beside them change nothing; they are cut off again.

    Args:
        session: runs it.
        x: (B, T, C), B at least 1.
    """
    if not session.buckets:
        return session.run(x)
    parts = list(_parts(session, x))
    if len(parts) == 1:
        return parts[0]
    embedding, q, distance = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return embedding, q, distance


def _parts(session: Session, x: Float32Array) -> Iterator[Outputs]:
    largest = session.buckets[-1]
    for start in range(0, len(x), largest):
        part = x[start : start + largest]
        size = session.buckets[bisect_left(session.buckets, len(part))]
        if size == len(part):
            yield session.run(part)
            continue
        padded = np.zeros((size, *x.shape[1:]), dtype=np.float32)
        padded[: len(part)] = part
        embedding, q, distance = session.run(padded)
        yield embedding[: len(part)], q[: len(part)], distance[: len(part)]
