"""Writing files of a set-up: whole or not at all, and secrets for their owner only."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from disc_stream.errors import ConfigError

SECRET, PUBLIC = 0o600, 0o644
PRIVATE_FOLDER, OPEN_FOLDER = 0o700, 0o755


def write(path: Path, content: str | bytes, mode: int, owner: str | None = None) -> None:
    """Replace a file in one step; it is never there with half its content or with wider rights.

    Args:
        path: where; its folder exists.
        content: what.
        mode: permissions.
        owner: user that it shall belong to; None for whoever runs this.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(mode)
        give(temporary, owner)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def make_folder(path: Path, mode: int, owner: str | None = None) -> None:
    """Make a folder with exactly these permissions, or leave the one that is there alone."""
    if not path.is_dir():
        path.mkdir(parents=True, mode=mode)
        path.chmod(mode)  # whatever the umask
        give(path, owner)


def give(path: Path, owner: str | None) -> None:
    """Hand a file to the user that the broker runs as; only root can, and only root has to."""
    if owner is not None and os.geteuid() == 0:
        shutil.chown(path, user=owner)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Only one command at a time changes a set-up.

    Raises:
        ConfigError: if another one does.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                f"another command is changing {str(folder)!r}", remedy="Try again in a moment"
            ) from None
        yield
    finally:
        os.close(descriptor)
