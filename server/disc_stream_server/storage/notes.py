"""What people say of devices and of labels: tags, and labels that are wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from disc_stream.errors import ConfigError, InputNotFoundError, RegistryConflictError
from disc_stream_server.storage.people import PeopleStore, has_people
from disc_stream_server.storage.records import StoredLabel

MAX_TAGS = 32
"""Of one device."""


@dataclass(frozen=True, slots=True)
class RejectedLabels:
    """Labels of which somebody said that they are wrong.

    Args:
        number: counts them, from 1.
        device: id.
        from_us: windows that begin from then on, in Unix microseconds.
        until_us: and before then.
        cluster: public id that they were published under.
        instead: id that they should have; None if that was not said.
        note: one line; may be empty.
        who: said so.
        at_us: when.
        withdrawn_us: when that was taken back; None if it holds.
    """

    number: int
    device: str
    from_us: int
    until_us: int
    cluster: int
    instead: int | None
    note: str
    who: str
    at_us: int
    withdrawn_us: int | None


@dataclass(frozen=True, slots=True)
class Rejection:
    """What somebody says of labels; see ``RejectedLabels``."""

    device: str
    from_us: int
    until_us: int
    cluster: int
    instead: int | None = None
    note: str = ""


class Notes:
    """Tags of devices and rejected labels.

    Args:
        store: where they are kept.
    """

    def __init__(self, store: PeopleStore) -> None:
        self._store = store

    # -- tags -------------------------------------------------------------------------------------------

    def tags(self, device: str) -> tuple[tuple[str, ...], int]:
        """Tags of a device in order, and how often they were changed."""
        tags = self._store.rows("SELECT tag FROM tags WHERE device = ? ORDER BY tag", device)
        found = self._store.rows("SELECT revision FROM tag_revisions WHERE device = ?", device)
        return tuple(tag for (tag,) in tags), found[0][0] if found else 0

    def all_tags(self) -> dict[str, tuple[str, ...]]:
        """Tags of every device that has any."""
        found: dict[str, list[str]] = {}
        for device, tag in self._store.rows("SELECT device, tag FROM tags ORDER BY device, tag"):
            found.setdefault(device, []).append(tag)
        return {device: tuple(tags) for device, tags in found.items()}

    def set_tags(self, device: str, tags: Iterable[str], *, expected: int | None = None) -> int:
        """Replace the tags of a device.

        Args:
            device: its id.
            tags: all that it has from now on.
            expected: revision that the author has seen; None for any.

        Returns:
            The new revision; the same as before if nothing has changed.

        Raises:
            ConfigError: if there are too many.
            RegistryConflictError: if somebody else has changed them since.
        """
        wanted = sorted(set(tags))
        if len(wanted) > MAX_TAGS:
            raise ConfigError(f"{len(wanted)} tags are too many", remedy=f"Give at most {MAX_TAGS}")
        with self._store.writing() as connection:
            query = "SELECT revision FROM tag_revisions WHERE device = ?"
            row = connection.execute(query, (device,)).fetchone()
            revision = 0 if row is None else int(row[0])
            if expected is not None and expected != revision:
                raise RegistryConflictError(
                    f"the tags of {device} have changed since revision {expected}",
                    remedy="Look again, and repeat the change if it is still wanted",
                )
            before = connection.execute("SELECT tag FROM tags WHERE device = ? ORDER BY tag", (device,))
            if [tag for (tag,) in before] == wanted:
                return revision
            connection.execute("DELETE FROM tags WHERE device = ?", (device,))
            connection.executemany("INSERT INTO tags VALUES (?, ?)", [(device, tag) for tag in wanted])
            connection.execute("INSERT OR REPLACE INTO tag_revisions VALUES (?, ?)", (device, revision + 1))
            return revision + 1

    def tag_counts(self) -> list[tuple[str, int]]:
        """Every tag with the number of its devices."""
        rows = self._store.rows("SELECT tag, count(*) FROM tags GROUP BY tag ORDER BY tag")
        return [(tag, count) for tag, count in rows]

    # -- rejected labels --------------------------------------------------------------------------------

    def reject(self, said: Rejection, who: str, at_us: int) -> RejectedLabels:
        """Write down that labels are wrong."""
        with self._store.writing() as connection:
            cursor = connection.execute(
                "INSERT INTO rejected_labels (device, from_us, until_us, cluster, instead, note, who, at_us) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (said.device, said.from_us, said.until_us, said.cluster, said.instead, said.note, who, at_us),
            )
            number = int(cursor.lastrowid or 0)
        return self.rejection(number)

    def rejection(self, number: int) -> RejectedLabels:
        """One of them.

        Raises:
            InputNotFoundError: if there is none of that number.
        """
        rows = self._store.rows("SELECT * FROM rejected_labels WHERE number = ?", number)
        if not rows:
            raise InputNotFoundError(
                f"there is no rejection {number}", remedy="List them to see their numbers"
            )
        return RejectedLabels(*rows[0])

    def withdraw(self, number: int, at_us: int) -> RejectedLabels:
        """Take a rejection back; one that is taken back already stays as it is."""
        self.rejection(number)
        with self._store.writing() as connection:
            query = "UPDATE rejected_labels SET withdrawn_us = ? WHERE number = ? AND withdrawn_us IS NULL"
            connection.execute(query, (at_us, number))
        return self.rejection(number)

    def rejections(self, *, device: str | None = None, after: int = 0, limit: int) -> list[RejectedLabels]:
        """Those with a number above ``after``, ascending, also the withdrawn ones."""
        where, values = ("", ()) if device is None else ("AND device = ?", (device,))
        query = f"SELECT * FROM rejected_labels WHERE number > ? {where} ORDER BY number LIMIT ?"  # noqa: S608
        return [RejectedLabels(*row) for row in self._store.rows(query, after, *values, limit)]


class KnownRejections:
    """What holds at a moment, for a retraining: which labels are wrong, and what they should be.

    Args:
        found: by device.
    """

    def __init__(self, found: Mapping[str, Sequence[RejectedLabels]]) -> None:
        self._found = found

    @classmethod
    def of(cls, state: Path) -> KnownRejections:
        """Those of a state folder."""
        found: dict[str, list[RejectedLabels]] = {}
        if has_people(state):
            with closing(PeopleStore(state)) as store:
                rows = store.rows("SELECT * FROM rejected_labels WHERE withdrawn_us IS NULL ORDER BY number")
            for row in rows:
                one = RejectedLabels(*row)
                found.setdefault(one.device, []).append(one)
        return cls(found)

    def __len__(self) -> int:
        return sum(len(some) for some in self._found.values())

    def of_label(self, label: StoredLabel) -> RejectedLabels | None:
        """The newest rejection that covers a label; None if nobody has rejected it."""
        some = self._found.get(label.device)
        if some is None or label.t0_unix_us is None:
            return None
        at_us, ids = label.t0_unix_us, (label.label, label.smoothed)
        return next(
            (one for one in reversed(some) if one.from_us <= at_us < one.until_us and one.cluster in ids),
            None,
        )
