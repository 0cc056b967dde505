"""MATLAB files: the numbers that scipy writes, in every form, and nothing worse than an error at damage."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from disc_stream.data.readers.mat import read_mat
from disc_stream.data.readers.source import FolderSource
from disc_stream.errors import DataError

DTYPES = ("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("version", ["5", "4"])
def test_matrices_come_back_as_scipy_wrote_them(version: str, packed: bool, tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    given = {
        f"m_{dtype}_{rows}": chance.integers(0, 100, size=(rows, 3)).astype(dtype)
        for dtype in (DTYPES if version == "5" else ("f8", "f4", "i4", "i2", "u2", "u1"))
        for rows in (1, 7, 500)
    }
    given["short"] = np.array([[3]], np.int16)  # fits into the eight bytes of its tag
    others = {"text": "words", "deep": {"a": 1}, "complex": np.array([[1j]])} if version == "5" else {}
    savemat(tmp_path / "a.mat", {**given, **others}, format=version, do_compression=packed and version == "5")
    found = read_mat(FolderSource(tmp_path), "a.mat", tuple(given))
    for (name, matrix), read in zip(given.items(), found, strict=True):
        np.testing.assert_array_equal(read, matrix, err_msg=name)
        assert read.dtype == matrix.dtype
    for name in others:
        with pytest.raises(DataError, match=f"no matrix of numbers named '{name}'"):
            read_mat(FolderSource(tmp_path), "a.mat", (name,))


def test_the_other_order_of_bytes(tmp_path: Path) -> None:
    def element(kind: int, data: bytes) -> bytes:
        return struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8)

    matrix = element(6, struct.pack(">II", 6, 0)) + element(5, struct.pack(">2i", 2, 2))
    matrix += element(1, b"data") + element(9, struct.pack(">4d", 1, 2, 3, 4))
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(">H", 0x0100) + b"MI"
    (tmp_path / "a.mat").write_bytes(header + element(14, matrix))
    (found,) = read_mat(FolderSource(tmp_path), "a.mat", ("data",))
    assert found.tolist() == [[1.0, 3.0], [2.0, 4.0]]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data[:100], "no header of MATLAB"),
        (lambda data: data[:-50], "cut short"),
        (lambda data: data[:125] + b"\x02" + data[126:], "version 7.3 or later"),
        (lambda data: data.replace(struct.pack("<2i", 5, 4), struct.pack("<2i", 5, 400)), "claims 5 × 400"),
        (lambda data: data.replace(struct.pack("<2i", 5, 4), struct.pack("<2i", -5, -4)), "claims -5 × -4"),
        (lambda data: data.replace(struct.pack("<II", 9, 160), struct.pack("<II", 77, 160)), "no numbers"),
        (lambda data: data.replace(struct.pack("<II", 9, 160), struct.pack("<II", 9, 2**31)), "cut short"),
    ],
)
def test_damage_is_named(change: object, says: str, tmp_path: Path) -> None:
    savemat(tmp_path / "a.mat", {"data": np.arange(20.0).reshape(5, 4)})
    assert callable(change)
    (tmp_path / "a.mat").write_bytes(change((tmp_path / "a.mat").read_bytes()))
    with pytest.raises(DataError, match=rf"a\.mat is not a readable MATLAB file: .*{says}"):
        read_mat(FolderSource(tmp_path), "a.mat", ("data",))
