"""The files of an import: single ones, gz, zip, folders with subfolders; without unpacking to disk."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from disc_stream.errors import DataError, InputNotFoundError
from disc_stream.text import printable
from disc_stream.zipfiles import BROKEN, ZipLimits, ZipRefusedError, open_zip, read_member

TEXTS = frozenset({".csv", ".txt", ".tsv", ".dat", ".json", ".log"})
BINARIES = frozenset({".cwa", ".gt3x", ".bin"})
_LIMITS = ZipLimits(members=20_000, total_bytes=16 << 30)
_DEBRIS = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
_BLOCK = 1 << 20
_UNREADABLE = (OSError, EOFError, zlib.error)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file.

    Args:
        name: relative to what was given, with ``/``.
        where: as a person would look for it.
        root: the file on disk, or the zip that it is in.
        member: its name in the zip; "" for a file on disk.
    """

    name: str
    where: str
    root: Path
    member: str = ""

    @property
    def stem(self) -> str:
        """The file's name without folders, ``.gz`` and ending."""
        name = PurePosixPath(self.name).name
        name = name[:-3] if name.lower().endswith(".gz") else name
        return PurePosixPath(name).stem

    @property
    def suffix(self) -> str:
        """The ending, ``.gz`` left out, in lower case."""
        name = self.name.lower().removesuffix(".gz")
        return PurePosixPath(name).suffix

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders that it lies in, outermost first."""
        return PurePosixPath(self.name).parts[:-1]

    def blocks(self, size: int = _BLOCK) -> Iterator[bytes]:
        """Its content in pieces of about ``size`` bytes.

        Raises:
            DataError: if it cannot be read or unpacked.
        """
        try:
            with self._open() as file:
                while block := file.read(size):
                    yield block
        except (ZipRefusedError, *_UNREADABLE) as error:
            words = getattr(error, "strerror", None) or error
            raise DataError(
                f"{self.where!r} cannot be read: {words}", remedy="Copy it again from where it was made"
            ) from error

    def head(self, size: int) -> bytes:
        """Its first bytes.

        Raises:
            DataError: if it cannot be read or unpacked.
        """
        found = b""
        for block in self.blocks(size):
            found += block
            if len(found) >= size:
                break
        return found[:size]

    @contextmanager
    def _open(self) -> Iterator[IO[bytes]]:
        with ExitStack() as stack:
            file: IO[bytes] = stack.enter_context(self.root.open("rb"))
            if self.member:
                archive = open_zip(file, _LIMITS)
                file = io.BytesIO(read_member(archive, archive.getinfo(self.member)))
            if self.name.lower().endswith(".gz"):
                packed = gzip.GzipFile(fileobj=file)
                stack.callback(packed.close)
                file = cast(IO[bytes], packed)
            yield file


@dataclass(frozen=True, slots=True)
class Found:
    """What there is at a place.

    Args:
        entries: the files that may be recordings, by name.
        passed_over: names of the others, hidden ones and those that are no recordings.
    """

    entries: tuple[Entry, ...]
    passed_over: tuple[str, ...]


def find_files(path: Path) -> Found:
    """The files at a place: a file, a gz, a zip, or a folder with its subfolders.

    Raises:
        InputNotFoundError: if there is nothing.
        DataError: if it is a zip that cannot be read.
    """
    if path.is_dir():
        names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
        entries: list[Entry] = []
        passed: list[str] = []
        for name in names:
            if _is_hidden(name):
                passed.append(name)
            elif name.lower().endswith(".zip"):
                inner = _in_zip(path / name, prefix=name[:-4] + "/")
                entries += inner.entries
                passed += inner.passed_over
            elif _is_wanted(name):
                entries.append(Entry(name, printable(str(path / name)), path / name))
            else:
                passed.append(name)
        return Found(tuple(sorted(entries, key=lambda e: e.name)), tuple(passed))
    if not path.is_file():
        raise InputNotFoundError(f"recording {str(path)!r} does not exist", remedy="Check the path")
    if path.suffix.lower() == ".zip":
        return _in_zip(path)
    return Found((Entry(path.name, printable(str(path)), path),), ())


def _in_zip(path: Path, prefix: str = "") -> Found:
    try:
        with path.open("rb") as file:
            names = sorted(i.filename for i in open_zip(file, _LIMITS).infolist() if not i.is_dir())
    except (ZipRefusedError, zipfile.BadZipFile, *BROKEN) as error:
        raise DataError(
            f"{str(path)!r} is no zip that can be read: {error}", remedy="Unpack it and give the folder"
        ) from error
    wanted = [name for name in names if not _is_hidden(name) and _is_wanted(name)]
    entries = [Entry(prefix + name, printable(f"{path}:{name}"), path, name) for name in wanted]
    return Found(tuple(entries), tuple(prefix + name for name in names if name not in set(wanted)))


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "~$")) or part.lower() in _DEBRIS for part in name.split("/"))


def _is_wanted(name: str) -> bool:
    suffix = PurePosixPath(name.lower().removesuffix(".gz")).suffix
    return suffix in TEXTS or suffix in BINARIES
