"""What a phone scans: the QR code of a URL, on the terminal and as a picture."""

from __future__ import annotations

import io
from pathlib import Path

import segno


def terminal_code(url: str) -> str:
    """A QR code in lines of text, two rows in each line."""
    out = io.StringIO()
    segno.make(url, error="m", micro=False).terminal(out, compact=True)
    return out.getvalue()


def save_code(url: str, file: Path) -> None:
    """Write a QR code as PNG."""
    with file.open("wb") as out:
        segno.make(url, error="m", micro=False).save(out, kind="png", scale=8)
