"""Bundles as files to be downloaded: made when they are first asked for, in the state folder.

A file has a length, and parts of it can be asked for again; its name is made of the version, its ETag of its
content.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from disc_stream.artifacts.container import write_files
from disc_stream.errors import DiscStreamError, StorageError

MOST = 4
"""Bundles that are kept ready: the one in production, those before it, and one that is tried."""


@dataclass(frozen=True, slots=True)
class Offered:
    """A file that is ready.

    Args:
        path: of it.
        tag: sha256 of its content, in hexadecimal digits.
    """

    path: Path
    tag: str


@dataclass(slots=True)
class Shelf:
    """Some bundles as zips; the oldest gives way to a new one.

    Args:
        folder: for them; what an earlier run left there is removed.
    """

    folder: Path
    _ready: dict[str, Offered] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Begin anew."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def get(self, name: str, files: Callable[[], Mapping[str, bytes]]) -> Offered:
        """The zip of that name; made of the files if it is not there.

        Raises:
            DiscStreamError: of ``files``.
            StorageError: if the disk does not take it.
        """
        with self._lock:
            found = self._ready.get(name)
            if found is None or not found.path.exists():
                found = self._ready[name] = self._make(name, files())
                self._make_room()
            return found

    def _make(self, name: str, files: Mapping[str, bytes]) -> Offered:
        path = self.folder / f"{name}.zip"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_files(path, files)
            path.chmod(0o600)  # as everything in the state folder
            with path.open("rb") as file:
                return Offered(path, hashlib.file_digest(file, "sha256").hexdigest())
        except (OSError, DiscStreamError) as error:
            raise StorageError(f"a bundle cannot be written to {str(self.folder)!r}: {error}") from error

    def _make_room(self) -> None:
        while len(self._ready) > MOST:
            oldest = self._ready.pop(next(iter(self._ready)))
            with contextlib.suppress(OSError):
                oldest.path.unlink()
