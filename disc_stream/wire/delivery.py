"""Values of an MQTT connection: messages, where they came from, who listens, what is asked of the broker."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from disc_stream.errors import BrokerError
from disc_stream.wire.limits import MAX_PACKET_BYTES

FAILURE = 0x80
"""MQTT 5, 2.4: reason codes from here on are refusals."""

FIRST_MID = 32_768
"""The first message id of our own QoS 1 messages; paho uses the lower ones (for subscriptions)."""


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """The connection that a message came over; compared by identity.

    Message ids mean something on that connection only: brokers use them again on the next one, and two
    connections of one process use the same ones at the same time.

    Args:
        link: number of the ``MqttLink`` within this process.
        epoch: number of its connection; a reconnect begins another.
    """

    link: int
    epoch: int


class Message(msgspec.Struct, frozen=True, gc=False):
    """One received message.

    Args:
        topic: full topic.
        payload: bytes as sent.
        content_type: MQTT 5 content type, "" where the publisher gave none.
        qos: quality of service it was delivered with.
        retained: whether the broker kept it from before the subscription.
        mid: message id, for the acknowledgement.
        origin: the connection it came over.
        dropped: bytes of a payload that the listener did not want (``LinkListener.wants``); it is empty then.
    """

    topic: str
    payload: bytes
    content_type: str
    qos: int
    retained: bool
    mid: int
    origin: Origin
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained, when the connection breaks."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class LinkListener:
    """What a link tells, and to whom. All are called on the network thread and must be quick.

    Args:
        on_message: called for every message.
        on_up: called after each (re)connect, once subscriptions were renewed.
        on_down: called with the reason when a connection is lost.
        on_fatal: called when another client has taken our id, after which the link stays disconnected;
            without it the link comes back, and throws the other out.
        on_burst: called whenever all that had arrived was handed to ``on_message``, when the link is woken,
            and once a second, connected or not; it may return in how many seconds it wants to be called
            again.
        wants: asked with topic and size before a large payload is read (those of ``inbox.LARGE`` bytes and
            more, QoS 1); if it is not wanted it is read over, and ``on_message`` gets the message without it.
    """

    on_message: Callable[[Message], None] | None = None
    on_up: Callable[[], None] | None = None
    on_down: Callable[[str], None] | None = None
    on_fatal: Callable[[BrokerError], None] | None = None
    on_burst: Callable[[], float | None] | None = None
    wants: Callable[[str, int], bool] | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """What a link asks of the broker.

    Args:
        expiry_s: how long the broker keeps queue and subscriptions of ours; 0 starts clean.
        receive_maximum: QoS 1 messages the broker may have in flight to us (MQTT 5).
        manual_ack: whether messages are acknowledged by ``MqttLink.ack`` instead of on receipt.
        will: last will.
        max_packet_bytes: larger messages are dropped by the broker instead of sent to us (MQTT 5).
    """

    expiry_s: int = 0
    receive_maximum: int = 1000
    manual_ack: bool = False
    will: Will | None = None
    max_packet_bytes: int = MAX_PACKET_BYTES


class Delivery:
    """A QoS 1 message of ours on its way; safe to use from several threads."""

    __slots__ = ("_answered", "code")

    def __init__(self) -> None:
        self._answered = threading.Event()
        self.code = 0
        """The broker's reason code (MQTT 5, 3.4.2.1); 0 while there is none, and with MQTT 3.1.1."""

    @property
    def refused(self) -> bool:
        """Whether the broker has answered it with a refusal."""
        return self.code >= FAILURE

    @property
    def is_answered(self) -> bool:
        """Whether the broker has confirmed or refused it."""
        return self._answered.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the broker's answer; False if time ran out before."""
        return self._answered.wait(timeout_s)

    def answer(self, code: int) -> None:
        """Note the broker's answer."""
        self.code = code
        self._answered.set()
