"""Downloads models over HTTP, within bounds, to files; a download that breaks is gone on with."""

from __future__ import annotations

import hashlib
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

from disc_stream.artifacts.catalogue import MAX_CATALOGUE_BYTES
from disc_stream.errors import ConfigError, DataError
from disc_stream.wire.secrecy import is_loopback, warn_once

MAX_BYTES = 64 * 2**20
"""A larger bundle is none for a device."""

_PIECE = 2**16
_TIMEOUT_S = 30.0
_VERSION = re.compile(r"[0-9a-f]{6,64}")
_TAG = re.compile(r'"([0-9a-f]{64})"')
_NONE = frozenset({404, 405, 410})
_NOT_MODIFIED, _PART = 304, 206


class FetchError(DataError):
    """A model cannot be downloaded now; another time it may."""


def check_base(base: str) -> str:
    """Return a place to download from, if it is one.

    Raises:
        ConfigError: if it is no URL of http or https.
    """
    parts = urlsplit(base)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise ConfigError(
            f"{base!r} is no place to download models from",
            remedy="Use --models-from https://host/api/v1/models",
        )
    return base.rstrip("/")


def is_version(text: str) -> bool:
    """Whether a text can be a version: it becomes a part of a URL and of a file's name."""
    return _VERSION.fullmatch(text) is not None


@dataclass(slots=True)
class ModelSource:
    """Where models come from: the API of a server, or any web server with ``VERSION.zip``.

    Args:
        base: see ``check_base``.
        token: to be shown there as ``Authorization: Bearer``, or None.
    """

    base: str
    token: str | None = None
    _tags: dict[Path, str] = field(default_factory=dict)  # what the beginning of a file belongs to

    def __post_init__(self) -> None:
        """Warn of a token that crosses the network in plain text."""
        parts = urlsplit(self.base)
        if self.token and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            warn_once(f"the token for models crosses the network to {parts.netloc} unencrypted; use https")

    def bundle(self, version: str, target: Path) -> int:
        """Download ``BASE/VERSION.zip``, or what is missing of it.

        Where the server tells the content's sha256 as its ETag, it is checked.

        Args:
            version: of the model.
            target: file to write; its content after a break is kept for the next try.

        Returns:
            Its bytes.

        Raises:
            FetchError: if it is not there, too large, or the connection breaks.
        """
        tag = self._tags.pop(target, "")
        have = target.stat().st_size if tag and target.exists() else 0
        headers = {"Range": f"bytes={have}-", "If-Range": tag} if have else {}
        with self._open(f"{version}.zip", f"model {version}", headers) as answer:
            resumed = answer.status == _PART and answer.headers.get("ETag") == tag
            if answer.status == _PART and not resumed:
                target.unlink(missing_ok=True)
                raise FetchError(f"model {version} has changed at {self.base}; beginning anew")
            self._tags[target] = answer.headers.get("ETag") or ""
            size = have if resumed else 0
            promised = size + int(answer.headers.get("Content-Length") or 0)
            with target.open("ab" if resumed else "wb") as file:
                while piece := answer.read(_PIECE):
                    size += len(piece)
                    if size > MAX_BYTES:
                        raise FetchError(f"model {version} has more than {MAX_BYTES >> 20} MiB")
                    file.write(piece)
        if promised > size:
            raise FetchError(f"model {version} ended after {size} of {promised} bytes")
        self._check(version, target, self._tags.pop(target))
        return size

    def catalogue(self, version: str, known: bytes | None) -> bytes | None:
        """What the clusters of a version are called today: ``BASE/VERSION/catalogue``.

        Args:
            version: of the model.
            known: what is known already, which is not downloaded again.

        Returns:
            The file; ``known`` if it is the same, None where the server has none.

        Raises:
            FetchError: if it cannot be known, or is too large.
        """
        headers = {} if known is None else {"If-None-Match": f'"{hashlib.sha256(known).hexdigest()}"'}
        what = f"the names of model {version}"
        try:
            with self._open(f"{version}/catalogue", what, headers) as answer:
                data = answer.read(MAX_CATALOGUE_BYTES + 1)
        except _AnsweredError as answered:
            if answered.status == _NOT_MODIFIED:
                return known
            if answered.status in _NONE:
                return None
            raise
        if len(data) > MAX_CATALOGUE_BYTES:
            raise FetchError(f"{what} have more than {MAX_CATALOGUE_BYTES >> 20} MiB")
        return data

    def _check(self, version: str, target: Path, tag: str) -> None:
        wanted = _TAG.fullmatch(tag)
        if wanted is None:
            return
        with target.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != wanted[1]:
            target.unlink(missing_ok=True)
            raise FetchError(f"model {version} came damaged from {self.base}")

    @contextmanager
    def _open(self, path: str, what: str, headers: dict[str, str]) -> Iterator[HTTPResponse]:
        request = urllib.request.Request(f"{self.base}/{path}", headers=headers)  # noqa: S310 - http(s) alone
        if self.token is not None:
            request.add_unredirected_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
                yield answer
        except urllib.error.HTTPError as error:
            error.close()
            raise _AnsweredError(
                f"{what} cannot be downloaded from {self.base}: {error}", error.code
            ) from error
        except (OSError, HTTPException, ValueError) as error:
            raise FetchError(f"{what} cannot be downloaded from {self.base}: {error}") from error


class _AnsweredError(FetchError):
    """A server that answers, but not with what was asked for."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status
