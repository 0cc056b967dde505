"""``disc-stream export``."""

from __future__ import annotations


def export() -> None:
    """Placeholder."""
