"""Keeping passwords and keys to those whom they belong to, and saying so where they are not."""

from __future__ import annotations

import ipaddress
import logging
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from disc_stream.errors import ConfigError

# Not below `disc_stream.wire`: commands that show lost connections themselves silence that one.
log = logging.getLogger("disc_stream.security")

MAX_SECRET_BYTES = 4096
_said: set[str] = set()


def warn_once(message: str) -> None:
    """Log a warning, unless this process has logged it already."""
    if message not in _said:
        _said.add(message)
        log.warning(message)


def warn_of_command_line(url: str, variable: str) -> None:
    """Say that everybody on this machine sees a password which stands in the command line."""
    if any(url in argument for argument in sys.argv):
        warn_once(
            "the broker's password stands in the command line, where `ps` shows it to everybody on this "
            f"machine; put it into {variable} or into a file (?password-file=FILE)"
        )


@contextmanager
def reading(file: str, what: str) -> Iterator[None]:
    """Raise errors of the file system as one line for a person.

    Args:
        file: its path.
        what: what the file is, for messages.

    Raises:
        ConfigError: if it cannot be read.
    """
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"cannot read the {what} {file!r}: {error.strerror}", remedy="Check the path and its permissions"
        ) from None


def read_secret(file: str, what: str) -> str:
    """The first line of a file.

    Args:
        file: its path.
        what: what the file is, for messages.

    Raises:
        ConfigError: if it cannot be read, or holds no password.
    """
    path = Path(file)
    with reading(file, what), path.open("rb") as stream:
        content = stream.read(MAX_SECRET_BYTES + 1)
    warn_if_open(path, what)
    try:
        secret = content.decode("utf-8").split("\n", 1)[0].rstrip("\r")
    except UnicodeDecodeError:  # the error would carry the content
        secret = ""
    if not secret or len(content) > MAX_SECRET_BYTES or "\0" in secret:
        raise ConfigError(
            f"the {what} {file!r} holds no password", remedy="Put it into the first line, as UTF-8 text"
        )
    return secret


def warn_if_open(path: Path, what: str) -> None:
    """Warn if others than the owner and the group may read or change a file."""
    try:
        mode = path.stat().st_mode
    except OSError:  # whoever opens it will say so
        return
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        warn_once(f"everybody on this machine may read the {what} {str(path)!r}; run: chmod o= {path}")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by name or address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
