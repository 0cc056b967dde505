"""Writing files of a set-up: whole or not at all, and secrets for those who need them only.

Set up by root, everything belongs to root but the folder that the broker writes to, and the broker's user
reads its configuration through its group. What root changes, it changes by descriptor and never by a path
that leads through a link: whoever owns a folder can put another file in the place of the one that was just
written there.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from disc_stream.errors import ConfigError

SECRET, PUBLIC = 0o600, 0o644
PRIVATE_FOLDER, OPEN_FOLDER = 0o700, 0o755
MAX_FILE_BYTES = 2**24  # of a set-up: ten thousand devices have a tenth of that

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_GROUP_READS, _GROUP_ENTERS = 0o040, 0o050


def write(path: Path, content: str | bytes, mode: int, reader: str | None = None) -> None:
    """Replace a file in one step; it is never there with half its content or with wider rights.

    Args:
        path: where; its folder exists.
        content: what.
        mode: permissions.
        reader: user that shall be able to read it as well, if root writes it; nobody but root can change it.
    """
    data = content.encode() if isinstance(content, str) else content
    group = _group(reader)
    with opened(path.parent) as folder:
        temporary = f".{path.name}.{secrets.token_hex(6)}"
        descriptor = os.open(temporary, _NEW, 0o600, dir_fd=folder)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                if group is not None:
                    os.fchown(descriptor, 0, group)
                os.fchmod(descriptor, mode if group is None else mode | _GROUP_READS)
                os.fsync(descriptor)
            os.rename(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise
        os.fsync(folder)


def read(path: Path, limit: int = MAX_FILE_BYTES) -> bytes | None:
    """The content of a file; None if it is not there, or is a link, a pipe or anything else but a file."""
    try:
        with opened(path.parent) as folder:
            descriptor = os.open(path.name, _READ, dir_fd=folder)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO}:
            return None
        raise
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return stream.read(limit)


def make_folder(path: Path, mode: int, *, owner: str | None = None, reader: str | None = None) -> None:
    """Make a folder, or give the one that is there its permissions and its owner.

    Args:
        path: where; what it is in, is there or is made.
        mode: permissions, whatever the umask was when it was made.
        owner: user whose it shall be, if root makes it; None for whoever runs this.
        reader: user that shall be able to look into it as well, if root makes it.

    Raises:
        ConfigError: if there is something else, or a folder of somebody else.
    """
    path.mkdir(parents=True, mode=mode, exist_ok=True)
    try:
        with opened(path) as folder:
            group = _group(reader)
            if owner is not None and os.geteuid() == 0:
                user = pwd.getpwnam(owner)
                os.fchown(folder, user.pw_uid, user.pw_gid)
            elif os.geteuid() == 0:
                os.fchown(folder, 0, -1 if group is None else group)
            elif os.fstat(folder).st_uid != os.geteuid():
                raise ConfigError(f"the folder {str(path)!r} is somebody else's", remedy="Choose another")
            os.fchmod(folder, mode if group is None else mode | _GROUP_ENTERS)
    except OSError as error:
        raise ConfigError(
            f"the folder {str(path)!r} cannot be used: {error.strerror}",
            remedy="Let it be a folder of yours, and no link to one",
        ) from error


def protect(folder: Path, mode: int, reader: str | None = None) -> None:
    """Do what ``protect_file`` does for all files in a folder; certificates may be read by everybody.

    Args:
        folder: one that nobody else can change any more.
        mode: for files that are no certificates.
        reader: see ``write``.
    """
    for path in sorted(folder.iterdir()):
        if not stat.S_ISDIR(path.lstat().st_mode):
            protect_file(path, PUBLIC if path.suffix == ".crt" else mode, reader)


def protect_file(path: Path, mode: int, reader: str | None = None) -> None:
    """Give a file our permissions and, if it was somebody else's, its owner.

    What has to change is written again: whoever had the file open could change it still.

    Raises:
        ConfigError: if it is something else, such as a link.
    """
    group = _group(reader)
    facts = path.lstat()
    wanted = mode | (0 if group is None else _GROUP_READS)
    mine = facts.st_uid == os.geteuid() and facts.st_nlink == 1 and group in {None, facts.st_gid}
    if mine and stat.S_ISREG(facts.st_mode) and stat.S_IMODE(facts.st_mode) == wanted:
        return
    content = read(path)
    if content is None:
        raise ConfigError(f"{str(path)!r} is not a file", remedy="Remove it and run this again")
    write(path, content, mode, reader)


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    """A descriptor of a folder that is no link.

    Raises:
        OSError: if it is not there or is something else.
    """
    descriptor = os.open(folder, _FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _group(reader: str | None) -> int | None:
    """The group that a user reads through; only root can give it a file, and only root has to."""
    if reader is None or reader == "root" or os.geteuid() != 0:
        return None
    return pwd.getpwnam(reader).pw_gid


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
