"""One server per state folder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from disc_stream.errors import StorageError


class FolderLock:
    """Holds a folder until released, or until the process ends in whatever way.

    Args:
        folder: made if it is not there.

    Raises:
        StorageError: if another process holds it, or it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StorageError(
                f"the state folder {str(folder)!r} cannot be used: {error.strerror}",
                remedy="Name a folder that can be written with --state",
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._file, 32).decode("ascii", "replace").strip()
            os.close(self._file)
            raise StorageError(
                f"the state folder {str(folder)!r} is in use by process {holder or '?'}",
                remedy="Stop that server, or give this one its own --state and --client-id",
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others have it; may be called twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def holder(folder: Path) -> int | None:
    """Process that holds a folder, 0 if it has not said which; None if nobody does."""
    try:
        file = os.open(folder / "lock", os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.read(file, 32).decode("ascii", "replace").strip()
        return int(text) if text.isdecimal() else 0
    else:
        return None
    finally:
        os.close(file)
