"""Every error a user can meet, in one tree.

::

    DiscStreamError                 exit code 1: something failed
    ├── UsageError                  exit code 2: the command was wrong
    │   ├── ConfigError                 an option or a configuration value
    │   ├── MissingExtraError           an optional dependency is not installed
    │   └── InputNotFoundError          a file or folder that is not there
    ├── DataError                   a dataset or a recording is not what it should be
    ├── WireError                   what came over MQTT is not what it should be
    │   ├── TopicError
    │   └── PayloadError                carries `reason`, a stable code for counters
    ├── BrokerError                 the broker cannot be reached, or refuses
    ├── StorageError                the state folder cannot be read or written
    │   ├── SpoolFullError              the disk is full; trying again later may succeed
    │   └── StateDamagedError           the labeller's database is damaged; a new start begins it anew
    ├── RegistryError               the registry of models is broken, or refuses a change
    │   └── RegistryConflictError       somebody else has changed the same in the meantime
    ├── PortInUseError              an address that we were asked to listen on is taken
    ├── BundleError                 a model bundle is broken or does not fit
    │   ├── StreamMismatchError         a stream's channels, units or rate do not fit the bundle
    │   └── EncoderUnavailableError     the encoder itself does not work, whatever the window
    ├── TrainingError               training cannot go on
    └── ParityError                 an exported graph does not compute what torch computes

Messages are one line for a person: what is wrong, where, and what to do about it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from difflib import get_close_matches


class DiscStreamError(Exception):
    """Root of all errors that are reported to a user without a traceback.

    Args:
        message: one line: what is wrong and where.
        remedy: one short imperative sentence: what to do about it.
    """

    exit_code = 1

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        message = " ".join(message.split("\n"))  # what a library or a file says may have several lines
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        end = "" if self.message.endswith(("?", "!", ".")) else "."
        return f"{self.message}{end} {self.remedy}" if self.remedy else self.message


class UsageError(DiscStreamError):
    """The command itself was wrong; nothing was started."""

    exit_code = 2


class ConfigError(UsageError):
    """An option or a configuration value is not usable."""


class MissingExtraError(UsageError):
    """An optional dependency is needed and not installed.

    Args:
        extra: name of the extra in pyproject.toml, such as ``train``.
        needed_for: what asked for it, such as ``disc-stream train``.
    """

    def __init__(self, extra: str, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs the extra '{extra}', which is not installed",
            remedy=f"Run: {install_command(extra)}",
        )
        self.extra = extra


class InputNotFoundError(UsageError):
    """A file or folder that the command names does not exist."""


class DataError(DiscStreamError):
    """A dataset or a recording is incomplete, truncated or malformed."""


class WireError(DiscStreamError):
    """A message does not follow the contract of topics and payloads."""


class TopicError(WireError):
    """A topic or a device id is outside the topic grammar; where it ends a command, the user chose it."""

    exit_code = 2


class PayloadError(WireError):
    """A payload cannot be taken as a sample batch.

    Args:
        reason: stable code for counters and dead letters, such as ``truncated``.
        message: one line for a person.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class BrokerError(DiscStreamError):
    """The MQTT broker cannot be reached or refuses the connection."""


class StorageError(DiscStreamError):
    """The state folder cannot be read or written."""


class SpoolFullError(StorageError):
    """The disk does not take any more at the moment; trying again later may succeed."""


class StateDamagedError(StorageError):
    """The labeller's database turned out to be damaged while it was in use."""


class RegistryError(DiscStreamError):
    """The registry of models cannot be read or written, or a change would break what it promises."""


class RegistryConflictError(RegistryError):
    """Somebody else has changed the same thing since it was looked at; nothing was written."""


class PortInUseError(DiscStreamError):
    """An address to listen on is already taken."""


class BundleError(DiscStreamError):
    """A model bundle is broken, incomplete or from a newer version."""


class EncoderUnavailableError(BundleError):
    """The encoder itself does not work (a device error, say), whatever the window."""


class StreamMismatchError(BundleError):
    """A stream's channels, units or rate do not fit the bundle.

    Args:
        reason: stable code for counters: ``channels``, ``units``, ``rate``, ``window`` or ``dtype``.
        message: one line for a person.
    """

    def __init__(self, reason: str, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.reason = reason


class TrainingError(DiscStreamError):
    """Training cannot start or cannot go on."""


class ParityError(DiscStreamError):
    """An exported graph does not compute what the torch model computes."""


def install_command(extra: str) -> str:
    """The pip command that installs an extra from where disc-stream itself came.

    Args:
        extra: one or several extras of pyproject.toml, with commas.
    """
    folder, editable = _checkout()
    if folder is None:
        return f"pip install 'disc-stream[{extra}]'"
    return f"pip install {'-e ' if editable else ''}{shlex.quote(f'{folder}[{extra}]')}"


def _checkout() -> tuple[str | None, bool]:
    """The folder that disc-stream was installed from, and whether as editable; None if from an index."""
    # Here and not above, for these take a while to load and few errors need them.
    from importlib.metadata import PackageNotFoundError, distribution
    from urllib.parse import unquote, urlsplit

    try:
        record = json.loads(distribution("disc-stream").read_text("direct_url.json") or "{}")
        url = urlsplit(record["url"])
    except (PackageNotFoundError, KeyError, ValueError):
        return None, False
    if url.scheme != "file" or "dir_info" not in record:
        return None, False
    return unquote(url.path), bool(record["dir_info"].get("editable"))


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """``, did you mean 'NAME'?`` for the name that is most like a mistyped one; empty if none is like it.

    A hint for the end of a message: what was mistyped is never taken for what it resembles.
    """
    close = get_close_matches(given.lower(), list(known), 1)
    return f", did you mean {close[0]!r}?" if close else ""
