"""Downloads a model's bundle over HTTP, within a bound, to a file."""

from __future__ import annotations

import logging
import re
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit

from disc_stream.errors import ConfigError, DataError

log = logging.getLogger(__name__)

MAX_BYTES = 64 * 2**20
"""A larger bundle is none for a device."""

_PIECE = 2**16
_TIMEOUT_S = 30.0
_VERSION = re.compile(r"[0-9a-f]{6,64}")


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
            f"{base!r} is no place to download models from", remedy="Use --models-from https://host/folder"
        )
    return base.rstrip("/")


def is_version(text: str) -> bool:
    """Whether a text can be a version: it becomes a part of a URL and of a file's name."""
    return _VERSION.fullmatch(text) is not None


def fetch(base: str, version: str, target: Path, token: str | None = None) -> int:
    """Download ``BASE/VERSION.zip``.

    Args:
        base: see ``check_base``.
        version: of the model.
        target: file to write.
        token: sent as ``Authorization: Bearer``.

    Returns:
        Its bytes.

    Raises:
        FetchError: if it is not there, too large, or the connection breaks.
    """
    request = urllib.request.Request(f"{base}/{version}.zip")  # noqa: S310 - http or https alone
    if token is not None:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    size = 0
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer, target.open("wb") as file:  # noqa: S310
            promised = int(answer.headers.get("Content-Length") or 0)
            while piece := answer.read(_PIECE):
                size += len(piece)
                if size > MAX_BYTES:
                    raise FetchError(f"model {version} has more than {MAX_BYTES >> 20} MiB")
                file.write(piece)
    except (OSError, HTTPException, ValueError) as error:
        raise FetchError(f"model {version} cannot be downloaded from {base}: {error}") from error
    if promised and size != promised:
        raise FetchError(f"model {version} ended after {size} of {promised} bytes")
    return size
