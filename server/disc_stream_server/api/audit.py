"""The audit log: every change through the API, written down before it is made, and what came of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from disc_stream_server.api.auth.roles import Identity
from disc_stream_server.storage.people import PeopleStore

KEEP = 200_000
"""Newest entries that are kept."""
_TRIM = 1_000  # entries between two looks whether there are too many


@dataclass(frozen=True, slots=True)
class Entry:
    """One change.

    Args:
        number: counts them, from 1.
        at_us: when it was asked for, Unix microseconds.
        who: name of the token.
        role: its role.
        address: that it came from.
        action: method and route, such as ``PUT /api/v1/devices/{device}/tags``.
        target: the path itself.
        detail: what was given; secrets are not in it.
        status: of the answer; None while it is under way, or if the server was killed over it.
    """

    number: int
    at_us: int
    who: str
    role: str
    address: str
    action: str
    target: str
    detail: dict[str, Any]
    status: int | None


class AuditLog:
    """Adds entries; nothing changes them but the outcome.

    Args:
        store: where it is kept.
    """

    def __init__(self, store: PeopleStore) -> None:
        self._store = store

    def begin(self, who: Identity, address: str, target: str, at_us: int) -> int:
        """Write down that a change is asked for, before anything is done; its number.

        Raises:
            StorageError: if it cannot be written. Then the change must not be made.
        """
        with self._store.writing() as connection:
            cursor = connection.execute(
                "INSERT INTO audit (at_us, who, role, address, action, target, detail) "
                "VALUES (?, ?, ?, ?, ?, ?, '{}')",
                (at_us, who.name, str(who.role), address, "", target),
            )
            number = int(cursor.lastrowid or 0)
            if number % _TRIM == 0:
                connection.execute("DELETE FROM audit WHERE number <= ?", (number - KEEP,))
        return number

    def end(self, number: int, action: str, detail: dict[str, Any], status: int) -> None:
        """What came of it."""
        with self._store.writing() as connection:
            query = "UPDATE audit SET action = ?, detail = ?, status = ? WHERE number = ?"
            connection.execute(query, (action, json.dumps(detail, default=str), status, number))

    def entries(self, *, before: int = 2**62, who: str | None = None, limit: int) -> list[Entry]:
        """Entries with a number below ``before``, newest first."""
        where, values = ("", ()) if who is None else ("AND who = ?", (who,))
        query = (
            "SELECT number, at_us, who, role, address, action, target, detail, status FROM audit "  # noqa: S608
            f"WHERE number < ? {where} ORDER BY number DESC LIMIT ?"
        )
        rows = self._store.rows(query, before, *values, limit)
        return [_entry(*row) for row in rows]


def _entry(*row: Any) -> Entry:
    number, at_us, who, role, address, action, target, detail, status = row
    return Entry(number, at_us, who, role, address, action, target, json.loads(detail), status)
