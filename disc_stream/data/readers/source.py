"""Finding a dataset's files in a folder or a zip, without unpacking anything to disk."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

from disc_stream.errors import DataError, InputNotFoundError
from disc_stream.text import printable
from disc_stream.zipfiles import BROKEN, ZipLimits, ZipRefusedError, open_zip, read_member

_DEPTH = 2  # how far below the given folder a dataset's own folder may lie
_NESTED_ZIP_LIMIT = 2 << 30  # bytes; UCI's downloads are zips inside a zip
_LIMITS = ZipLimits(members=20_000, total_bytes=16 << 30)
_BROKEN = (*BROKEN, ZipRefusedError)


@dataclass(frozen=True, slots=True)
class Layout:
    """How a dataset is recognised.

    Args:
        folder: name of its folder, for messages.
        marker: a file that every copy has, relative to that folder, with ``/``.
        archives: names its zip usually has, compared without case.
    """

    folder: str
    marker: str
    archives: tuple[str, ...]


class Source(Protocol):
    """The files of one dataset; names are relative to its folder, with ``/``."""

    def names(self) -> list[str]:
        """Names of all files, sorted."""
        ...

    def read(self, name: str) -> bytes:
        """Contents of one file.

        Raises:
            DataError: if it is missing or cannot be read.
        """
        ...

    def where(self, name: str) -> str:
        """The file as a person would look for it."""
        ...


class FolderSource:
    """A dataset's folder on disk."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self) -> list[str]:
        """Names of all files below the folder, sorted."""
        return sorted(p.relative_to(self._root).as_posix() for p in self._root.rglob("*") if p.is_file())

    def read(self, name: str) -> bytes:
        """Contents of one file."""
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError as error:
            raise DataError(f"{self.where(name)} is missing") from error
        except OSError as error:
            raise DataError(f"{self.where(name)} cannot be read: {error.strerror}") from error

    def where(self, name: str) -> str:
        """The path of the file."""
        return printable(str(self._root / name))


class ZipSource:
    """A dataset's folder inside a zip.

    Args:
        archive: the open zip.
        path: where the zip lies, for messages.
        root: the dataset's folder inside it, ending in ``/``, or empty.
    """

    def __init__(self, archive: zipfile.ZipFile, path: str, root: str) -> None:
        self._archive = archive
        self._path = path
        self._root = root

    def names(self) -> list[str]:
        """Names of all files below the dataset's folder, sorted."""
        return sorted(
            name.removeprefix(self._root)
            for name in self._archive.namelist()
            if name.startswith(self._root) and not name.endswith("/")
        )

    def read(self, name: str) -> bytes:
        """Contents of one file."""
        try:
            return read_member(self._archive, self._archive.getinfo(self._root + name))
        except KeyError as error:
            raise DataError(f"{self.where(name)} is missing") from error
        except _BROKEN as error:
            raise DataError(
                f"{self.where(name)} cannot be unpacked: {error}",
                remedy="Download the zip again, or unpack it and give the folder",
            ) from error

    def where(self, name: str) -> str:
        """The zip and the file in it."""
        return printable(f"{self._path}:{self._root}{name}")


def open_source(path: Path, layout: Layout) -> Source:
    """Find a dataset.

    Args:
        path: its zip, its folder, a folder that holds either, or the marker file itself.
        layout: how to recognise it.

    Raises:
        InputNotFoundError: if ``path`` does not exist.
        DataError: if it is not a zip, or the dataset is not in it; says what was found instead.
    """
    if path.is_file():
        if path.name == PurePosixPath(layout.marker).name:
            return FolderSource(path.absolute().parents[len(PurePosixPath(layout.marker).parts) - 1])
        return _open_zip(path, layout)
    if not path.is_dir():
        raise InputNotFoundError(
            f"{str(path)!r} does not exist", remedy=f"Give the zip or the folder {layout.folder!r}"
        )
    root = _find_root(path, layout)
    if root is not None:
        return FolderSource(root)
    known = {name.lower() for name in layout.archives}
    children = _children(path)
    for candidate in children:
        if candidate.is_file() and candidate.name.lower() in known:
            return _open_zip(candidate, layout)
    raise _not_found(str(path), [p.name + "/" * p.is_dir() for p in children], layout)


def _find_root(path: Path, layout: Layout) -> Path | None:
    level = [path]
    for _ in range(_DEPTH + 1):
        for folder in level:
            if (folder / layout.marker).is_file():
                return folder
        level = [child for folder in level for child in _children(folder) if child.is_dir()]
    return None


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except PermissionError:
        return []  # what we may not look into is not the dataset


def _open_zip(path: Path, layout: Layout) -> ZipSource:
    try:
        with path.open("rb") as file:
            open_zip(file, _LIMITS)
        archive = zipfile.ZipFile(path)
    except ZipRefusedError as error:
        raise DataError(
            f"{str(path)!r} is a zip that is refused: {error}",
            remedy="Download it again, or unpack it and give the folder",
        ) from error
    except BROKEN as error:
        raise DataError(
            f"{str(path)!r} is not a zip file, or is cut short: {error}",
            remedy=f"Give the zip or the folder {layout.folder!r}",
        ) from error
    source = _source_in(archive, str(path), layout)
    if source is None:
        source = _source_in_nested(archive, path, layout)
    if source is None:
        raise _not_found(str(path), _top_names(archive.namelist()), layout)
    return source


def _source_in(archive: zipfile.ZipFile, path: str, layout: Layout) -> ZipSource | None:
    candidates = [
        name.removesuffix(layout.marker)
        for name in archive.namelist()
        if name == layout.marker or name.endswith("/" + layout.marker)
    ]
    if not candidates:
        return None
    return ZipSource(archive, path, min(candidates, key=len))


def _source_in_nested(archive: zipfile.ZipFile, path: Path, layout: Layout) -> ZipSource | None:
    for info in archive.infolist():
        if info.filename.lower().endswith(".zip") and info.file_size <= _NESTED_ZIP_LIMIT:
            try:
                inner = open_zip(io.BytesIO(read_member(archive, info)), _LIMITS)
            except _BROKEN:
                continue  # some other file; if nothing fits, the caller says what was expected
            source = _source_in(inner, f"{path}:{info.filename}", layout)
            if source is not None:
                return source
    return None


def _top_names(names: Iterable[str]) -> list[str]:
    return sorted({name.split("/")[0] + "/" * ("/" in name) for name in names})


def _not_found(path: str, found: list[str], layout: Layout) -> DataError:
    shown = ", ".join(printable(name, 80) for name in found[:5]) + (
        f" and {len(found) - 5} more" if len(found) > 5 else ""
    )
    return DataError(
        f"{path!r} does not hold {layout.folder!r}: expected {layout.marker!r} in it, "
        f"found {shown or 'nothing'}",
        remedy=f"Give the folder {layout.folder!r} or its zip, such as {layout.archives[0]}",
    )
