"""What is remarkable about the connections of a link over time, counted, and logged where it matters."""

from __future__ import annotations

import logging
import time
from collections import deque

from disc_stream.wire.broker import Broker

log = logging.getLogger(__name__)

_MAX_ENDS = 64
_SHORT_LIFE_S, _MANY_SHORT_LIVES = 5.0, 3


class LinkHistory:
    """Notes connections, breaks and refusals, on the network thread; any thread may read the numbers.

    Args:
        broker: that the link connects to.
        client_id: of the link.
        keeps_session: whether the broker is asked to keep our queue while we are away.
    """

    def __init__(self, broker: Broker, client_id: str, *, keeps_session: bool) -> None:
        self._broker, self._client_id, self._keeps_session = broker, client_id, keeps_session
        self._was_connected = False
        self._short_lives = 0
        self._reasons: set[str] = set()  # of refusals, logged already
        self.since = time.monotonic()
        """When the present connection began, or the last one was lost, monotonic seconds."""
        self.session_present = False
        """Whether the broker had kept a session for us when the last connection began."""
        self.sessions_lost = 0
        """How often the broker should have kept our queue and had none for us when we came back."""
        self.takeovers = 0
        """How often another client connected with our id, which ended our connection."""
        self.rival = ""
        """In words, while there is no connection: that this is why."""
        self.ends: deque[float] = deque(maxlen=_MAX_ENDS)
        """When the broker ended connections without a reason, monotonic; whoever reads it empties it."""
        self.refused = 0
        """QoS 1 messages of ours that the broker answered with a refusal."""

    def up(self, *, session_present: bool) -> None:
        """A connection has begun."""
        self.since = time.monotonic()
        self.session_present = session_present
        if self._was_connected and self._keeps_session and not session_present:
            self.sessions_lost += 1
            log.warning(
                "broker %s has lost the session of %r: messages that came while the connection was away are "
                "lost; let it keep its data over a restart (Mosquitto: persistence true)",
                self._broker, self._client_id,
            )  # fmt: skip
        self._was_connected = True

    def down(self) -> None:
        """A connection is lost.

        Older brokers do not say that another client took our id; connections that last a second do.
        """
        self.rival = ""
        short = time.monotonic() - self.since < _SHORT_LIFE_S
        self.since = time.monotonic()
        self._short_lives = self._short_lives + 1 if short else 0
        if self._short_lives == _MANY_SHORT_LIVES:
            log.warning(
                "connections to broker %s keep breaking at once; does another client use the id %r too?",
                self._broker, self._client_id,
            )  # fmt: skip

    def taken_over(self) -> None:
        """The broker said, as it ended the connection, that another client has our id."""
        self.takeovers += 1
        self.rival = f"; another client connected as {self._client_id!r}"
        log.error(
            "another client connected to broker %s as %r and took over our connection (%d times so far): "
            "stop it, or give each its own --client-id; if nobody else should know the password, renew it",
            self._broker, self._client_id, self.takeovers,
        )  # fmt: skip

    def ended(self) -> None:
        """The broker ended the connection, and did not say why."""
        self.ends.append(time.monotonic())

    def refusal(self, reason: str) -> None:
        """The broker refuses a message of ours; each reason is logged once."""
        self.refused += 1
        if reason not in self._reasons:
            self._reasons.add(reason)
            log.error("broker %s refuses messages of ours: %s", self._broker, reason)
