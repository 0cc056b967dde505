"""Asks a server to let the centroids of a device be its model's again."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

from disc_stream.errors import InputNotFoundError
from disc_stream_server.storage.lock import holder
from disc_stream_server.storage.sqlite import connect, translated
from disc_stream_server.storage.state import FILE

RESET = "adaptation-reset/"
"""Prefix of the facts that ask for it, before the device's id; the checkpoint with the reset removes them."""

_LOOK_S = 0.1  # between two looks whether the server has done it


def ask_for_reset(state: Path, device: str, patience_s: float = 15.0) -> bool | None:
    """Ask the server of a state folder to begin again with its model's own centroids for a device.

    Args:
        state: the state folder.
        device: device id.
        patience_s: how long to wait for a server that runs.

    Returns:
        Whether the server has done it; None if none runs: the next one begins with it.

    Raises:
        InputNotFoundError: if there is no state folder.
        StorageError: if the state cannot be written.
    """
    path = state / FILE
    if not path.exists():
        raise InputNotFoundError(f"{str(state)!r} is not a state folder", remedy="Give the server's --state")
    name = RESET + device
    with translated(path), contextlib.closing(connect(path, synchronous="FULL")) as connection:
        connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, b"1"))
        if holder(state) is None:
            return None
        until = time.monotonic() + patience_s
        while _is_there(connection, name):
            if time.monotonic() > until:
                return False
            time.sleep(_LOOK_S)
    return True


def _is_there(connection: sqlite3.Connection, name: str) -> bool:
    found = connection.execute("SELECT count(*) FROM facts WHERE name = ?", (name,)).fetchone()
    return bool(found[0])
