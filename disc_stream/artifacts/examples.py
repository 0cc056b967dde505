"""Training windows that a bundle keeps, so that people see what its clusters are: ``examples.bin``.

::

    "disc-stream.examples/1", a line feed, and, little-endian:
    uint32 N                     windows; all other sizes are the manifest's
    zlib stream of
      float32 level (C), step (C)     a sample is level + step · count
      float32 unit                    of the embeddings
      uint16  rows (N)                cluster of each, as a row of the graph
      uint8   border (N)              1 for the border of the cluster, 0 for its centre
      int16   counts (N, C, T)        each less the one before in time, so that they pack well
      float16 embedding (N, D)
      float32 mean (D), axes (2, D)   the plane of the map: (embedding - mean) · axesᵀ
      float32 centres (K, 2)          of the clusters on it

The file is under the manifest's hash like every other. It is the one file that may be taken out of a bundle
afterwards: the windows are the motion of people, who may want it erased.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from disc_stream.artifacts.manifest import Manifest
from disc_stream.errors import BundleError
from disc_stream.types import Float32Array

EXAMPLES_FILE = "examples.bin"
MAX_WINDOWS = 4_096
MAX_BYTES = 32 << 20
"""Unpacked."""

_MAGIC = b"disc-stream.examples/1\n"
_COUNTS = 32_767
_HALF = 60_000.0  # float16 ends at 65,504
_AGAIN = "Export the run again"


@dataclass(frozen=True, slots=True)
class Examples:
    """Windows, and where they lie.

    Args:
        windows: (N, T, C) float32, in the model's units.
        embedding: (N, D).
        rows: (N,) the cluster of each, as a row of the graph.
        border: (N,) whether it stands for the border of the cluster.
        mean: (D,) and
        axes: (2, D), the plane of the map.
        centres: (K, 2), of the clusters on it.
    """

    windows: Float32Array
    embedding: Float32Array
    rows: npt.NDArray[np.uint16]
    border: npt.NDArray[np.bool_]
    mean: Float32Array
    axes: Float32Array
    centres: Float32Array

    def __len__(self) -> int:
        return len(self.rows)

    def place(self, embedding: Float32Array) -> Float32Array:
        """Where embeddings (n, D) lie on the map, (n, 2)."""
        placed: Float32Array = ((embedding - self.mean) @ self.axes.T).astype(np.float32)
        return placed

    def nearest(self, embedding: Float32Array, most: int) -> list[tuple[int, float]]:
        """The windows most like an embedding (D,): number and squared distance, the nearest first."""
        squares = np.square(self.embedding - embedding).sum(1)
        return [(int(n), float(squares[n])) for n in np.argsort(squares, kind="stable")[:most]]

    def to_bytes(self) -> bytes:
        """The content of ``examples.bin``."""
        low, high = self.windows.min((0, 1)), self.windows.max((0, 1))
        level = ((low + high) / 2).astype("<f4")
        step = np.maximum((high - low) / (2 * _COUNTS), np.finfo(np.float32).tiny).astype("<f4")
        counts = np.clip(np.rint((self.windows - level) / step), -_COUNTS, _COUNTS).astype("<i2")
        by_channel = counts.transpose(0, 2, 1)
        less = by_channel.copy()
        less[:, :, 1:] -= by_channel[:, :, :-1]  # modulo 2^16, as it is added up again
        unit = np.array(max(1.0, float(np.abs(self.embedding).max()) / _HALF), dtype="<f4")
        parts = [
            level, step, unit, self.rows.astype("<u2"), self.border.astype("u1"), less,
            (self.embedding / unit).astype("<f2"), self.mean.astype("<f4"), self.axes.astype("<f4"),
            self.centres.astype("<f4"),
        ]  # fmt: skip
        body = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
        return _MAGIC + struct.pack("<I", len(self)) + zlib.compress(body, 9)

    @classmethod
    def of_bytes(cls, data: bytes, manifest: Manifest, what: str) -> Examples:
        """Read ``examples.bin``.

        Args:
            data: of the file.
            manifest: of its bundle, which says how large everything is.
            what: the bundle, for messages.

        Raises:
            BundleError: if it is none, damaged, or too large.
        """
        head = len(_MAGIC) + 4
        if not data.startswith(_MAGIC) or len(data) < head:
            raise _wrong(what, "it is not of that form")
        (n,) = struct.unpack_from("<I", data, len(_MAGIC))
        t, c = manifest.window.input_samples, len(manifest.channels)
        d, k = manifest.embedding_dim, manifest.n_clusters
        shapes: list[tuple[str, tuple[int, ...]]] = [
            ("<f4", (c,)), ("<f4", (c,)), ("<f4", ()), ("<u2", (n,)), ("u1", (n,)), ("<i2", (n, c, t)),
            ("<f2", (n, d)), ("<f4", (d,)), ("<f4", (2, d)), ("<f4", (k, 2)),
        ]  # fmt: skip
        sizes = [np.dtype(kind).itemsize * int(np.prod(shape, dtype=np.int64)) for kind, shape in shapes]
        if not 1 <= n <= MAX_WINDOWS or sum(sizes) > MAX_BYTES:
            raise _wrong(what, f"it holds {n} windows, or more than {MAX_BYTES >> 20} MiB")
        body = _unpacked(data[head:], sum(sizes), what)
        ends = np.cumsum(sizes).tolist()
        found = [
            np.frombuffer(body[end - size : end], dtype=kind).reshape(shape)
            for (kind, shape), size, end in zip(shapes, sizes, ends, strict=True)
        ]
        return cls._made(found, manifest, what)

    @classmethod
    def _made(cls, found: list[npt.NDArray[Any]], manifest: Manifest, what: str) -> Examples:
        level, step, unit, rows, border, less, half, mean, axes, centres = found
        counts = np.cumsum(less, axis=2, dtype=np.int16).transpose(0, 2, 1)
        with np.errstate(over="ignore", invalid="ignore"):
            windows = (level + step * counts.astype(np.float32)).astype(np.float32)
            embedding = (half.astype(np.float32) * unit).astype(np.float32)
        floats = [windows, embedding, mean.astype(np.float32), axes.astype(np.float32)]
        floats.append(centres.astype(np.float32))
        if not all(np.isfinite(one).all() for one in floats) or rows.max() >= manifest.n_clusters:
            raise _wrong(what, "it holds a value that cannot be")
        places = rows.astype(np.uint16), border.astype(np.bool_)
        return cls(floats[0], floats[1], *places, *floats[2:])


def _unpacked(data: bytes, size: int, what: str) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        body = unpacker.decompress(data, size + 1)
    except zlib.error as error:
        raise _wrong(what, str(error)) from None
    if len(body) != size or not unpacker.eof or unpacker.unused_data:
        raise _wrong(what, "its length is not that of so many windows")
    return body


def _wrong(what: str, why: str) -> BundleError:
    return BundleError(f"{EXAMPLES_FILE} of {what} cannot be used: {why}", remedy=_AGAIN)
