"""``disc-stream watch``."""

from __future__ import annotations


def watch() -> None:
    """Placeholder."""
