"""Which descriptions of devices were stored last: brokers send them again on every connection."""

from __future__ import annotations

import hashlib

from disc_stream.wire.mqtt import Message

_MOST = 200_000  # descriptions whose last content is remembered


class KnownMetas:
    """The last description of each topic, as a digest."""

    def __init__(self) -> None:
        self._digests: dict[str, bytes] = {}

    def is_last(self, message: Message) -> bool:
        """Whether this is the description that was stored last."""
        return self._digests.get(message.topic) == _digest(message)

    def remember(self, message: Message) -> None:
        """This one is stored."""
        if len(self._digests) >= _MOST:
            self._digests.clear()
        self._digests[message.topic] = _digest(message)

    def forget(self, topic: str) -> None:
        """Drop what is known of a topic."""
        self._digests.pop(topic, None)


def _digest(message: Message) -> bytes:
    return hashlib.blake2b(message.payload, digest_size=8).digest()
