"""Labelled windows as Parquet files, with everything one must know to use them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from disc_stream import __version__
from disc_stream.artifacts.catalogue import Catalogue
from disc_stream.artifacts.manifest import ChannelInfo, Manifest, WindowInfo
from disc_stream.data.parquet import (
    HEADER_FILE,
    METADATA_KEY,
    ExportedCluster,
    ExportedModel,
    ExportHeader,
)
from disc_stream.errors import StorageError
from disc_stream.stream.sessions import StreamSpec
from disc_stream_server.dataset.replay import LabelledWindow
from disc_stream_server.storage.records import BRIDGED, DEFERRED

_ROWS = 4_096  # windows per file


@dataclass(frozen=True, slots=True)
class Source:
    """The model that labels are of, without what runs it."""

    manifest: Manifest
    catalogue: Catalogue


@dataclass(frozen=True, slots=True)
class Written:
    """What an export wrote.

    Args:
        windows: number of windows.
        labelled: how many of them have a label.
        devices: number of devices.
        files: number of Parquet files.
    """

    windows: int
    labelled: int
    devices: int
    files: int


def header_of(spec: StreamSpec, *, prefix: str, source: Source | None = None) -> ExportHeader:
    """The facts that hold for every window.

    Args:
        spec: channels, rate and windows.
        prefix: of the topics.
        source: what made the labels; None for windows that were collected without a model.
    """
    provenance = {
        "software": f"disc-stream {__version__}",
        "prefix": prefix,
        "exported": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    window = WindowInfo(samples=spec.window.samples, hop=spec.window.hop, input_samples=spec.window.hop)
    model, clusters = None, []
    if source is not None:
        provenance["labels"] = "made by the model without any label of a person; see training"
        manifest = source.manifest
        window = manifest.window
        clusters = [ExportedCluster(id=c.id, name=c.name) for c in source.catalogue.clusters]
        model = ExportedModel(
            name=manifest.name, version=manifest.version, training=manifest.training.model_dump()
        )
    return ExportHeader(
        fs=spec.fs,
        window=window,
        channels=[ChannelInfo(name=c.name, unit=c.unit) for c in spec.channels],
        clusters=clusters,
        model=model,
        provenance=provenance,
    )


def table_schema(header: ExportHeader) -> pa.Schema:
    """Columns of the files."""
    n = header.window.samples * len(header.channels)
    fields = [
        ("device", pa.string()), ("boot", pa.uint32()), ("window", pa.uint32()), ("t0_us", pa.int64()),
        ("t0_unix_us", pa.int64()), ("received_us", pa.int64()), ("bridged", pa.bool_()),
        ("model", pa.string()), ("label", pa.int32()), ("name", pa.string()), ("confidence", pa.float32()),
        ("smoothed", pa.int32()), ("smoothed_confidence", pa.float32()), ("soft", pa.list_(pa.float32())),
        ("distance", pa.float32()), ("novelty", pa.float32()), ("deferred", pa.bool_()),
        ("samples", pa.list_(pa.float32(), n)),
    ]  # fmt: skip
    return pa.schema(fields, metadata={METADATA_KEY: json.dumps(header.to_dict()).encode()})


def write_dataset(
    windows: Iterable[LabelledWindow], folder: Path, header: ExportHeader, *, all_windows: bool
) -> Written:
    """Write ``part-00000.parquet`` and so on, and ``_dataset.json``.

    Args:
        windows: what to write.
        folder: a new or empty folder.
        header: of ``header_of``.
        all_windows: whether windows without a label are written, too.

    Raises:
        StorageError: if the folder cannot be written.
    """
    schema = table_schema(header)
    chosen = iter(one for one in windows if all_windows or one.label is not None)
    devices: set[str] = set()
    n = labelled = files = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for part in _pieces(chosen):
            table = pa.Table.from_pylist([_row(one) for one in part], schema=schema)
            path = folder / f"part-{files:05d}.parquet"
            pq.write_table(table, path.with_suffix(".tmp"), compression="zstd")
            path.with_suffix(".tmp").rename(path)
            devices.update(one.window.device for one in part)
            n, files = n + len(part), files + 1
            labelled += sum(one.label is not None for one in part)
        text = json.dumps(
            {**header.to_dict(), "windows": n, "labelled": labelled, "devices": len(devices)}, indent=2
        )
        (folder / HEADER_FILE).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"cannot write to {str(folder)!r}: {error}", remedy="Check space and permissions"
        ) from error
    return Written(n, labelled, len(devices), files)


def _pieces(windows: Iterator[LabelledWindow]) -> Iterator[list[LabelledWindow]]:
    while part := list(islice(windows, _ROWS)):
        yield part


def _row(one: LabelledWindow) -> dict[str, Any]:
    window, label = one.window, one.label
    row: dict[str, Any] = {
        "device": window.device, "boot": window.boot, "window": window.window, "t0_us": window.t0_us,
        "t0_unix_us": window.t0_unix_us, "received_us": window.received_us, "bridged": window.bridged,
        "samples": window.samples.ravel(),
    }  # fmt: skip
    if label is not None:
        row |= {
            "model": label.model, "label": label.label, "name": label.name, "confidence": label.confidence,
            "smoothed": label.smoothed, "smoothed_confidence": label.smoothed_confidence,
            "soft": np.frombuffer(label.q, dtype="<f4"), "distance": label.distance, "novelty": label.novelty,
            "deferred": bool(label.flags & DEFERRED), "window": label.window,
            "bridged": window.bridged or bool(label.flags & BRIDGED),
        }  # fmt: skip
    return row
