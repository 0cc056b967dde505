"""Archives from somebody else: however much they claim or expand to, the memory that is taken is bounded."""

from __future__ import annotations

import base64
import io
import json
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.data.archive import schema_of
from disc_stream.data.readers.mat import read_mat
from disc_stream.data.readers.source import FolderSource, Layout, open_source
from disc_stream.data.uniform import read_uniform
from disc_stream.errors import BundleError, DataError
from tests.support.tiny_bundle import write_tiny_bundle

MIB = 1 << 20
LAYOUT = Layout("Recordings", "labels.txt", ("recordings.zip",))


@pytest.fixture(autouse=True)
def _bounded() -> object:
    """Nothing in this file takes more than a few MiB, whatever it refuses."""
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 48 * MIB, f"{peak / MIB:.0f} MiB were taken"


def zeros(n_bytes: int) -> bytes:
    """A deflated stream of so many zeros, made without having them all."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    parts = [packer.compress(bytes(MIB)) for _ in range(n_bytes // MIB)]
    return b"".join(parts) + packer.flush()


def crc_of_zeros(n_bytes: int) -> int:
    crc = 0
    for _ in range(n_bytes // MIB):
        crc = zlib.crc32(bytes(MIB), crc)
    return crc


def packed_zip(name: str, packed: bytes, claims: int, crc: int, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of one member that is given as it is packed, with the size that it claims to have."""
    raw = name.encode()
    facts = struct.pack("<HHHHHIIIHH", 20, 0, method, 0, 0x21, crc, len(packed), claims, len(raw), 0)
    local = b"PK\x03\x04" + facts + raw + packed
    entry = b"PK\x01\x02" + struct.pack("<H", 20) + facts + struct.pack("<HHHII", 0, 0, 0, 0, 0) + raw
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry), len(local), 0)
    return local + entry + end


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """0.9 MB that expand to 900 MiB."""
    return zeros(900 * MIB)


# -- bundles -------------------------------------------------------------------------------------------------


def test_a_bundle_that_expands_is_refused(tmp_path: Path, bomb: bytes) -> None:
    file = tmp_path / "b.zip"
    file.write_bytes(packed_zip("model.onnx", bomb, 900 * MIB, 0))
    assert file.stat().st_size < MIB
    with pytest.raises(BundleError, match="holds more than 256 MiB"):
        Bundle.open(file)


def test_one_that_stays_below_the_total_is_refused_by_its_ratio(tmp_path: Path) -> None:
    file = tmp_path / "b.zip"
    file.write_bytes(packed_zip("model.onnx", zeros(200 * MIB), 200 * MIB, 0))
    says = r"'model\.onnx' would expand to 209,715,200 bytes, more than 100 times"
    with pytest.raises(BundleError, match=says):
        Bundle.open(file)


def test_a_small_claim_does_not_hide_it(tmp_path: Path, bomb: bytes) -> None:
    file = tmp_path / "b.zip"
    file.write_bytes(packed_zip("model.onnx", bomb, 1000, 0))
    with pytest.raises(BundleError, match="damaged zip: Bad CRC"):
        Bundle.open(file)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_cannot_be_bounded_are_refused(method: int, tmp_path: Path) -> None:
    file = tmp_path / "b.zip"
    file.write_bytes(packed_zip("model.onnx", b"BZh9", 4, 0, method))
    with pytest.raises(BundleError, match="compression method is not supported"):
        Bundle.open(file)


def test_a_directory_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "b.zip"
    with file.open("wb") as handle:  # two GiB that take no room on the disk
        handle.write(b"PK\x03\x04")
        handle.truncate(2 << 30)
        handle.seek(0, io.SEEK_END)
        handle.write(b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, (2 << 30) - 4, 4, 0))
    with pytest.raises(BundleError, match="its directory is too large"):
        Bundle.open(file)


def test_a_folder_is_not_read_beyond_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from disc_stream.artifacts import container

    monkeypatch.setattr(container, "MAX_TOTAL_BYTES", MIB)
    write_tiny_bundle(tmp_path / "tiny")
    with (tmp_path / "tiny" / "model.onnx").open("wb") as handle:
        handle.truncate(2 << 30)
    with pytest.raises(BundleError, match="holds more than 1 MiB"):
        Bundle.open(tmp_path / "tiny")


# -- files of ours -----------------------------------------------------------------------------------------


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    return tmp_path / "mine.npz"


HEADERS = [
    b"{b'descr': '<f8', 'fortran_order': False, 'shape': (1,)}",
    b"{1: '<f8', 'fortran_order': False, 'shape': (1,)}",
    b"{'descr': '<f8', 'fortran_order': False, 'shape': ([],)}",
    b"{'descr': {}, 'fortran_order': False, 'shape': (1,)}",
    b"{'descr': [('a',)], 'fortran_order': False, 'shape': (1,)}",
    b"(" * 200,
    b"-" * 9000 + b"1",
    b"[1, 2",
    b"",
]


@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
def test_a_header_that_is_no_description_of_an_array_is_refused(header: bytes, npz: Path) -> None:
    """numpy reads it as an expression of Python, and raises whatever Python does."""
    with zipfile.ZipFile(npz, "w") as archive:
        text = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n" + b"12345678"
        archive.writestr("header.npy", text)
    for read in READ_NPZ:
        with pytest.raises(DataError, match=r"^'[^\n]*mine\.npz' is not a readable npz[^\n]*$"):
            read(npz)


def npy(shape: str, data: bytes = b"", descr: str = "<f8") -> bytes:
    """An array that claims a shape."""
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


READ_NPZ: list[Callable[[Path], object]] = [schema_of, read_uniform]


@pytest.mark.parametrize("read", READ_NPZ)
def test_an_array_that_expands_is_refused(read: Callable[[Path], object], npz: Path, bomb: bytes) -> None:
    npz.write_bytes(packed_zip("header.npy", bomb, 900 * MIB, crc_of_zeros(900 * MIB)))
    with pytest.raises(DataError, match="would expand to 943,718,400 bytes, more than 100 times"):
        read(npz)


@pytest.mark.parametrize("shape", ["(10**12,)", "(1000000000000,)", "(-1,)", "(2, 3)", "()", "(True,)"])
def test_an_array_that_claims_another_size_is_refused(shape: str, npz: Path) -> None:
    with zipfile.ZipFile(npz, "w") as archive:
        archive.writestr("header.npy", npy(shape, b"1234"))
    with pytest.raises(DataError, match=r"mine\.npz' is not a readable npz"):
        schema_of(npz)


@pytest.mark.parametrize("descr", ["|O", "|V0", "<U0"])
def test_elements_without_a_size_are_no_data(descr: str, npz: Path) -> None:
    with zipfile.ZipFile(npz, "w") as archive:
        archive.writestr("header.npy", npy("(1000000000000,)", b"", descr))
    with pytest.raises(DataError, match=r"mine\.npz'"):
        schema_of(npz)


def test_arrays_come_back_as_they_were_written(tmp_path: Path) -> None:
    from disc_stream.zipfiles import ZipLimits, read_npz

    given = {
        "floats": np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32),
        "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "none": np.zeros((0, 7)),
        "scalar": np.array(3),
        "text": np.array("ä word"),
        "large": np.arange(1_500_000, dtype=np.int64).astype(np.int16),
        "big-endian": np.arange(3, dtype=">i4"),
    }
    for save in (np.savez, np.savez_compressed):
        with (tmp_path / "a.npz").open("wb") as file:
            save(file, **given)
        with (tmp_path / "a.npz").open("rb") as file:
            found = read_npz(file, ZipLimits(100, 1 << 30))
        assert found.keys() == given.keys()
        for name, array in given.items():
            assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
            assert np.array_equal(found[name], array)


# -- datasets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("claims", [900 * MIB, 1000])
def test_a_file_of_a_dataset_that_expands_is_refused(claims: int, tmp_path: Path, bomb: bytes) -> None:
    file = tmp_path / "recordings.zip"
    file.write_bytes(packed_zip("Recordings/labels.txt", bomb, claims, 0))
    source = open_source(file, LAYOUT)
    with pytest.raises(DataError, match=r"labels\.txt cannot be unpacked: "):
        source.read("labels.txt")


def test_a_zip_in_a_zip_that_expands_is_not_unpacked(tmp_path: Path, bomb: bytes) -> None:
    file = tmp_path / "recordings.zip"
    file.write_bytes(packed_zip("inner.zip", bomb, 900 * MIB, 0))
    with pytest.raises(DataError, match="does not hold 'Recordings'"):
        open_source(file, LAYOUT)


def test_a_dataset_with_a_directory_of_gigabytes_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "recordings.zip"
    with file.open("wb") as handle:
        handle.truncate(1 << 30)
        handle.seek(0, io.SEEK_END)
        handle.write(b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, 1 << 30, 0, 0))
    with pytest.raises(DataError, match="a zip that is refused: its directory is too large"):
        open_source(file, LAYOUT)


def test_a_matlab_file_that_expands_is_refused(tmp_path: Path) -> None:
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(bytes(MIB)) for _ in range(100)) + packer.flush()
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<HH", 0x0100, 0x4D49)
    (tmp_path / "data.mat").write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(DataError, match=r"data\.mat is not a readable MATLAB file: it would expand to more"):
        read_mat(FolderSource(tmp_path), "data.mat", ("data",))


# Found by fuzzing: loadmat of scipy 1.17.1 writes where it may not, and the process ends with a bus error.
ENDS_SCIPY = base64.b64decode(
    "TUFUTEFCIDUuMCBNQVQtZmlsZSBQbGF0Zm9ybTogcG9zaXgsIENyZWF0ZWQgb246IFN1biBOb3YgMjkgMDI6MjM6MTggMjAyNgAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABSU0PAAAABwEAAHic7cfLCcIAEEXRCX6I"
    "G83ChQsXIiIi9qCtBCzBEmxF67IESzABu3jnwnDeLKuqezc1H2yHGx2b/f/npGo12NS07v2jX01J82pKkiRJkiRJkiRJUlrfK0mS"
    "JEmSJEmSJMkU60aSJEmSJEmSJEkyxZYkSZIkSZIkSZJkjB1JkiRJkiRJkibJGNckSZIkSZIkSZIkY9yQJEmSJEmSJEmSjHFLkiRJ"
    "kiRJkiRJMsYdSZIkSZIkSZIkyRj3JEmSJEmSJEmSJGM8kCRJkiRJkiRJkozxSJIkSZIkSZIkSZIkSZIkyRj3JEmSJEmSJEmSJGM8"
    "kCRJkiRJkiRJkozxSJIkSZIkSZIkSTLGE0mSJEmSJEmSJMkYzyRJkiRJkiRJkiRjvJAkSZIkSZIkSZIM8AfI4pS7DwAAAEAAAAB4"
    "nONjYGA4wMzAwAakOYCYkwHnCQuJ"
)


def test_a_matlab_file_at_which_scipy_ends_the_process_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.mat").write_bytes(ENDS_SCIPY)
    with pytest.raises(DataError, match=r"data\.mat is not a readable MATLAB file: "):
        read_mat(FolderSource(tmp_path), "data.mat", ("data", "labels"))


def test_a_parquet_file_that_expands_is_refused(tmp_path: Path) -> None:
    """A run of equal values takes a few bytes in Parquet, however long it is."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    from disc_stream.data.parquet import METADATA_KEY, SCHEMA, read_export

    rows, length = 400, 65_536
    header = {
        "schema": SCHEMA, "fs": 50.0, "window": {"samples": length, "hop": length, "input_samples": length},
        "channels": [{"name": "acc_x", "unit": "m/s2"}],
    }  # fmt: skip
    schema = pa.schema(
        {"device": pa.string(), "boot": pa.int64(), "t0_us": pa.int64(), "samples": pa.list_(pa.float32())},
        metadata={METADATA_KEY: json.dumps(header).encode()},
    )
    zeros = pa.ListArray.from_arrays(
        pa.array([0, length], pa.int32()), pa.array(np.zeros(length, np.float32))
    )
    number = pa.array([0], pa.int64())
    table = pa.table([pa.array(["w"]), number, number, zeros], schema=schema)
    with pq.ParquetWriter(tmp_path / "part.parquet", schema, compression="zstd") as writer:
        for _ in range(rows):
            writer.write_table(table)
    with pytest.raises(DataError, match="would expand to more than 100 times"):
        read_export(tmp_path / "part.parquet")
