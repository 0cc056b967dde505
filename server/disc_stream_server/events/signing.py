"""Signatures of webhooks, so that whoever receives one knows that it is ours, whole, and not an old one.

The scheme is that of Standard Webhooks, for which there are libraries in many languages: HMAC-SHA256 over the
id, the time and the body. Source: the Standard Webhooks specification 1.0.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from pathlib import Path

from disc_stream.errors import ConfigError, InputNotFoundError

PREFIX = "whsec_"
_LEAST, _MOST = 24, 64  # bytes, as the specification wants


def new_secret() -> str:
    """A secret of 32 random bytes, in the form that the libraries read."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def read_secret(path: Path) -> bytes:
    """The secret in the first line of a file.

    Raises:
        InputNotFoundError: if there is no such file.
        ConfigError: if it cannot be read, or holds none; what it holds is not shown.
    """
    try:
        text = path.read_text(encoding="utf-8").partition("\n")[0].strip()
    except FileNotFoundError:
        raise InputNotFoundError(
            f"secret file {str(path)!r} does not exist", remedy=f"Make one: disc-stream events secret {path}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"secret file {str(path)!r} cannot be read: {type(error).__name__}") from None
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if not text.startswith(PREFIX) or not _LEAST <= len(key) <= _MOST:
        raise ConfigError(
            f"secret file {str(path)!r} holds no {PREFIX}… with {_LEAST} to {_MOST} bytes in base64",
            remedy=f"Make one: disc-stream events secret {path}",
        )
    return key


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The signature of a webhook.

    Args:
        key: the secret's bytes.
        message_id: of the event.
        timestamp: Unix seconds at which it is sent.
        body: what is sent.
    """
    signed = b".".join((message_id.encode(), str(timestamp).encode(), body))
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"
