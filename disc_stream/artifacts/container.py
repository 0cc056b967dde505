"""A flat set of named files, kept as a folder or as a zip; read once, written whole or not at all."""

from __future__ import annotations

import io
import os
import re
import secrets
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path

from disc_stream.errors import BundleError, InputNotFoundError, UsageError
from disc_stream.zipfiles import BROKEN, ZipLimits, ZipRefusedError, open_zip, read_member

# Far above any model of this project; a zip that claims more is refused before it is unpacked.
MAX_TOTAL_BYTES = 256 << 20
MAX_FILES = 64

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can hold; equal files give equal zips


def is_plain_name(name: str) -> bool:
    """Whether a file name is one that a container may hold: no folder, no leading dot, plain characters."""
    return _NAME.fullmatch(name) is not None


def list_names(folder: Path) -> set[str]:
    """Names of what a folder holds.

    Raises:
        BundleError: if it cannot be read.
    """
    try:
        return {entry.name for entry in folder.iterdir()}
    except OSError as error:
        raise BundleError(f"folder {str(folder)!r} cannot be read: {error.strerror or error}") from error


def read_files(path: Path) -> dict[str, bytes]:
    """Read every file of a folder or a zip into memory, each once.

    Raises:
        InputNotFoundError: if there is nothing at ``path``.
        BundleError: if it is neither, holds a folder or an unsafe name, is too large or cannot be read.
    """
    try:
        if path.is_dir():
            return _read_folder(path)
        if path.is_file():
            return _read_zip(path)
    except OSError as error:
        raise BundleError(f"bundle {str(path)!r} cannot be read: {error.strerror or error}") from error
    if path.exists():
        raise BundleError(f"{str(path)!r} is neither a folder nor a file", remedy="Name a bundle")
    raise InputNotFoundError(f"bundle {str(path)!r} does not exist", remedy="Check the path")


def _read_folder(path: Path) -> dict[str, bytes]:
    entries = sorted(path.iterdir())
    _check_names(path, [entry.name for entry in entries])
    files: dict[str, bytes] = {}
    left = MAX_TOTAL_BYTES
    for entry in entries:
        if not entry.is_file():
            raise BundleError(f"{entry.name!r} in bundle {str(path)!r} is not a file", remedy="Remove it")
        with entry.open("rb") as handle:
            files[entry.name] = handle.read(left + 1)
        left -= len(files[entry.name])
        if left < 0:
            raise _too_large(path)
    return files


def _read_zip(path: Path) -> dict[str, bytes]:
    with path.open("rb") as file:
        try:
            with open_zip(file, ZipLimits(MAX_FILES, MAX_TOTAL_BYTES)) as archive:
                infos = archive.infolist()
                _check_names(path, [info.filename for info in infos])
                return {info.filename: read_member(archive, info) for info in infos}
        except ZipRefusedError as error:
            raise BundleError(
                f"bundle {str(path)!r} is a zip that is refused: {error}",
                remedy="Name a folder or zip that `disc-stream export` wrote",
            ) from error
        except BROKEN as error:
            if zipfile.is_zipfile(file):
                message = f"bundle {str(path)!r} is a damaged zip: {error}"
                raise BundleError(message, remedy="Copy or export it again") from error
            raise BundleError(
                f"{str(path)!r} is not a bundle: {describe_file(path)}",
                remedy="Name a folder or zip that `disc-stream export` wrote",
            ) from error


def _check_names(path: Path, names: list[str]) -> None:
    if len(names) > MAX_FILES:
        raise BundleError(
            f"{str(path)!r} is not a bundle: it holds {len(names)} entries",
            remedy="Name a folder or zip that `disc-stream export` wrote",
        )
    tops = {name.split("/", 1)[0] for name in names}
    if len(tops) == 1 and all("/" in name for name in names) and is_plain_name(*tops):
        raise BundleError(
            f"the files of bundle {str(path)!r} lie in a folder {min(tops)!r} inside the zip",
            remedy="Unpack it and name the folder, or zip the files without it",
        )
    for name in names:
        if not is_plain_name(name):
            raise BundleError(
                f"bundle {str(path)!r} holds an entry with the name {name!r}, which is not allowed",
                remedy="Remove it; a bundle is a flat set of files",
            )
    if len(set(names)) != len(names):
        raise BundleError(f"bundle {str(path)!r} holds two files of one name", remedy="Export it again")


def _too_large(path: Path) -> BundleError:
    return BundleError(f"bundle {str(path)!r} holds more than {MAX_TOTAL_BYTES >> 20} MiB", remedy="Check it")


def describe_file(path: Path) -> str:
    """What a file is that is not a bundle, in a few words for a message."""
    size = path.stat().st_size
    if size == 0:
        return "it is an empty file"
    if path.suffix == ".onnx":
        return "it is a bare ONNX graph, without a manifest"
    if path.suffix == ".safetensors":
        return "it is a file of weights"
    return f"it is a file of {size} bytes that is no zip"


def pack_zip(files: Mapping[str, bytes]) -> bytes:
    """A zip of the files, stored in order of their names; equal files give equal bytes.

    Weights hardly compress, and without compression the bytes do not depend on the version of zlib.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, _ZIP_TIME)
            info.create_system = 3  # Unix, wherever it is written
            info.external_attr = 0o644 << 16
            archive.writestr(info, files[name])
    return buffer.getvalue()


def is_taken(out: Path) -> bool:
    """Whether anything but an empty folder stands at ``out``."""
    if out.is_dir() and not out.is_symlink():
        return any(out.iterdir())
    return out.exists() or out.is_symlink()


def write_files(out: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder, or a zip if ``out`` ends with ``.zip``; either all of it appears or nothing.

    The files go to a hidden sibling which is flushed to disk and renamed. What stands at ``out`` is
    replaced: whether it may be is for the caller to know.

    Raises:
        UsageError: if the place cannot be written to.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _write_and_rename(out, files)
        _sync(out.parent)
    except OSError as error:
        raise UsageError(f"{str(out)!r} cannot be written: {error.strerror or error}") from error


def replace_in(path: Path, *, remove: set[str], write: Mapping[str, bytes]) -> None:
    """Remove files of a folder or a zip and write others, in this order; each is whole or was not touched.

    Raises:
        BundleError: if it cannot be read.
        UsageError: if it cannot be written to.
    """
    if not path.is_dir():
        kept = {name: data for name, data in read_files(path).items() if name not in remove}
        write_files(path, {**kept, **write})
        return
    try:
        for name in remove:
            (path / name).unlink(missing_ok=True)
        _sync(path)
        for name, data in write.items():
            # Written beside the folder: a rest that a crash leaves must not make the folder unreadable.
            partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
            try:
                _write_durably(partial, data)
                partial.replace(path / name)
            finally:
                partial.unlink(missing_ok=True)
        _sync(path)
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be written: {error.strerror or error}") from error


def _write_and_rename(out: Path, files: Mapping[str, bytes]) -> None:
    partial = out.with_name(f".{out.name}.{secrets.token_hex(4)}.partial")
    try:
        if out.suffix == ".zip":
            _write_durably(partial, pack_zip(files))
            partial.replace(out)
        else:
            partial.mkdir()
            for name in sorted(files):
                _write_durably(partial / name, files[name])
            _sync(partial)
            _put_folder(partial, out)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def _put_folder(partial: Path, out: Path) -> None:
    """Rename ``partial`` to ``out``; an older folder steps aside first and is removed last."""
    if not out.is_dir() or not any(out.iterdir()):
        partial.rename(out)
        return
    old = out.with_name(f".{out.name}.{secrets.token_hex(4)}.old")
    out.rename(old)
    try:
        partial.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old)


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
