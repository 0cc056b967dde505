"""What others on the machine may read of a state folder: nothing, whatever the umask and its age."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from disc_stream.wire.secrecy import warn_once

PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
_OTHERS, _EVERYBODY = 0o077, 0o007


def begin_private(path: Path) -> None:
    """Make an empty file that only its owner reads; one that is there is left alone.

    Raises:
        OSError: if it cannot be made.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, PRIVATE_FILE))


def close_to_others(folder: Path) -> None:
    """Let only their owner read the files and folders in a state folder; warn if others may look into it.

    The folder itself is left as it is: it may be any that somebody named, and not for us alone.

    Raises:
        OSError: if that fails.
    """
    for path in _open_to_others(folder):
        # SQLite would lose its locks if a descriptor of the usual kind was closed here (fcntl, POSIX).
        descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW)
        try:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISLNK(mode):
                private = PRIVATE_FOLDER if stat.S_ISDIR(mode) else PRIVATE_FILE
                Path(f"/proc/self/fd/{descriptor}").chmod(private)
        finally:
            os.close(descriptor)
    if folder.stat().st_mode & _EVERYBODY:
        warn_once(
            f"everybody on this machine gets into the state folder {str(folder)!r}; run: chmod o= {folder}"
        )


def readable_by_others(folder: Path) -> list[Path]:
    """The files in a state folder that others than their owner may read or change."""
    return [path for path in _open_to_others(folder) if not path.is_dir()]


def _open_to_others(folder: Path) -> Iterator[Path]:
    """Ours only: in a folder that was named by mistake, such as /tmp, nothing else is touched."""
    for path in _ours(folder):
        facts = path.lstat()
        if facts.st_mode & _OTHERS and facts.st_uid == os.geteuid() and not stat.S_ISLNK(facts.st_mode):
            yield path


def _ours(folder: Path) -> Iterator[Path]:
    """What a server keeps there."""
    for name in ("state.sqlite*", "people.sqlite*", "spool", "spool/*", "lock"):
        yield from sorted(folder.glob(name))
