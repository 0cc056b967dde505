"""What can be asked of a registry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.catalogue import Catalogue
from disc_stream.registry import versions as store
from disc_stream.registry.contents import open_version
from disc_stream.registry.database import Database, translated
from disc_stream.registry.folder import RegistryFolder
from disc_stream.registry.history import revision
from disc_stream.registry.records import Deployment, RowInfo, VersionInfo


class Questions:
    """The part of a registry that changes nothing.

    Args:
        folder: of the registry.
        database: of it, open.

    Raises:
        RegistryError: from any of them, if the registry cannot be read.
    """

    def __init__(self, folder: RegistryFolder, database: Database) -> None:
        self._folder, self._database = folder, database

    @property
    def path(self) -> Path:
        """Its folder."""
        return self._folder.path

    @property
    def revision(self) -> int:
        """Grows with every change of what people know of the clusters, and of what is in production."""
        with self._database.reading() as connection:
            return revision(connection)

    # -- questions --------------------------------------------------------------------------------------

    def versions(self) -> list[VersionInfo]:
        """All versions, oldest first; also those whose files were pruned."""
        with self._database.reading() as connection:
            return store.all_versions(connection, self._folder.versions)

    def version(self, ref: int | str) -> VersionInfo:
        """One version, by its number, its hash or the beginning of it, ``current`` or ``previous``.

        Raises:
            ConfigError: if there is no such version; it says which there are.
        """
        with self._database.reading() as connection:
            return store.find_version(connection, self._folder.versions, ref)

    def current(self) -> Deployment | None:
        """What is in production; None if nothing is yet."""
        with self._database.reading() as connection:
            return store.last_deployment(connection)

    def deployments(self) -> list[Deployment]:
        """What was in production when, oldest first."""
        with self._database.reading() as connection:
            return store.all_deployments(connection)

    def deployment_at(self, unix_us: int) -> Deployment | None:
        """What was in production at a time (Unix microseconds); None if nothing was."""
        with self._database.reading() as connection:
            return store.deployment_before(connection, unix_us)

    def deployment_of(self, version: str, unix_us: int) -> Deployment | None:
        """How a version (its hash) had last come into production before a time; None if it never had.

        It need not be ``deployment_at`` that time: a server follows within moments, not at once.
        """
        found = [one for one in self.deployments() if one.version == version and one.at_us <= unix_us]
        return found[-1] if found else None

    def rows(self, ref: int | str) -> tuple[RowInfo, ...]:
        """What is known of the rows of a version, also of one that was never promoted.

        Raises:
            ConfigError: if there is no such version.
        """
        with self._database.reading() as connection:
            info = store.find_version(connection, self._folder.versions, ref)
            return store.read_rows(connection, info)

    def catalogue_of(self, ref: int | str) -> Catalogue:
        """The clusters of a version by row, with the names of today; ready for ``Model.with_catalogue``.

        Each row has its own id, ``merged_into`` the public one if that is another; name, colour and muted are
        those of the public id.

        Raises:
            ConfigError: if there is no such version.
            RegistryError: if it was never in production: its rows have no ids then.
        """
        with self._database.reading() as connection:
            info = store.find_version(connection, self._folder.versions, ref)
            return store.catalogue_of(connection, info)

    def bundle(self, ref: int | str, *, trusted_keys: Sequence[Path] | None = None) -> Bundle:
        """The files of a version, every byte of them checked.

        Raises:
            ConfigError: if there is no such version.
            RegistryError: if its files were pruned, are missing or damaged.
            BundleError: if it is not signed by a trusted key.
        """
        return open_version(self.version(ref), trusted_keys)

    def strangers(self) -> list[str]:
        """Names of what lies in the folder and is not the registry's own; it is never touched."""
        with translated(self._folder.database):
            return self._folder.foreign({info.path.name for info in self.versions()})
