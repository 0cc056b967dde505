"""The files of a registry: folders of versions that appear whole or not at all, and ``CURRENT``."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from disc_stream.artifacts.bundle import LINEAGE_FILE
from disc_stream.errors import InputNotFoundError, RegistryError
from disc_stream.registry.database import DATABASE
from disc_stream.text import printable

VERSIONS = "versions"
CURRENT = "CURRENT"
_CURRENT_NEW = ".CURRENT.new"
_OURS = {VERSIONS, CURRENT, _CURRENT_NEW, DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm"}
_PARTIAL, _REMOVED = ".adding-", ".removing-"
_NAME = re.compile(r"(\d{4,})-[0-9a-f]{12}")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RegistryFolder:
    """The folder of a registry.

    Args:
        path: of it.
    """

    path: Path

    @property
    def database(self) -> Path:
        """The file that is the truth."""
        return self.path / DATABASE

    @property
    def versions(self) -> Path:
        """Where the versions are."""
        return self.path / VERSIONS

    def prepare(self) -> None:
        """Make the folder of a new registry.

        Raises:
            RegistryError: if something else is there.
            OSError: if it cannot be made.
        """
        if self.path.exists() and (strangers := sorted(self.foreign())):
            raise RegistryError(
                f"{str(self.path)!r} holds other files ({printable(', '.join(strangers[:3]), 80)})",
                remedy="Name a new or empty folder",
            )
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.versions.mkdir(mode=0o700, exist_ok=True)
        _sync(self.path)

    def require(self) -> None:
        """Check that a registry is there, before SQLite looks into it.

        Raises:
            InputNotFoundError: if there is none.
            RegistryError: if its database is missing.
        """
        if self.database.exists():
            return
        if self.versions.is_dir():
            raise RegistryError(
                f"the registry {str(self.path)!r} has lost its {DATABASE}",
                remedy="Restore it from a backup; without one, make another registry and take over each "
                f"folder of {self.versions} with: disc-stream models add",
            )
        what = "is no registry of models" if self.path.exists() else "does not exist"
        raise InputNotFoundError(
            f"{str(self.path)!r} {what}", remedy=f"Make one: disc-stream models init --models {self.path}"
        )

    def foreign(self, known: Collection[str] = ()) -> list[str]:
        """Names of what is not the registry's own: never touched, never listed as a version.

        Args:
            known: names of the folders that the database knows.
        """
        found = [entry.name for entry in self.path.iterdir() if entry.name not in _OURS]
        if self.versions.is_dir():
            names = {entry.name for entry in self.versions.iterdir()}.difference(known)
            found += [f"{VERSIONS}/{name}" for name in names if not name.startswith((_PARTIAL, _REMOVED))]
        return sorted(found)

    # -- versions ---------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def partial(self) -> Iterator[Path]:
        """A folder to copy a version into; removed at the end if it is still there.

        Its lock tells other writers that it is being filled; the lock ends with the process, however that
        ends. To be entered only while the database is held for writing: else a writer that cleans up could
        come between the folder and its lock.
        """
        path = self.versions / f"{_PARTIAL}{secrets.token_hex(6)}"
        path.mkdir(mode=0o700)
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield path
        finally:
            os.close(handle)
            shutil.rmtree(path, ignore_errors=True)

    def next_number(self, last: int) -> int:
        """A number that neither a version nor any folder has; folders of others are never written over."""
        taken = [int(match[1]) for entry in self.versions.iterdir() if (match := _NAME.fullmatch(entry.name))]
        return max([last, *taken]) + 1

    def put(self, partial: Path, name: str, lineage: Mapping[str, Any]) -> None:
        """Give a filled folder its name; durable when this returns.

        Raises:
            OSError: if that fails.
        """
        write_private(partial / LINEAGE_FILE, (json.dumps(lineage, indent=2) + "\n").encode())
        _sync(partial)
        partial.rename(self.versions / name)
        _sync(self.versions)

    def remove(self, name: str) -> None:
        """Remove a version's folder; at no moment is half of one there under its name."""
        gone = self.versions / f"{_REMOVED}{secrets.token_hex(6)}"
        with contextlib.suppress(FileNotFoundError):
            (self.versions / name).rename(gone)
            _sync(self.versions)
            shutil.rmtree(gone, ignore_errors=True)

    def clean(self, known: Collection[str], registry: str) -> None:
        """Remove what writers have left that were killed; to be called while the database is held.

        Args:
            known: names of the folders that belong there.
            registry: name of the registry, which its own folders carry; those of others are left alone.
        """
        for entry in list(self.versions.iterdir()):
            if entry.name.startswith(_PARTIAL):
                rest = not _is_locked(entry)
            elif entry.name.startswith(_REMOVED):
                rest = True
            else:
                rest = entry.name not in known and _carries(entry, registry)
            if rest:
                _log.info("removed %s, left by a writer that was interrupted", printable(str(entry)))
                if _NAME.fullmatch(entry.name):
                    self.remove(entry.name)
                else:
                    shutil.rmtree(entry, ignore_errors=True)

    # -- CURRENT ----------------------------------------------------------------------------------------

    def current(self) -> dict[str, Any] | None:
        """What ``CURRENT`` says; None if it is missing or no JSON object."""
        try:
            found = json.loads((self.path / CURRENT).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None

    def put_current(self, facts: Mapping[str, Any] | None) -> None:
        """Replace ``CURRENT``, or remove it; to be called while the database is held.

        Raises:
            OSError: if that fails; the old one is whole then.
        """
        if facts is None:
            (self.path / CURRENT).unlink(missing_ok=True)
        else:
            new = self.path / _CURRENT_NEW
            new.unlink(missing_ok=True)
            write_private(new, (json.dumps(facts) + "\n").encode())
            new.replace(self.path / CURRENT)
        _sync(self.path)


def write_private(path: Path, data: bytes) -> None:
    """Write a new file that only its owner reads, and flush it to disk."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _is_locked(folder: Path) -> bool:
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return True  # not ours to judge
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _carries(folder: Path, registry: str) -> bool:
    """Whether a folder is one that this registry has written."""
    try:
        found = json.loads((folder / LINEAGE_FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("registry") == registry


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
