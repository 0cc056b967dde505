"""Tables of the labeller's database."""

from __future__ import annotations

VERSION = 1
SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS checkpoint (id INTEGER PRIMARY KEY CHECK (id = 1), position INTEGER NOT NULL);
INSERT OR IGNORE INTO checkpoint VALUES (1, 0);
CREATE TABLE IF NOT EXISTS sessions (device TEXT PRIMARY KEY, state BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS labels (
    position INTEGER NOT NULL, device TEXT NOT NULL, boot INTEGER NOT NULL, window INTEGER NOT NULL,
    t0_us INTEGER NOT NULL, t1_us INTEGER NOT NULL, t0_unix_us INTEGER, label INTEGER NOT NULL,
    name TEXT NOT NULL, confidence REAL NOT NULL, smoothed INTEGER NOT NULL,
    smoothed_confidence REAL NOT NULL, q BLOB NOT NULL, distance REAL NOT NULL, novelty REAL,
    model TEXT NOT NULL, flags INTEGER NOT NULL, labelled_us INTEGER NOT NULL,
    PRIMARY KEY (position, window, model)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS deferred (
    position INTEGER NOT NULL, device TEXT NOT NULL, boot INTEGER NOT NULL, window INTEGER NOT NULL,
    t0_us INTEGER NOT NULL, seq INTEGER NOT NULL, segment INTEGER NOT NULL, blob BLOB NOT NULL,
    PRIMARY KEY (position, window)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS deferred_by_device ON deferred (device, boot, window);
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
