"""Another client with an id of ours, where the broker does not say so.

MQTT 5 has a reason for it, which Mosquitto sends from 2.0.15 on, and not in the 2.0.11 of Debian 12: there
the connection just ends. The server has two connections. A broker that goes away ends both of them; whoever
comes with the id of one ends that one only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass

log = logging.getLogger(__name__)

_APART_S = 2.0  # within which a broker that goes away ends both


@dataclass(frozen=True, slots=True)
class End:
    """A connection that the broker ended, without a reason.

    Args:
        client_id: of the connection.
        at: when, in monotonic seconds of this machine.
    """

    client_id: str
    at: float


class Rivals:
    """Counts connections that ended while the other one stayed; one thread uses it."""

    def __init__(self) -> None:
        self._open: list[End] = []
        self.count = 0

    def look(self, now: float, ends: Iterable[End], stayed_since: float | None) -> None:
        """Judge what has ended on one connection.

        Args:
            now: monotonic seconds.
            ends: what has ended since the last call.
            stayed_since: begin of the other connection, None while there is none.
        """
        self._open += ends
        due = [end for end in self._open if now - end.at >= _APART_S]
        self._open = [end for end in self._open if now - end.at < _APART_S]
        for end in due:
            if stayed_since is None or stayed_since >= end.at:
                continue
            self.count += 1
            log.error(
                "the broker ended the connection of %r and not our other one: another client has probably "
                "connected with that id (%d times so far); stop it, or give each its own --client-id; "
                "if nobody else should know the password, renew it",
                end.client_id, self.count,
            )  # fmt: skip
