"""The anchors of a registry in one file, read without pickles."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from pydantic import Field

from disc_stream.artifacts.manifest import ChannelInfo
from disc_stream.clustering.anchors import AnchorSet
from disc_stream.data.archive import ArchiveHeader, Arrays, read_archive, write_archive
from disc_stream.errors import DataError
from disc_stream.wire.limits import MAX_UINT32

SCHEMA = "disc-stream.anchors"
VERSION = 1
_DTYPES = {
    "windows": np.float32, "ids": np.uint32, "device": np.int32, "when_us": np.int64,
    "distance": np.float32, "weights": np.float64,
}  # fmt: skip
_REMEDY = "Remove it: anchors are chosen anew from what is published, and the next alignment has fewer"


class AnchorsHeader(ArchiveHeader):
    """Everything but the numbers; ``device`` is the position of a name in ``devices``."""

    schema_name: str = SCHEMA
    schema_version: int = VERSION
    fs: float = Field(gt=0, allow_inf_nan=False, description="sampling rate in Hz")
    channels: list[ChannelInfo] = Field(min_length=1)
    devices: list[str] = Field(description="names, in ascending order")
    sha256: str = Field(description="of the arrays")


def write_anchors(path: Path, anchors: AnchorSet, *, fs: float, channels: list[ChannelInfo]) -> AnchorsHeader:
    """Write anchors; an existing file is replaced only when all is written.

    Args:
        path: of the file.
        anchors: to write.
        fs: sampling rate of the windows in Hz.
        channels: of the windows, in order.

    Raises:
        DataError: if the file cannot be written, or an id is none.
    """
    if len(anchors) and (anchors.ids.min() < 0 or anchors.ids.max() > MAX_UINT32):
        raise DataError(f"ids go from 0 to {MAX_UINT32}, got {anchors.ids.min()} to {anchors.ids.max()}")
    devices, index = np.unique(anchors.devices, return_inverse=True)
    values = {
        "windows": anchors.windows, "ids": anchors.ids, "device": index, "when_us": anchors.when_us,
        "distance": anchors.distance, "weights": anchors.weights,
    }  # fmt: skip
    arrays: Arrays = {name: np.asarray(values[name], dtype=dtype) for name, dtype in _DTYPES.items()}
    header = AnchorsHeader(fs=fs, channels=channels, devices=devices.tolist(), sha256=_digest(arrays))
    write_archive(path, header, arrays)
    return header


def read_anchors(path: Path) -> tuple[AnchorSet, AnchorsHeader]:
    """Read what ``write_anchors`` wrote.

    Raises:
        InputNotFoundError: if there is no such file.
        DataError: if it is damaged, or from a newer version.
    """
    header, arrays = read_archive(path, AnchorsHeader, SCHEMA, VERSION)
    n = len(arrays["ids"]) if "ids" in arrays else -1
    for name, dtype in _DTYPES.items():
        array = arrays.get(name)
        fits = array is not None and array.dtype == dtype and array.ndim == (3 if name == "windows" else 1)
        if array is None or not fits or len(array) != n:
            raise DataError(f"{str(path)!r} has no usable array {name!r}", remedy=_REMEDY)
    index = arrays["device"]
    known = n == 0 or (index.min() >= 0 and index.max() < len(header.devices))
    if _digest(arrays) != header.sha256 or not known or arrays["windows"].shape[2] != len(header.channels):
        raise DataError(f"{str(path)!r} is damaged: its arrays are not those it says", remedy=_REMEDY)
    names = np.array(header.devices, dtype=np.str_)
    anchors = AnchorSet(
        arrays["windows"], arrays["ids"].astype(np.int64), names[index] if n else names[:0],
        arrays["when_us"], arrays["distance"], arrays["weights"],
    )  # fmt: skip
    return anchors, header


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for name, dtype in _DTYPES.items():
        array = np.ascontiguousarray(arrays[name], dtype=np.dtype(dtype).newbyteorder("<"))
        digest.update(f"{name} {array.shape};".encode())
        digest.update(array.data)
    return digest.hexdigest()
