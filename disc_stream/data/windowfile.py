"""A split's windows in one file, as ``disc-stream data windows`` writes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import Field

from disc_stream.artifacts.manifest import ChannelInfo
from disc_stream.data.archive import ArchiveHeader, Arrays, read_archive, write_archive
from disc_stream.data.types import Split, WindowSet
from disc_stream.data.windows import fingerprint
from disc_stream.errors import DataError

SCHEMA = "disc-stream.windows"
VERSION = 2  # 1 had two bytes for a person
_PARTS = ("train", "test")
_DTYPES = {"x": np.float32, "y": np.int16, "subject": np.int64, "group": np.int32, "start": np.int64}


class WindowsHeader(ArchiveHeader):
    """Everything but the numbers; arrays are named ``train_x``, ``test_y`` and so on."""

    schema_name: str = SCHEMA
    schema_version: int = VERSION
    dataset: str
    protocol: str
    fs: float = Field(gt=0, allow_inf_nan=False, description="sampling rate in Hz")
    channels: list[ChannelInfo] = Field(min_length=1)
    label_names: list[str]
    n_clusters: int = Field(ge=1)
    scored: list[int] = Field(default_factory=list)
    train_fingerprint: str = Field(description="sha256 of the training windows")
    test_fingerprint: str = Field(description="sha256 of the test windows")


def write_windows(path: Path, split: Split, *, dataset: str) -> WindowsHeader:
    """Write both parts of a split.

    Raises:
        DataError: if the file cannot be written.
    """
    train = split.train
    header = WindowsHeader(
        dataset=dataset,
        protocol=split.protocol,
        fs=train.fs,
        channels=[ChannelInfo(name=c.name, unit=c.unit) for c in train.channels],
        label_names=list(train.label_names),
        n_clusters=split.n_clusters,
        scored=list(split.scored),
        train_fingerprint=fingerprint(split.train),
        test_fingerprint=fingerprint(split.test),
    )
    arrays = {
        f"{part}_{name}": np.asarray(getattr(windows, name), dtype=dtype)
        for part, windows in zip(_PARTS, (split.train, split.test), strict=True)
        for name, dtype in _DTYPES.items()
    }
    write_archive(path, header, arrays)
    return header


def read_windows(path: Path) -> Split:
    """Read a file that ``write_windows`` wrote.

    Raises:
        InputNotFoundError: if there is no such file.
        DataError: if it is damaged, or its windows are not those that were written.
    """
    header, arrays = read_archive(path, WindowsHeader, SCHEMA, VERSION)
    train, test = (_part(path, header, arrays, part) for part in _PARTS)
    for part, windows, expected in (
        ("training", train, header.train_fingerprint),
        ("test", test, header.test_fingerprint),
    ):
        if fingerprint(windows) != expected:
            raise DataError(
                f"{str(path)!r}: the {part} windows do not have the fingerprint in the header",
                remedy="Write the file again",
            )
    return Split(train, test, header.protocol, header.n_clusters, tuple(header.scored))


def _part(path: Path, header: WindowsHeader, arrays: Arrays, part: str) -> WindowSet:
    dtypes = _DTYPES | ({"subject": np.int16} if header.schema_version == 1 else {})
    x = arrays.get(f"{part}_x")
    n_windows = -1 if x is None or x.ndim != 3 or x.shape[2] != len(header.channels) else len(x)
    for name, dtype in dtypes.items():
        array = arrays.get(f"{part}_{name}")
        fits = array is not None and array.dtype == dtype and array.ndim == (3 if name == "x" else 1)
        if array is None or not fits or len(array) != n_windows:
            raise DataError(
                f"{str(path)!r} has no usable array '{part}_{name}'", remedy="Write the file again"
            )
    return WindowSet(
        x=arrays[f"{part}_x"],
        y=arrays[f"{part}_y"],
        subject=arrays[f"{part}_subject"].astype(np.int64),
        group=arrays[f"{part}_group"],
        start=arrays[f"{part}_start"],
        fs=header.fs,
        channels=tuple(c.channel() for c in header.channels),
        label_names=tuple(header.label_names),
    )
