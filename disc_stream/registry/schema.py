"""Tables of a registry's database."""

from __future__ import annotations

VERSION = 1
APPLICATION = 0x64735267
"""``application_id`` of the file: tells a registry from any other SQLite database."""

_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    registry TEXT NOT NULL,      -- a random name of this registry; its folders carry it
    revision INTEGER NOT NULL,   -- grows with every change of what people or servers see
    next_id INTEGER NOT NULL     -- of clusters; only ever grows, so no id is used again
);
CREATE TABLE versions (
    number INTEGER PRIMARY KEY AUTOINCREMENT, version TEXT NOT NULL, folder TEXT NOT NULL UNIQUE,
    added_us INTEGER NOT NULL, lineage TEXT NOT NULL, proposal TEXT NOT NULL, rejected TEXT NOT NULL,
    pruned_us INTEGER, marked TEXT NOT NULL DEFAULT ''
);
CREATE INDEX versions_by_version ON versions (version);
-- id is NULL until the version is promoted for the first time; from then on it stands.
CREATE TABLE rows (
    version INTEGER NOT NULL REFERENCES versions, row INTEGER NOT NULL, id INTEGER REFERENCES clusters,
    name TEXT NOT NULL, size INTEGER NOT NULL, distance_q95 REAL, unknown_above REAL,
    description TEXT NOT NULL, proposals TEXT NOT NULL, PRIMARY KEY (version, row), UNIQUE (version, id)
) WITHOUT ROWID;
CREATE TABLE deployments (
    number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL,
    version INTEGER NOT NULL REFERENCES versions, at_us INTEGER NOT NULL, who TEXT NOT NULL,
    why TEXT NOT NULL, replaced TEXT, gate TEXT NOT NULL
);
CREATE TABLE clusters (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL DEFAULT '', colour TEXT NOT NULL DEFAULT '',
    note TEXT NOT NULL DEFAULT '', merged_into INTEGER REFERENCES clusters, muted INTEGER NOT NULL DEFAULT 0,
    born INTEGER NOT NULL REFERENCES versions, parent INTEGER REFERENCES clusters
);
-- "a is not b", with a < b.
CREATE TABLE rejections (
    a INTEGER NOT NULL REFERENCES clusters, b INTEGER NOT NULL REFERENCES clusters, PRIMARY KEY (a, b),
    CHECK (a < b)
) WITHOUT ROWID;
CREATE TABLE rejected_names (
    id INTEGER NOT NULL REFERENCES clusters, name TEXT NOT NULL, PRIMARY KEY (id, name)
) WITHOUT ROWID;
CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at_us INTEGER NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL,
    changes TEXT NOT NULL, detail TEXT NOT NULL, undoes INTEGER REFERENCES events,
    deployment INTEGER REFERENCES deployments, revision INTEGER NOT NULL, expected INTEGER
);
CREATE TABLE event_clusters (
    id INTEGER NOT NULL, event INTEGER NOT NULL REFERENCES events, PRIMARY KEY (id, event)
) WITHOUT ROWID;
CREATE INDEX event_clusters_by_event ON event_clusters (event);
-- What has happened has happened: both logs are only ever added to.
CREATE TRIGGER deployments_stay BEFORE DELETE ON deployments
    BEGIN SELECT RAISE(ABORT, 'deployments are only ever added'); END;
CREATE TRIGGER deployments_stand BEFORE UPDATE ON deployments
    BEGIN SELECT RAISE(ABORT, 'deployments are only ever added'); END;
CREATE TRIGGER events_stay BEFORE DELETE ON events
    BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END;
CREATE TRIGGER events_stand BEFORE UPDATE ON events
    BEGIN SELECT RAISE(ABORT, 'events are only ever added'); END;
CREATE TRIGGER ids_stand BEFORE UPDATE OF id ON rows WHEN old.id IS NOT NULL
    BEGIN SELECT RAISE(ABORT, 'the ids of a version that was promoted stand'); END;
CREATE TRIGGER ids_grow BEFORE UPDATE OF next_id ON state WHEN new.next_id < old.next_id
    BEGIN SELECT RAISE(ABORT, 'no id is used again'); END;
CREATE TRIGGER clusters_stay BEFORE DELETE ON clusters
    BEGIN SELECT RAISE(ABORT, 'no cluster is ever removed'); END;
INSERT INTO state VALUES (1, 'REGISTRY', 0, 0);
PRAGMA application_id={APPLICATION};
PRAGMA user_version={VERSION};
COMMIT;
"""  # noqa: S608 - two numbers are put in


def schema(registry: str) -> str:
    """The script that makes all tables, in one transaction.

    Args:
        registry: random name of the registry, letters and digits.
    """
    if not registry.isalnum():
        raise ValueError(f"{registry!r} is no name of a registry")
    return _SCHEMA.replace("REGISTRY", registry)
