"""Tables of the labeller's database.

Version 1 kept one state per device and the samples of deferred windows. ``UPGRADE`` keeps its labels, dead
letters, descriptions and position: devices begin new windows at the next row, and rows whose windows were
deferred become a lane of their own.
"""

from __future__ import annotations

VERSION = 2
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
