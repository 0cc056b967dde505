"""Events on MQTT: at least once, in their order, whatever is restarted."""

from __future__ import annotations

from disc_stream.wire.event import encode_event
from disc_stream.wire.mqtt import MqttLink
from disc_stream.wire.topics import Kind, Topics
from disc_stream_server.storage.journal import Journal

NAME = "mqtt"
"""Of this sink in the journal."""

_AT_ONCE = 500


class Publisher:
    """Publishes what is in the journal, and notes what the broker has confirmed.

    Args:
        link: the connection; it keeps what it was given until that is confirmed.
        topics: where to.
        journal: what is to be told.
    """

    def __init__(self, link: MqttLink, topics: Topics, journal: Journal) -> None:
        self._link, self._topics, self._journal = link, topics, journal
        self._position = self._sent = journal.position(NAME)
        self._barrier = 0  # of the link, behind what was sent

    def step(self) -> bool:
        """Note what is confirmed, publish what is next; whether there may be more at once.

        Raises:
            StorageError: if the journal cannot be read or written.
        """
        if self._sent > self._position:
            if self._link.settled < self._barrier:
                return self._link.connected
            self._journal.advance(NAME, self._sent)
            self._position = self._sent
        if not self._link.connected:
            return False
        events = self._journal.read(self._position, _AT_ONCE)
        if not events:
            return False
        self._link.publish_many(
            (self._topics.of(one.device, Kind.EVENT), encode_event(one)) for one in events
        )
        self._sent, self._barrier = events[-1].number, self._link.sent
        return True
