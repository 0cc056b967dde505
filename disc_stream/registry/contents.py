"""What is in the folder of a version: opened only with every byte checked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from disc_stream.artifacts.bundle import Bundle
from disc_stream.errors import BundleError, RegistryError
from disc_stream.registry.records import VersionInfo

_RESTORE = "Restore the folder from a backup, or promote another version"


def require_files(info: VersionInfo) -> None:
    """Check that the files of a version are there.

    Raises:
        RegistryError: if they were pruned, or are missing.
    """
    if info.pruned_us is not None:
        raise RegistryError(
            f"the files of version {info.number} ({info.version}) were pruned",
            remedy="Add its bundle again, or promote another version",
        )
    if not info.path.is_dir():
        raise RegistryError(
            f"the files of version {info.number} ({info.version}) are missing: {str(info.path)!r}",
            remedy=_RESTORE,
        )


def open_version(info: VersionInfo, trusted_keys: Sequence[Path] | None) -> Bundle:
    """The bundle of a version.

    Raises:
        RegistryError: if its files were pruned, are missing, or are another model's.
        BundleError: if they are damaged, or not signed by a trusted key.
    """
    require_files(info)
    try:
        bundle = Bundle.open(info.path, trusted_keys=trusted_keys)
    except BundleError as error:
        if not trusted_keys:  # then it is no matter of signatures: the files are half copied or damaged
            error.remedy = _RESTORE
        raise
    if bundle.version != info.version:
        raise RegistryError(
            f"{str(info.path)!r} holds model {bundle.version}, not {info.version}",
            remedy=_RESTORE,
        )
    return bundle


def open_copy(copy: Path, original: Path, trusted_keys: Sequence[Path] | None) -> Bundle:
    """The bundle of which a copy has been made; what is wrong with the copy is wrong with the original.

    Raises:
        BundleError: if it is none, damaged, or not signed by a trusted key.
    """
    try:
        return Bundle.open(copy, trusted_keys=trusted_keys)
    except BundleError as error:
        message = error.message.replace(str(copy), str(original))
        raise BundleError(message, remedy=error.remedy) from error
