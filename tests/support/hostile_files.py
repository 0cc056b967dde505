"""Every file of somebody else that a program of ours opens: seeds of it, and the reader that must bear it.

A reader gets the bytes of an input, puts them where such a file lies and reads it. For archives, the first
byte of an input says what the rest is: 0 the whole archive, anything else the content of one of its members,
which is packed anew. So damage reaches what lies behind checksums.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from scipy.io import loadmat, savemat

from disc_stream.artifacts.bundle import Bundle, check_graph
from disc_stream.artifacts.graph import OPERATORS
from disc_stream.artifacts.model import Model
from disc_stream.artifacts.runtime import OnnxEncoder
from disc_stream.data.importing.front import import_recordings
from disc_stream.data.parquet import METADATA_KEY, SCHEMA, read_export
from disc_stream.data.readers import load_recordings, load_split
from disc_stream.data.uniform import DatasetFacts, read_uniform, write_uniform
from disc_stream.data.windowfile import read_windows, write_windows
from disc_stream.errors import BundleError, ConfigError, DataError, DiscStreamError
from disc_stream.stream.pipeline import encoder_stage
from tests.support.datasets import WRITERS, zip_folder
from tests.support.tiny_bundle import write_tiny_bundle

_MOST = 60_000  # bytes of a seed


@dataclass(frozen=True)
class Target:
    """One kind of file.

    Args:
        seeds: good files, given an empty folder to work in.
        read: reads the bytes of one, given a folder that it may write to.
        errors: what it may raise.
    """

    seeds: Callable[[Path], list[bytes]]
    read: Callable[[bytes, Path], object]
    errors: tuple[type[DiscStreamError], ...]


# -- bundles -------------------------------------------------------------------------------------------------


def _tiny(folder: Path) -> Path:
    if not (folder / "tiny").exists():
        write_tiny_bundle(folder / "tiny")
    return folder / "tiny"


@cache
def _exported() -> Bundle:
    """A bundle as export writes it, with a recurrence."""
    from disc_stream_export import export_run
    from tests.support.tiny_run import write_tiny_run

    with tempfile.TemporaryDirectory() as folder:
        export_run(write_tiny_run(Path(folder) / "run", hidden=4, embedding=2), Path(folder) / "bundle")
        return Bundle.open(Path(folder) / "bundle")


def assert_harmless(graph: bytes) -> None:
    """Whatever onnx's own parser makes of a graph that ours let through, it holds nothing that is refused."""
    try:
        model = onnx.ModelProto.FromString(graph)
    except DecodeError:
        return
    assert {node.op_type for node in model.graph.node} <= OPERATORS
    assert {node.domain for node in model.graph.node} <= {""}
    assert not [*model.functions, *model.training_info, *model.graph.sparse_initializer]
    for tensor in model.graph.initializer:
        assert not tensor.external_data
        assert tensor.data_location == onnx.TensorProto.DEFAULT
    refused = ("t", "g", "tensors", "graphs", "sparse_tensor", "sparse_tensors", "ref_attr_name")
    for node in model.graph.node:
        for attribute in node.attribute:
            found = {field.name for field, _ in attribute.ListFields()}
            assert not found & set(refused)


def _read_graph(sound: Bundle, data: bytes) -> object:
    check_graph(data, sound.manifest, "the input")
    assert_harmless(data)
    hostile = Bundle(sound.path, sound.manifest, data, sound.catalogue)
    encoder = OnnxEncoder(hostile, provider="cpu", threads=1)
    return encoder_stage(Model(sound.manifest, encoder, sound.catalogue), 1).probe()


def _in_bundle(name: str) -> Callable[[bytes, Path], object]:
    def read(data: bytes, folder: Path) -> object:
        bundle = _tiny(folder)
        before = {file.name: file.read_bytes() for file in bundle.iterdir()}
        try:
            (bundle / name).write_bytes(data if name == "manifest.json" else _with_checksum(data))
            return Bundle.open(bundle)
        finally:
            for file, content in before.items():
                (bundle / file).write_bytes(content)

    return read


def _with_checksum(data: bytes) -> bytes:
    """A catalogue whose checksum is right, so that the rest of it is looked at."""
    try:
        raw = json.loads(data)
        raw.pop("sha256", None)
        text = json.dumps(raw, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return json.dumps({**raw, "sha256": hashlib.sha256(text.encode()).hexdigest()}).encode()
    except (ValueError, AttributeError, TypeError, RecursionError):
        return data


def _bundle_seeds(name: str) -> Callable[[Path], list[bytes]]:
    return lambda folder: [(_tiny(folder) / name).read_bytes()]


def _bundle_zips(folder: Path) -> list[bytes]:
    write_tiny_bundle(folder / "tiny.zip")
    return _both_ways((folder / "tiny.zip").read_bytes())


# -- archives ------------------------------------------------------------------------------------------------


def _both_ways(archive: bytes) -> list[bytes]:
    """The archive, and each of its members."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        members = [opened.read(info) for info in opened.infolist() if not info.is_dir()][:200]
    parts = [b"\0" + archive, *(bytes([index + 1]) + data for index, data in enumerate(members))]
    return [part for part in parts if len(part) < _MOST]


def _unfold(data: bytes, archive: bytes) -> bytes:
    """The archive that an input means."""
    if not data or data[0] == 0:
        return data[1:]
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as good, zipfile.ZipFile(packed, "w") as made:
        infos = [info for info in good.infolist() if not info.is_dir()]
        for index, info in enumerate(infos):
            made.writestr(info.filename, data[1:] if index == (data[0] - 1) % len(infos) else good.read(info))
    return packed.getvalue()


def _archive(make: Callable[[Path], Path], read: Callable[[Path], object]) -> Target:
    """A file that is a zip, such as a dataset's or our own npz."""
    kept: dict[Path, bytes] = {}

    def good(folder: Path) -> bytes:
        if folder not in kept:
            kept[folder] = make(folder).read_bytes()
        return kept[folder]

    def read_input(data: bytes, folder: Path) -> object:
        sound = good(folder)
        file = folder / "input.zip"
        file.write_bytes(_unfold(data, sound))
        return read(file)

    return Target(lambda folder: _both_ways(good(folder)), read_input, (DataError,))


def _dataset(name: str) -> Target:
    def make(folder: Path) -> Path:
        root = WRITERS[name](folder)
        for file in root.rglob("*.mat"):  # packed, as MATLAB writes them
            savemat(file, {k: v for k, v in loadmat(file).items() if k[0] != "_"}, do_compression=True)
        return zip_folder(root, folder / "good.zip")

    return _archive(make, lambda file: load_recordings(name, file))


def _uniform(folder: Path) -> Path:
    recordings = load_recordings("hapt", WRITERS["hapt"](folder))
    write_uniform(folder / "good.npz", recordings, DatasetFacts("hapt", 6))
    return folder / "good.npz"


def _windows(folder: Path) -> Path:
    split = load_split("hapt", WRITERS["hapt"](folder))
    write_windows(folder / "good.npz", split, dataset="hapt")
    return folder / "good.npz"


# -- single files ------------------------------------------------------------------------------------------


def _single(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    def read_input(data: bytes, folder: Path) -> object:
        file = folder / name
        file.write_bytes(data)
        return read(file)

    return read_input


def _csv_seeds(_folder: Path) -> list[bytes]:
    rows = "".join(f"{n / 50},{n % 7 / 7},0.5,-0.81,walk\n" for n in range(200))
    timed = "".join(f"{20 * n};{n}\n" for n in range(50))
    bare = "".join(f"{n}\t{n % 5}e-3\n" for n in range(50))
    return [
        f"t,acc_x[g],acc_y[g],acc_z[g],label\n{rows}".encode(),
        f"t[ms];gyro_x[deg/s]\n{timed}".encode(),
        f"t[ms]\tacc_y[g]\n{bare}".encode(),
    ]


def _parquet_seeds(folder: Path) -> list[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    header = {
        "schema": SCHEMA, "fs": 50.0, "window": {"samples": 8, "hop": 4, "input_samples": 4},
        "channels": [{"name": "acc_x", "unit": "m/s2"}],
    }  # fmt: skip
    columns = {
        "device": pa.array(["a", "a", "b"]), "boot": pa.array([1, 1, 2]), "t0_us": pa.array([0, 80_000, 5]),
        "samples": pa.array([np.arange(8, dtype=np.float32)] * 3),
    }  # fmt: skip
    table = pa.table(columns).replace_schema_metadata({METADATA_KEY: json.dumps(header)})
    for compression in ("none", "zstd"):
        pq.write_table(table, folder / f"{compression}.parquet", compression=compression)
    return [(folder / f"{compression}.parquet").read_bytes() for compression in ("none", "zstd")]


TARGETS: dict[str, Target] = {
    "bundle-graph": Target(
        lambda _: [_exported().model_bytes], lambda data, _: _read_graph(_exported(), data), (BundleError,)
    ),
    "bundle-graph-small": Target(
        _bundle_seeds("model.onnx"),
        lambda data, folder: _read_graph(Bundle.open(_tiny(folder)), data),
        (BundleError,),
    ),
    "bundle-manifest": Target(_bundle_seeds("manifest.json"), _in_bundle("manifest.json"), (BundleError,)),
    "bundle-catalogue": Target(_bundle_seeds("catalogue.json"), _in_bundle("catalogue.json"), (BundleError,)),
    **{f"data-{name}": _dataset(name) for name in WRITERS if name not in {"actrectut-walk", "skoda-left"}},
    "data-uniform": _archive(_uniform, read_uniform),
    "data-windows": _archive(_windows, read_windows),
    "data-csv": Target(_csv_seeds, _single("input.csv", import_recordings), (DataError, ConfigError)),
    "data-parquet": Target(_parquet_seeds, _single("input.parquet", read_export), (DataError,)),
}


def _read_bundle_zip(data: bytes, folder: Path) -> object:
    """A zip of a bundle, whole or with one other member."""
    good = folder / "good.zip"
    if not good.exists():
        write_tiny_bundle(good)
    file = folder / "input.zip"
    file.write_bytes(_unfold(data, good.read_bytes()))
    return Bundle.open(file)


TARGETS["bundle-zip"] = Target(_bundle_zips, _read_bundle_zip, (BundleError,))
