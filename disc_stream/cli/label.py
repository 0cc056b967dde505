"""``disc-stream label``."""

from __future__ import annotations


def label() -> None:
    """Placeholder."""
