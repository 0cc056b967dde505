"""A registry of models: immutable versions, which of them is in production, and what its clusters are called.

::

    MODELS/
      registry.sqlite     the truth: versions, ids of their rows, deployments, clusters, events
      versions/
        0007-1f0c9d2e5a3b/   one version: the files of a bundle, and lineage.json; never changed
      CURRENT             what is in production, for people and scripts; follows from registry.sqlite
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from disc_stream.artifacts.bundle import LINEAGE_FILE
from disc_stream.artifacts.catalogue import MAX_DESCRIPTION
from disc_stream.artifacts.container import read_files
from disc_stream.artifacts.examples import EXAMPLES_FILE
from disc_stream.clock import Clock, SystemClock
from disc_stream.errors import ConfigError, RegistryConflictError, RegistryError
from disc_stream.registry import versions as store
from disc_stream.registry.clusters import Clusters
from disc_stream.registry.contents import open_copy, open_version, require_files
from disc_stream.registry.database import DATABASE, Database, is_begun_only, translated
from disc_stream.registry.folder import RegistryFolder, write_private
from disc_stream.registry.history import bump
from disc_stream.registry.lineage import Lineage, NameProposal, RowIds
from disc_stream.registry.people import MAX_WHY, checked_text
from disc_stream.registry.promotion import Decision, deploy
from disc_stream.registry.questions import Questions
from disc_stream.registry.records import Deployment, VersionInfo
from disc_stream.text import printable

_log = logging.getLogger(__name__)


class Registry(Questions):
    """An open registry. Any number of processes may have it open; those that change it take turns.

    Args:
        path: of its folder.
        clock: for the times that are recorded.

    Raises:
        InputNotFoundError: if there is none.
        RegistryError: if it is damaged, incomplete, of a newer version, or cannot be read; from any method.

    Example::

        with Registry.open("models") as registry:
            candidate = registry.add(Path("bundles/new"), lineage, row_ids)
            registry.promote(candidate.number, who="ann", why="passed the gate")
            catalogue = registry.catalogue_of(candidate.number)
    """

    def __init__(self, path: Path | str, clock: Clock | None = None) -> None:
        folder = RegistryFolder(Path(path))
        folder.require()
        super().__init__(folder, Database(folder.database))
        self._clock = clock or SystemClock()
        self.clusters = Clusters(self._database, self._clock)
        """What people know of the clusters."""
        self._mend_current()

    @classmethod
    def open(cls, path: Path | str, clock: Clock | None = None) -> Registry:
        """Open a registry; ``CURRENT`` is put right if it does not say what is in production."""
        return cls(path, clock)

    @classmethod
    def create(cls, path: Path | str, clock: Clock | None = None) -> Registry:
        """Make a registry in a new or empty folder.

        Raises:
            RegistryError: if there is one already, something else is there, or it cannot be written.
        """
        folder = RegistryFolder(Path(path))
        with translated(folder.database):
            if folder.database.exists() and not is_begun_only(folder.database):
                raise RegistryError(
                    f"{str(folder.path)!r} holds a {DATABASE} already",
                    remedy="Use it, or name another folder",
                )
            folder.prepare()
        Database.create(folder.database, secrets.token_hex(8)).close()
        return cls(path, clock)

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it."""
        self._database.close()

    # -- changes ----------------------------------------------------------------------------------------

    def add(
        self,
        bundle: Path,
        lineage: Lineage,
        proposal: RowIds,
        *,
        rejected: str = "",
        trusted_keys: Sequence[Path] | None = None,
    ) -> VersionInfo:
        """Copy a bundle in as a new version, whole or not at all, whenever this process ends.

        Args:
            bundle: folder or zip.
            lineage: where it comes from.
            proposal: ids that its rows are to get when it is promoted.
            rejected: why it is not to be promoted; it can be looked at.
            trusted_keys: see ``Bundle.open``.

        Raises:
            InputNotFoundError: if there is no bundle.
            BundleError: if it is none, damaged, or not signed by a trusted key.
            RegistryError: if the same model was in production already, or it cannot be written.
        """
        if rejected:
            checked_text(rejected, "the reason", MAX_WHY)
        files = {name: data for name, data in read_files(bundle).items() if name != LINEAGE_FILE}
        with contextlib.ExitStack() as stack:
            with self._database.writing() as connection:
                self._clean(connection)
                partial = stack.enter_context(self._folder.partial())
            with translated(self._folder.database):
                for name, data in files.items():
                    write_private(partial / name, data)
            copied = open_copy(partial, bundle, trusted_keys)
            if len(copied.catalogue) != len(proposal.rows):
                raise ConfigError(
                    f"model {copied.version} has {len(copied.catalogue)} clusters, but ids are given for "
                    f"{len(proposal.rows)} rows"
                )
            with self._database.writing() as connection:
                store.refuse_known(connection, copied.version)
                (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM versions").fetchone()
                number = self._folder.next_number(last)
                path = self._folder.versions / f"{number:04d}-{copied.version}"
                info = VersionInfo(
                    number,
                    copied.version,
                    path,
                    self._clock.unix_us(),
                    lineage,
                    proposal,
                    rejected,
                    None,
                    None,
                    "",
                )
                store.insert_version(connection, info, copied.catalogue)
                (name,) = connection.execute("SELECT registry FROM state").fetchone()
                facts = {"registry": name, "number": number, "version": info.version}
                self._folder.put(partial, path.name, {**facts, **lineage.model_dump(mode="json")})
        return self.version(number)

    def promote(
        self,
        ref: int | str,
        who: str,
        why: str,
        *,
        trusted_keys: Sequence[Path] | None = None,
        even_rejected: bool = False,
    ) -> Deployment:
        """Put a version into production; its rows get their ids, which then stand for ever.

        Args:
            ref: see ``version``.
            who: a person, or the program.
            why: one line.
            trusted_keys: see ``Bundle.open``.
            even_rejected: also a version that was rejected.

        Raises:
            ConfigError: if there is no such version, it is in production, or was rejected.
            RegistryConflictError: if another one was promoted since its ids were worked out.
            RegistryError: if its files were pruned, are missing or damaged.
            BundleError: if it is not signed by a trusted key.
        """
        decision = Decision(
            "promote",
            checked_text(who, "who"),
            checked_text(why, "the reason", MAX_WHY),
            self._clock.unix_us(),
        )
        info = self.version(ref)
        if info.rejected and not even_rejected:
            raise ConfigError(
                f"version {info.number} ({info.version}) was rejected: {info.rejected}",
                remedy="Promote it with --even-rejected if you know better",
            )
        open_version(info, trusted_keys)
        return self._deploy(info.number, decision)

    def rollback(self, who: str, why: str, *, trusted_keys: Sequence[Path] | None = None) -> Deployment:
        """Put the version before back into production, with the ids that it had.

        Rolling back again goes back further. Names and merges stay as they are: they belong to ids.

        Raises:
            ConfigError: if there was none before.
            RegistryError: if its files were pruned, are missing or damaged.
            BundleError: if it is not signed by a trusted key.
        """
        decision = Decision(
            "rollback",
            checked_text(who, "who"),
            checked_text(why, "the reason", MAX_WHY),
            self._clock.unix_us(),
        )
        info = self.version("previous")
        open_version(info, trusted_keys)
        return self._deploy(info.number, decision)

    def reject(self, ref: int | str, who: str, why: str) -> VersionInfo:
        """Say of a version that it is not to be promoted; an empty reason takes that back.

        Raises:
            ConfigError: if there is no such version, or it is in production.
        """
        checked_text(why, "the reason", MAX_WHY, empty=True)
        reason = f"{why} ({checked_text(who, 'who')})" if why else ""
        with self._database.writing() as connection:
            info = store.find_version(connection, self._folder.versions, ref)
            current = store.last_deployment(connection)
            if why and current is not None and current.version_number == info.number:
                raise ConfigError(
                    f"version {info.number} is in production", remedy="Run first: disc-stream models rollback"
                )
            connection.execute("UPDATE versions SET rejected = ? WHERE number = ?", (reason, info.number))
        return self.version(info.number)

    def mark(self, ref: int | str, why: str) -> VersionInfo:
        """Say why a version should be replaced, such as data that were erased since it was trained.

        Raises:
            ConfigError: if there is no such version.
        """
        checked_text(why, "the reason", MAX_WHY, empty=True)
        number = self.version(ref).number
        with self._database.writing() as connection:
            connection.execute("UPDATE versions SET marked = ? WHERE number = ?", (why, number))
            bump(connection)
        return self.version(number)

    def drop_examples(self, ref: int | str) -> bool:
        """Remove the windows that a version keeps for people to look at; whether it had any.

        The model, its hashes and its signature stay good: see ``disc_stream.artifacts.examples``.

        Raises:
            ConfigError: if there is no such version.
            RegistryError: if they cannot be removed.
        """
        path = self.version(ref).path / EXAMPLES_FILE
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise RegistryError(
                f"{str(path)!r} cannot be removed: {error.strerror or error}", remedy="Remove it yourself"
            ) from error
        return True

    def describe(self, ref: int | str, rows: Mapping[int, tuple[str, Sequence[NameProposal]]]) -> VersionInfo:
        """Write what the machine says of clusters of a version: by row, a description and proposed names.

        Raises:
            ConfigError: if there is no such version or row, or a description cannot be shown.
        """
        info = self.version(ref)
        for row, (description, _) in rows.items():
            if not 0 <= row < len(info.proposal.rows):
                raise ConfigError(f"version {info.number} has no row {row}", remedy="Rows count from 0")
            checked_text(description, "a description", MAX_DESCRIPTION, empty=True)
        values = [
            (description, store.dump_proposals(proposals), info.number, row)
            for row, (description, proposals) in rows.items()
        ]
        with self._database.writing() as connection:
            query = "UPDATE rows SET description = ?, proposals = ? WHERE version = ? AND row = ?"
            connection.executemany(query, values)
            bump(connection)
        return info

    def prune(self, keep: int, referenced: Collection[str] = ()) -> list[VersionInfo]:
        """Remove the files of old versions; what the registry knows of them stays.

        Never removed are the version in production, the one before, and those that are referred to.

        Args:
            keep: how many of the newest versions stay beside these, 0 or more.
            referenced: versions (hashes) that stay too, such as those of labels that are kept.

        Returns:
            What was removed, oldest first.
        """
        if keep < 0:
            raise ConfigError(f"cannot keep {keep} versions", remedy="Give 0 or more")
        with self._database.writing() as connection:
            self._clean(connection)
            there = [v for v in store.all_versions(connection, self._folder.versions) if v.pruned_us is None]
            stays = set(store.production_stack(connection)[-2:])
            stays |= {info.number for info in (there[-keep:] if keep else [])}
            gone = [info for info in there if info.number not in stays and info.version not in referenced]
            connection.executemany(
                "UPDATE versions SET pruned_us = ? WHERE number = ?",
                [(self._clock.unix_us(), info.number) for info in gone],
            )
        with self._database.writing() as connection:  # once that is recorded
            self._clean(connection)
        return [self.version(info.number) for info in gone]

    # -- how --------------------------------------------------------------------------------------------

    def _deploy(self, number: int, decision: Decision) -> Deployment:
        with self._database.writing() as connection:
            self._clean(connection)
            info = store.find_version(connection, self._folder.versions, number)
            require_files(info)
            current = store.last_deployment(connection)
            if current is not None and current.version_number == number:
                raise ConfigError(
                    f"version {number} ({info.version}) is in production already",
                    remedy="See: disc-stream models list",
                )
            if decision.kind == "rollback" and store.production_stack(connection)[-2:-1] != [number]:
                raise RegistryConflictError(
                    "somebody else has promoted a version or rolled back just now",
                    remedy="Look again (disc-stream models list)",
                )
            deployment = deploy(connection, info, decision)
        self._put_current()
        return deployment

    def _clean(self, connection: sqlite3.Connection) -> None:
        known = connection.execute("SELECT folder FROM versions WHERE pruned_us IS NULL").fetchall()
        (name,) = connection.execute("SELECT registry FROM state").fetchone()
        self._folder.clean({folder for (folder,) in known}, name)

    def _expected_current(self) -> dict[str, object] | None:
        deployment = self.current()
        if deployment is None:
            return None
        info = self.version(deployment.version_number)
        return {
            "version": info.version,
            "number": info.number,
            "folder": f"versions/{info.path.name}",
            "deployment": deployment.number,
        }

    def _put_current(self) -> None:
        """Let ``CURRENT`` say what is in production now; under the lock, so that the newest wins."""
        with self._database.writing():
            self._folder.put_current(self._expected_current())

    def _mend_current(self) -> None:
        if self._folder.current() == self._expected_current():
            return
        with contextlib.suppress(RegistryError):  # a reader of a read-only folder does without
            self._put_current()
            _log.info("CURRENT of %s was put right", printable(str(self.path)))
