"""Mosquitto's password files: ``name:$7$iterations$salt$hash``, PBKDF2 with HMAC-SHA-512."""

from __future__ import annotations

import base64
import hashlib
import secrets
from pathlib import Path

from disc_stream_server.brokerconfig.files import SECRET, read, write

# What `mosquitto_passwd` takes. More would only slow the broker down: our passwords are 256 random bits.
ITERATIONS = 101
_SALT_BYTES = 12
_TOKEN_BYTES = 32


def new_token() -> str:
    """A password that nobody can guess and that needs no escaping in URLs, shells and files."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def hash_password(password: str, salt: bytes | None = None, iterations: int = ITERATIONS) -> str:
    """What Mosquitto stores of a password."""
    salt = secrets.token_bytes(_SALT_BYTES) if salt is None else salt
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, iterations)
    return f"$7${iterations}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


class PasswordFile:
    """The users of a listener.

    Args:
        path: of the file; it need not be there.
        reader: user that the broker runs as.
    """

    def __init__(self, path: Path, reader: str | None = None) -> None:
        self._path, self._reader = path, reader

    def users(self) -> dict[str, str]:
        """Hash by name."""
        lines = (read(self._path) or b"").decode("utf-8").splitlines()
        pairs = [line.partition(":") for line in lines if ":" in line]
        return {name: digest for name, _, digest in pairs}

    def set(self, name: str, password: str) -> None:
        """Add a user, or give one a new password."""
        self._write({**self.users(), name: hash_password(password)})

    def remove(self, name: str) -> bool:
        """Whether there was such a user."""
        users = self.users()
        known = users.pop(name, None) is not None
        if known:
            self._write(users)
        return known

    def create(self) -> None:
        """Make an empty file unless there is one: Mosquitto wants to find it."""
        if not self._path.exists():
            self._write({})

    def _write(self, users: dict[str, str]) -> None:
        lines = [f"{name}:{digest}\n" for name, digest in users.items()]
        write(self._path, "".join(lines), SECRET, self._reader)
