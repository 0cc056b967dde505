"""What clusters of labels that are kept are called today.

The database keeps the catalogue of each model that has labelled, as it was when it did last. A registry,
where one is given, knows better: names and merges of this moment, also of clusters that are retired.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from disc_stream.artifacts.catalogue import Catalogue, machine_name
from disc_stream.errors import DiscStreamError
from disc_stream.registry import Registry
from disc_stream.types import STATE_NAMES
from disc_stream_server.storage.clusterkeys import key_of, parts_of

_REGISTRY, _MODEL = "registry:", "model:"


class _Known(NamedTuple):
    public: int
    name: str
    colour: str
    muted: bool


def space_of(catalogue: Catalogue) -> str:
    """Within what its ids mean the same."""
    return f"{_REGISTRY}{catalogue.registry}" if catalogue.registry else f"{_MODEL}{catalogue.model}"


def note_catalogue(connection: sqlite3.Connection, catalogue: Catalogue) -> None:
    """Keep the catalogue of a model that begins to label, if it is not the one that is kept."""
    clusters = [[one.id, one.public_id, one.name, one.colour, one.muted] for one in catalogue.clusters]
    text = json.dumps(clusters, separators=(",", ":")).encode()
    space = space_of(catalogue)
    newest = connection.execute(
        "SELECT version, space, clusters FROM label_models ORDER BY noted DESC LIMIT 1"
    ).fetchone()
    if newest is not None and (newest[0], newest[1], bytes(newest[2])) == (catalogue.model, space, text):
        return
    connection.execute(
        "INSERT INTO label_models (version, space, clusters, noted) "
        "VALUES (?1, ?2, ?3, (SELECT coalesce(max(noted), 0) + 1 FROM label_models)) "
        "ON CONFLICT (version) DO UPDATE SET space = ?2, clusters = ?3, noted = excluded.noted",
        (catalogue.model, space, text),
    )


def number_of(connection: sqlite3.Connection, version: str) -> tuple[int, int]:
    """Numbers of a model and of its space; a model of which no catalogue is known has one of its own."""
    connection.execute(
        "INSERT OR IGNORE INTO label_models (version, space, clusters, noted) VALUES (?, ?, ?, 0)",
        (version, f"{_MODEL}{version}", b"[]"),
    )
    row: tuple[int, int] = connection.execute(
        "SELECT number, (SELECT min(number) FROM label_models AS l WHERE l.space = m.space) "
        "FROM label_models AS m WHERE version = ?",
        (version,),
    ).fetchone()
    return row


def space_number(connection: sqlite3.Connection, version: str) -> int:
    """Number of the space that the ids of a model are of; 0 if the model is not known."""
    row = connection.execute(
        "SELECT min(number) FROM label_models WHERE space = "
        "(SELECT space FROM label_models WHERE version = ?)",
        (version,),
    ).fetchone()
    return int(row[0] or 0)


class ClusterNames:
    """Names and merges of today.

    Args:
        models: folder of the registry; None to go by what the database has kept.

    Raises:
        InputNotFoundError: if there is no registry.
        RegistryError: if it cannot be read.
    """

    def __init__(self, models: Path | None = None) -> None:
        self._registry = None if models is None else Registry.open(models)
        self._revision = self._noted = -1
        self._of_registry: Mapping[int, _Known] = {}
        self._own_space, self._own_versions = "", frozenset[str]()
        self._spaces: dict[int, str] = {}  # of each model's number
        self._versions: dict[int, str] = {}
        self._known: dict[str, dict[int, _Known]] = {}  # by space and own id
        self._found: dict[int, tuple[int, _Known]] = {}

    def close(self) -> None:
        """Close the registry."""
        if self._registry is not None:
            self._registry.close()

    def look(self, connection: sqlite3.Connection) -> None:
        """Take in what has changed; costs little if nothing has.

        A registry that cannot be read for now leaves what was known of it.
        """
        (noted,) = connection.execute(
            "SELECT coalesce(max(noted), 0) + coalesce(max(number), 0) FROM label_models"
        ).fetchone()
        if noted != self._noted:
            self._noted = noted
            self._read(connection)
            self._found = {}
        if self._registry is not None:
            with contextlib.suppress(DiscStreamError):
                self._look_at(self._registry)

    def version(self, number: int) -> str:
        """Of the model with that number."""
        return self._versions.get(number, "")

    def public(self, key: int) -> int:
        """The number under which a cluster is published today; see ``clusterkeys``."""
        return self._find(key)[0]

    def name(self, key: int) -> str:
        """What it is called today."""
        return self._find(key)[1].name

    def colour(self, key: int) -> str:
        """``#rrggbb``; "" for any."""
        return self._find(key)[1].colour

    def muted(self, key: int) -> bool:
        """Whether nobody needs to be told of it."""
        return self._find(key)[1].muted

    def _find(self, key: int) -> tuple[int, _Known]:
        found = self._found.get(key)
        if found is None:
            found = self._found[key] = self._resolve(key)
        return found

    def _resolve(self, key: int) -> tuple[int, _Known]:
        number, cluster = parts_of(key)
        if key < 0:
            return key, _Known(cluster, STATE_NAMES.get(cluster, f"state {cluster}"), "", False)
        space = self._spaces.get(number, "")
        known = self._known.get(space, {})
        if space == self._own_space or self._versions.get(number) in self._own_versions:
            known = {**known, **self._of_registry}
        own = known.get(cluster, _Known(cluster, machine_name(cluster), "", False))
        return key_of(number, own.public), known.get(own.public, own)._replace(public=own.public)

    def _read(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute(
            "SELECT number, version, space, clusters FROM label_models ORDER BY noted, number"
        ).fetchall()
        self._spaces = {number: space for number, _, space, _ in rows}
        self._versions = {number: version for number, version, _, _ in rows}
        self._known = {}
        for _, _, space, clusters in rows:
            known = self._known.setdefault(space, {})
            heads: dict[int, _Known] = {}
            for own, public, name, colour, muted in json.loads(clusters):
                known[own] = _Known(public, name, colour, muted)
                if own != public:  # the row carries the name of what it is merged into
                    heads[public] = _Known(public, name, colour, muted)
            known.update(heads)

    def _look_at(self, registry: Registry) -> None:
        revision = registry.revision
        if revision == self._revision:
            return
        versions = frozenset(info.version for info in registry.versions() if info.ids is not None)
        current = registry.current()
        if current is not None:
            self._own_space = space_of(registry.catalogue_of(current.version_number))
        self._of_registry = {
            one.id: _Known(one.public_id, one.label, one.colour, one.muted)
            for one in registry.clusters.list(retired=True)
        }
        self._own_versions, self._revision, self._found = versions, revision, {}
