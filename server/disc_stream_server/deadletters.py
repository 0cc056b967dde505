"""Dead letters looked at and sent again, for the command and for the API."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from disc_stream.errors import BrokerError, InputNotFoundError, PayloadError
from disc_stream.wire.broker import Broker
from disc_stream.wire.codecs import decode_batch
from disc_stream.wire.meta import decode_meta
from disc_stream.wire.mqtt import MqttLink
from disc_stream_server.storage.queries import StateQueries
from disc_stream_server.storage.records import DeadLetter

_CONFIRM_S = 30.0
_TOPIC_KEPT = 1_024  # characters; longer topics are cut when they are stored


@dataclass(frozen=True, slots=True)
class SentAgain:
    """What came of it.

    Args:
        chosen: letters.
        windows: of these, windows that the model could not use: they are kept to be looked at, and not sent.
        cut: messages that were too long to be kept whole.
        confirmed: messages that the broker has taken.
        refused: messages that it has refused.
    """

    chosen: int
    windows: int
    cut: int
    confirmed: int
    refused: int


def letter_at(store: StateQueries, position: int) -> DeadLetter:
    """The dead letter at a position.

    Raises:
        InputNotFoundError: if there is none.
    """
    letter = store.dead_letter(position)
    if letter is None:
        raise InputNotFoundError(
            f"there is no dead letter at position {position}", remedy="See: disc-stream deadletter list"
        )
    return letter


def send_again(letters: Sequence[DeadLetter], url: str) -> SentAgain:
    """Publish dead letters on their topics, and wait for the broker.

    Args:
        letters: windows among them, and what was cut, are left out and counted.
        url: of the broker.

    Raises:
        BrokerError: if it cannot be reached, or does not confirm in time.
    """
    messages = [one for one in letters if one.topic]  # windows that the model could not use have none
    whole = [one for one in messages if one.size == len(one.payload) and len(one.topic) < _TOPIC_KEPT]
    sent, refused = _publish(whole, url)
    return SentAgain(
        len(letters), len(letters) - len(messages), len(messages) - len(whole), sent - refused, refused
    )


def _publish(letters: Sequence[DeadLetter], url: str) -> tuple[int, int]:
    """How many were sent, and how many the broker refused."""
    if not letters:
        return 0, 0
    link = MqttLink(Broker.parse(url), f"disc-stream-deadletter-{secrets.token_hex(4)}")
    try:
        link.connect()
        for letter in letters:
            link.publish(letter.topic, letter.payload, content_type=letter.content_type or None)
        if not link.flush(_CONFIRM_S):
            raise BrokerError(f"the broker at {link.broker} did not confirm all messages in {_CONFIRM_S:g} s")
        return len(letters), link.refused
    finally:
        link.close()


def decode_again(store: StateQueries, letter: DeadLetter) -> str:
    """What the current decoder says; the code, or the device's description, may have been fixed since."""
    if not letter.topic:
        return "a window that the model could not use: its samples, float32, row by row"
    if letter.size > len(letter.payload):
        return "the payload was cut when it was stored"
    try:
        if letter.topic.endswith("/meta"):
            decode_meta(letter.payload)
            return "a description that can be used"
        described = store.state(0, "meta", letter.device) if letter.device else None
        meta = decode_meta(described) if described else None
        batch = decode_batch(
            letter.payload, device=letter.device or "unknown", content_type=letter.content_type, meta=meta
        )
    except PayloadError as error:
        return f"{error.reason}: {error}"
    n, channels = batch.samples.shape
    return (
        f"a batch of {n} samples x {channels} channels at {batch.fs:g} Hz, boot {batch.boot}, seq {batch.seq}"
    )
