"""Zips of other people: opened and read within limits, however much they claim or expand to.

``zipfile`` believes a zip: it reads a directory of any size, unpacks a whole member before it cuts it to the
size that was claimed, and knows methods that expand a million times. A limit on the sizes that are claimed is
therefore not enough.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from dataclasses import dataclass
from tokenize import TokenError
from typing import IO, Any

import numpy as np
import numpy.typing as npt

MAX_RATIO = 100
"""How many times its packed size a member may have; texts of numbers come to about 10."""

BROKEN = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, OverflowError,
    UnicodeDecodeError,
)  # fmt: skip
"""What ``zipfile`` raises on zips that are cut short, damaged, or packed in a way it does not know."""

_FREE = 16 << 20  # bytes of a member whose ratio does not matter
_MAX_DIRECTORY = 4 << 20
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_ENCRYPTED = 0x1
_CHUNK = 1 << 22
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class ZipRefusedError(ValueError):
    """A zip is beyond the limits; the text says what of it, for a person."""


@dataclass(frozen=True, slots=True)
class ZipLimits:
    """What a zip may hold.

    Args:
        members: number of files.
        total_bytes: of all of them, unpacked.
    """

    members: int
    total_bytes: int


class _Careful(io.RawIOBase):
    """A file of which nothing large is read at once while ``zipfile`` looks for the directory."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.limit: int | None = _MAX_DIRECTORY

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = -1 if size is None else size
        if self.limit is None:
            return self._file.read(wanted)
        data = self._file.read(wanted if 0 <= wanted <= self.limit else self.limit + 1)
        if len(data) > self.limit:
            raise ZipRefusedError("its directory is too large")
        return data

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


def open_zip(file: IO[bytes], limits: ZipLimits) -> zipfile.ZipFile:
    """Open a zip and check what it claims to hold.

    Args:
        file: open, and left open.
        limits: of this kind of zip.

    Raises:
        ZipRefusedError: if it is beyond the limits.
        zipfile.BadZipFile: if it is no zip, or cut short; see ``BROKEN``.
    """
    careful = _Careful(file)
    archive = zipfile.ZipFile(careful)
    careful.limit = None
    infos = archive.infolist()
    if len(infos) > limits.members:
        raise ZipRefusedError(f"it holds {len(infos):,} entries, more than {limits.members:,}")
    if sum(info.file_size for info in infos) > limits.total_bytes:
        raise ZipRefusedError(f"it holds more than {limits.total_bytes >> 20:,} MiB")
    return archive


def _check_member(info: zipfile.ZipInfo) -> None:
    if info.flag_bits & _ENCRYPTED:
        raise ZipRefusedError(f"{info.filename!r:.80} is encrypted")
    if info.compress_type not in _METHODS:
        raise ZipRefusedError(f"{info.filename!r:.80}: its compression method is not supported here")
    if info.file_size > max(_FREE, MAX_RATIO * info.compress_size):
        raise ZipRefusedError(
            f"{info.filename!r:.80} would expand to {info.file_size:,} bytes, more than {MAX_RATIO} times "
            f"its size in the zip"
        )


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Unpack one file.

    Raises:
        ZipRefusedError: if it is packed too tightly, encrypted, or shorter than the zip claims.
        zipfile.BadZipFile: if it is longer or damaged; and what else is in ``BROKEN``.
    """
    _check_member(info)
    with archive.open(info) as member:
        # Never `read()`: that unpacks all there is, and only then looks at the size that was claimed.
        data = member.read(info.file_size)
    if len(data) != info.file_size:
        raise ZipRefusedError(f"{info.filename!r:.80} is shorter than the zip says")
    return data


def read_npz(
    file: IO[bytes], limits: ZipLimits, names: frozenset[str] | None = None
) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an npz: those of these names, or all.

    Raises:
        ZipRefusedError: if it is beyond the limits, or an array claims another size than it has.
        ValueError: if a member is no array, or holds Python objects; and what is in ``BROKEN``.
    """
    arrays = {}
    with open_zip(file, limits) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if name != info.filename and (names is None or name in names):
                _check_member(info)
                with archive.open(info) as member:
                    arrays[name] = _read_array(member, info.file_size, name)
    return arrays


def _read_array(member: IO[bytes], size: int, name: str) -> npt.NDArray[Any]:
    """An array, for which no more memory is taken than the member has bytes."""
    version = np.lib.format.read_magic(member)
    if version not in _HEADERS:
        raise ValueError(f"{name!r:.80} is of version {version} of npy")
    try:
        shape, by_columns, dtype = _HEADERS[version](member)
    except (SyntaxError, TokenError, TypeError, RecursionError, MemoryError) as error:
        # numpy reads it as an expression of Python
        raise ValueError(f"{name!r:.80} has a header that is none of npy") from error
    if dtype.hasobject:
        raise ValueError(f"Object arrays are not read, and {name!r:.80} is one")
    left = size - member.tell()
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != left:
        raise ZipRefusedError(f"{name!r:.80} claims the shape {shape!r:.80} and is of another size")
    content = np.empty(left, np.uint8)
    at = 0
    while at < left and (chunk := member.read(min(_CHUNK, left - at))):
        content[at : at + len(chunk)] = np.frombuffer(chunk, np.uint8)
        at += len(chunk)
    if at != left:
        raise ZipRefusedError(f"{name!r:.80} is shorter than the zip says")
    array: npt.NDArray[Any] = np.ndarray(shape, dtype, content, order="F" if by_columns else "C")
    return array
