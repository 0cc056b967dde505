"""Tables of the labeller's database.

Version 1 kept one state per device and the samples of deferred windows. ``UPGRADE`` keeps its labels, dead
letters, descriptions and position: devices begin new windows at the next row, and rows whose windows were
deferred become a lane of their own. Version 2 had no episodes; they are made from its labels
(``episodes.EpisodeBook``).
"""

from __future__ import annotations

VERSION = 3
_HISTORY = """
CREATE TABLE IF NOT EXISTS episode_facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
-- Models by whose labels episodes are made. Ids of clusters mean the same within a space: a registry, or one
-- model without any. noted orders the catalogues by when they came into use.
CREATE TABLE IF NOT EXISTS label_models (
    number INTEGER PRIMARY KEY, version TEXT NOT NULL UNIQUE, space TEXT NOT NULL, clusters BLOB NOT NULL,
    noted INTEGER NOT NULL
);
-- See disc_stream.episodes.Span; end_us is NULL while an episode goes on. state: see clusterkeys.py
CREATE TABLE IF NOT EXISTS episodes (
    device TEXT NOT NULL, begin_us INTEGER NOT NULL, end_us INTEGER, state INTEGER NOT NULL,
    windows INTEGER NOT NULL, weight INTEGER NOT NULL, fresh INTEGER NOT NULL, sure_us INTEGER,
    sure_end_us INTEGER NOT NULL, sure_windows INTEGER NOT NULL, sure_weight INTEGER NOT NULL,
    PRIMARY KEY (device, begin_us)
) WITHOUT ROWID;
-- The fold of each device behind its newest label, and where the newest labels are that no chunk has.
CREATE TABLE IF NOT EXISTS episode_states (
    device TEXT PRIMARY KEY, state BLOB NOT NULL
) WITHOUT ROWID;
-- Labels that came late, from and up to which their windows start: the fold has to go over them again.
CREATE TABLE IF NOT EXISTS episode_late (
    device TEXT PRIMARY KEY, from_us INTEGER NOT NULL, upto_us INTEGER NOT NULL, since_us INTEGER NOT NULL
) WITHOUT ROWID;
-- Up to where a device's labels are gone, so that what was made of them stands.
CREATE TABLE IF NOT EXISTS episode_frozen (
    device TEXT PRIMARY KEY, upto_us INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS episode_events (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, at_us INTEGER NOT NULL, device TEXT NOT NULL,
    kind TEXT NOT NULL, begin_us INTEGER NOT NULL, end_us INTEGER, state INTEGER
);
-- Where labels are, by device and time: a row for many of them, since one for each would cost as much as
-- they do. first_us, last_us: starts of their windows.
CREATE TABLE IF NOT EXISTS label_chunks (
    device TEXT NOT NULL, first_us INTEGER NOT NULL, last_us INTEGER NOT NULL,
    first_position INTEGER NOT NULL, positions BLOB NOT NULL,
    PRIMARY KEY (device, first_us, first_position)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS label_chunks_by_position ON label_chunks (first_position);
"""
SCHEMA = f"""
BEGIN IMMEDIATE;
-- Lane 0 is the live one. Every other lane is a stretch of the spool, the rows after first up to last, whose
-- windows were deferred; last is NULL as long as windows are being deferred.
CREATE TABLE IF NOT EXISTS lanes (
    lane INTEGER PRIMARY KEY, first INTEGER NOT NULL, last INTEGER, windows INTEGER NOT NULL
);
INSERT OR IGNORE INTO lanes VALUES (0, 0, NULL, 0);
-- How far each shard of a lane is labelled: position of the last row.
CREATE TABLE IF NOT EXISTS progress (
    lane INTEGER NOT NULL, shard INTEGER NOT NULL, position INTEGER NOT NULL, PRIMARY KEY (lane, shard)
) WITHOUT ROWID;
-- What the parts of the labeller know of each device at that position; an empty state stands for none.
CREATE TABLE IF NOT EXISTS parts (
    lane INTEGER NOT NULL, part TEXT NOT NULL, device TEXT NOT NULL, shard INTEGER NOT NULL,
    state BLOB NOT NULL, PRIMARY KEY (lane, part, device)
);
CREATE INDEX IF NOT EXISTS parts_by_device ON parts (device);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS labels (
    position INTEGER NOT NULL, device TEXT NOT NULL, boot INTEGER NOT NULL, window INTEGER NOT NULL,
    t0_us INTEGER NOT NULL, t1_us INTEGER NOT NULL, t0_unix_us INTEGER, label INTEGER NOT NULL,
    name TEXT NOT NULL, confidence REAL NOT NULL, smoothed INTEGER NOT NULL,
    smoothed_confidence REAL NOT NULL, q BLOB NOT NULL, distance REAL NOT NULL, novelty REAL,
    model TEXT NOT NULL, flags INTEGER NOT NULL, labelled_us INTEGER NOT NULL,
    PRIMARY KEY (position, window, model)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead_letters (
    position INTEGER PRIMARY KEY, received_us INTEGER NOT NULL, topic TEXT NOT NULL, device TEXT NOT NULL,
    reason TEXT NOT NULL, message TEXT NOT NULL, content_type TEXT NOT NULL, payload BLOB NOT NULL,
    size INTEGER NOT NULL
);
-- Kept by triggers, so that it is right whoever removes letters, and counting takes no time.
CREATE TABLE IF NOT EXISTS dead_tally (
    id INTEGER PRIMARY KEY CHECK (id = 1), rows INTEGER NOT NULL, bytes INTEGER NOT NULL,
    dropped INTEGER NOT NULL
);
INSERT OR IGNORE INTO dead_tally VALUES (1, 0, 0, 0);
CREATE TRIGGER IF NOT EXISTS dead_letter_comes AFTER INSERT ON dead_letters BEGIN
    UPDATE dead_tally SET rows = rows + 1, bytes = bytes + length(new.payload);
END;
CREATE TRIGGER IF NOT EXISTS dead_letter_goes AFTER DELETE ON dead_letters BEGIN
    UPDATE dead_tally SET rows = rows - 1, bytes = bytes - length(old.payload);
END;
-- upto: newest position of the spool when the device was erased; the row goes once the server has seen it.
CREATE TABLE IF NOT EXISTS forgotten (
    id INTEGER PRIMARY KEY AUTOINCREMENT, device TEXT NOT NULL, upto INTEGER NOT NULL
);
{_HISTORY}
PRAGMA user_version={VERSION};
COMMIT;
"""  # noqa: S608 - one number is put in

UPGRADE = """
BEGIN IMMEDIATE;
INSERT OR REPLACE INTO progress (lane, shard, position)
    WITH RECURSIVE shards(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM shards WHERE n < 255)
    SELECT 0, n, (SELECT position FROM checkpoint) FROM shards;
INSERT INTO lanes (lane, first, last, windows)
    SELECT 1, min(position) - 1, max(position), count(*) FROM deferred HAVING count(*) > 0;
INSERT INTO progress (lane, shard, position)
    WITH RECURSIVE shards(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM shards WHERE n < 255)
    SELECT 1, n, first FROM shards, lanes WHERE lane = 1;
INSERT OR REPLACE INTO parts (lane, part, device, shard, state)
    SELECT 0, 'meta', substr(name, 6), 0, value FROM facts WHERE name LIKE 'meta/%';
DELETE FROM facts WHERE name LIKE 'meta/%' OR name = 'held';
DROP TABLE checkpoint;
DROP TABLE sessions;
DROP TABLE deferred;
COMMIT;
"""
