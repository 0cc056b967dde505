"""API tokens: made once, shown once, kept as a keyed hash.

A token is ``ds_ID_SECRET`` with 256 random bits in its secret. Such a secret cannot be found by trying,
however fast the hash: a slow one (argon2, scrypt) protects what people choose and can remember, and would
here only let strangers spend the labeller's processor with every token that they make up. So the hash is
BLAKE2b with a key of this store alone; a stolen database gives neither tokens nor hashes that fit elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from disc_stream.errors import ConfigError, InputNotFoundError
from disc_stream.registry.people import checked_text
from disc_stream_server.api.auth.roles import Identity, Role
from disc_stream_server.storage.people import PeopleStore, has_people

LOGIN_S = 30 * 86_400
"""Seconds after which a browser must log in again."""
MAX_NAME = 64
_TOKEN = re.compile(r"ds_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_LOGIN = re.compile(r"[A-Za-z0-9_-]{43}")
_USED_US = 60_000_000  # so seldom at most it is written down that a token was used
_COLUMNS = "id, name, role, created_us, created_by, expires_us, revoked_us, used_us"


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """What may be known of a token; its secret may not.

    Args:
        id: stands in the token itself, and in histories.
        name: of the person or program.
        role: what it may do.
        created_us: when it was made, Unix microseconds.
        created_by: who made it.
        expires_us: when it ends; None for never.
        revoked_us: when it was revoked; None if it was not.
        used_us: when it was last used, to the minute; None if it never was.
    """

    id: str
    name: str
    role: Role
    created_us: int
    created_by: str
    expires_us: int | None
    revoked_us: int | None
    used_us: int | None

    def is_good(self, now_us: int) -> bool:
        """Whether it opens anything."""
        return self.revoked_us is None and (self.expires_us is None or now_us < self.expires_us)


class TokenStore:
    """Tokens, and the logins that browsers have got for them.

    Args:
        store: where they are kept.
    """

    def __init__(self, store: PeopleStore) -> None:
        self._store = store

    # -- by people --------------------------------------------------------------------------------------

    def add(
        self, name: str, role: Role, *, by: str, now_us: int, expires_us: int | None = None
    ) -> tuple[str, TokenInfo]:
        """Make a token.

        Args:
            name: of whoever will use it.
            role: what it may do.
            by: who makes it.
            now_us: Unix microseconds.
            expires_us: when it ends; None for never.

        Returns:
            The token, which nobody can ever see again, and what is kept of it.

        Raises:
            ConfigError: if the name cannot be shown, or it would have ended already.
        """
        checked_text(name, "the name of a token", MAX_NAME)
        if expires_us is not None and expires_us <= now_us:
            raise ConfigError("the token would have expired already", remedy="Give a time that is to come")
        own, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        with self._store.writing() as connection:
            connection.execute(
                "INSERT INTO tokens (id, name, role, hash, created_us, created_by, expires_us) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (own, name, str(role), self._hash(own, secret), now_us, by, expires_us),
            )
        return f"ds_{own}_{secret}", self.get(own)

    def get(self, own: str) -> TokenInfo:
        """One token.

        Raises:
            InputNotFoundError: if there is none with that id.
        """
        rows = self._store.rows(f"SELECT {_COLUMNS} FROM tokens WHERE id = ?", own)  # noqa: S608 - our columns
        if not rows:
            raise InputNotFoundError(f"there is no token {own[:40]!r}", remedy="See: disc-stream token list")
        return _info(rows[0])

    def list(self, *, after: str = "", limit: int = 1_000) -> list[TokenInfo]:
        """All tokens with an id above ``after``, also those that have ended, in order of their ids."""
        query = f"SELECT {_COLUMNS} FROM tokens WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608 - our columns
        return [_info(row) for row in self._store.rows(query, after, limit)]

    def revoke(self, own: str, now_us: int) -> TokenInfo:
        """End a token and its logins at once; one that was revoked before stays so."""
        self.get(own)
        with self._store.writing() as connection:
            query = "UPDATE tokens SET revoked_us = ? WHERE id = ? AND revoked_us IS NULL"
            connection.execute(query, (now_us, own))
            connection.execute("DELETE FROM logins WHERE token = ?", (own,))
        return self.get(own)

    def any_good(self, now_us: int) -> bool:
        """Whether any token opens anything."""
        query = (
            "SELECT 1 FROM tokens WHERE revoked_us IS NULL AND (expires_us IS NULL OR expires_us > ?) LIMIT 1"
        )
        return bool(self._store.rows(query, now_us))

    def any(self) -> bool:
        """Whether a token was ever made here."""
        return bool(self._store.rows("SELECT 1 FROM tokens LIMIT 1"))

    # -- by the server ----------------------------------------------------------------------------------

    def identify(self, token: str, now_us: int) -> Identity | None:
        """Whose token this is; None if it is nobody's, has expired or was revoked."""
        parts = _TOKEN.fullmatch(token)
        if parts is None:
            return None
        own, secret = parts.groups()
        query = f"SELECT {_COLUMNS}, hash FROM tokens WHERE id = ?"  # noqa: S608 - our columns
        rows = self._store.rows(query, own)
        known = rows[0][-1] if rows else bytes(32)
        if not hmac.compare_digest(known, self._hash(own, secret)) or not rows:
            return None
        return self._used(_info(rows[0][:-1]), now_us)

    def still_good(self, own: str, now_us: int) -> bool:
        """Whether a token has neither expired nor been revoked since it was seen."""
        rows = self._store.rows(f"SELECT {_COLUMNS} FROM tokens WHERE id = ?", own)  # noqa: S608 - our columns
        return bool(rows) and _info(rows[0]).is_good(now_us)

    def log_in(self, own: str, now_us: int) -> tuple[str, int]:
        """A login for a browser: what its cookie holds, and until when in Unix microseconds."""
        login = secrets.token_urlsafe(32)
        info = self.get(own)
        until = min(now_us + LOGIN_S * 1_000_000, info.expires_us or 2**62)
        with self._store.writing() as connection:
            connection.execute("DELETE FROM logins WHERE expires_us <= ?", (now_us,))
            connection.execute(
                "INSERT INTO logins VALUES (?, ?, ?, ?)", (self._hash("login", login), own, now_us, until)
            )
        return login, until

    def of_login(self, login: str, now_us: int) -> Identity | None:
        """Whose login this is; None if it is nobody's, or has ended."""
        if not _LOGIN.fullmatch(login):
            return None
        query = (
            f"SELECT {_COLUMNS} FROM tokens WHERE id = "  # noqa: S608 - our columns
            "(SELECT token FROM logins WHERE hash = ? AND expires_us > ?)"
        )
        rows = self._store.rows(query, self._hash("login", login), now_us)
        return self._used(_info(rows[0]), now_us, by_cookie=True) if rows else None

    def log_out(self, login: str) -> None:
        """End a login."""
        with self._store.writing() as connection:
            connection.execute("DELETE FROM logins WHERE hash = ?", (self._hash("login", login),))

    def _used(self, info: TokenInfo, now_us: int, *, by_cookie: bool = False) -> Identity | None:
        if not info.is_good(now_us):
            return None
        if info.used_us is None or now_us - info.used_us >= _USED_US:
            with self._store.writing() as connection:
                connection.execute("UPDATE tokens SET used_us = ? WHERE id = ?", (now_us, info.id))
        return Identity(info.name, info.role, info.id, by_cookie)

    def _hash(self, of: str, secret: str) -> bytes:
        return hashlib.blake2b(f"{of}:{secret}".encode(), key=self._store.key, digest_size=32).digest()


def _info(row: tuple[object, ...]) -> TokenInfo:
    own, name, role, *rest = row
    return TokenInfo(str(own), str(name), Role(str(role)), *rest)  # type: ignore[arg-type]


def has_good_token(state: Path, now_us: int) -> bool:
    """Whether a state folder knows a token that opens anything."""
    if not has_people(state):
        return False
    with PeopleStore(state) as store:
        return TokenStore(store).any_good(now_us)
