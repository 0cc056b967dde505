"""Roles, each of which may do what those before it may."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What somebody may do.

    ``device`` downloads models and reads nothing else: for a device that labels itself, which may be stolen.
    ``viewer`` reads; ``operator`` also names, merges, tags, rejects labels and asks for a retraining;
    ``admin`` also promotes, rolls back, sends dead letters again, and makes and revokes tokens.
    """

    DEVICE = "device"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """Higher may do more."""
        return list(Role).index(self)

    def includes(self, other: Role) -> bool:
        """Whether this role may do what another may."""
        return self.rank >= other.rank


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks.

    Args:
        name: for histories.
        role: what may be done.
        token: id of the token; "" where none is needed.
        by_cookie: whether it came with a cookie, which a browser sends on its own.
    """

    name: str
    role: Role
    token: str = ""
    by_cookie: bool = False
