"""One MQTT connection, looked at closely: every answer of the broker with its reason.

``MqttLink`` heals connections and hides what it can; here nothing is healed and nothing hidden.
"""

from __future__ import annotations

import queue
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from disc_stream.wire.broker import Broker
from disc_stream.wire.client import Client, connect_properties
from disc_stream.wire.dial import dial
from disc_stream.wire.tls import connect_error, make_context

PATIENCE_S = 5.0
NOT_AUTHORIZED = 0x87
_KEEPALIVE_S = 20
_FAILURE = 0x80
_LIMITS = (
    "ReceiveMaximum", "MaximumPacketSize", "MaximumQoS", "RetainAvailable", "WildcardSubscriptionAvailable",
    "SharedSubscriptionAvailable", "SubscriptionIdentifierAvailable", "ServerKeepAlive", "TopicAliasMaximum",
    "SessionExpiryInterval",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of trying to connect.

    Args:
        accepted: whether the broker let us in.
        reason: in words; of a failure below MQTT, too.
        answered: whether an MQTT broker answered at all.
        session_present: whether it had kept a session for us.
        limits: MQTT 5 properties of its answer, by name.
        code: MQTT reason code, None where nobody answered.
    """

    accepted: bool
    reason: str
    answered: bool = True
    session_present: bool = False
    limits: Mapping[str, int] = field(default_factory=dict)
    code: int | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """A message that came."""

    topic: str
    payload: bytes
    retained: bool


class Probe:
    """A connection; leaves nothing behind unless a session is asked for. To be used with ``with``.

    Args:
        broker: address and credentials.
        client_id: of the connection.
        clean: begin without what the broker may have kept.
        session_expiry_s: how long the broker shall keep the session.
        will: (topic, payload) that the broker publishes if we vanish.
    """

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        *,
        clean: bool = True,
        session_expiry_s: int = 0,
        will: tuple[str, bytes] | None = None,
    ) -> None:
        self._broker, self._clean, self._expiry_s = broker, clean, session_expiry_s
        self._v5 = broker.protocol == "5"
        self._answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._acks: dict[int, int] = {}
        self._heard: list[Heard] = []
        self._changed = threading.Condition()
        self.closed = False
        """Whether the broker has ended the connection."""
        self._context = make_context(broker) if broker.tls else None
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=paho.MQTTv5 if self._v5 else paho.MQTTv311,
            clean_session=None if self._v5 else clean,
            reconnect_on_failure=False,
        )
        if broker.username is not None:
            self._client.username_pw_set(broker.username, broker.password)
        if will is not None:
            self._client.will_set(*will, qos=1)
        self._client.on_connect, self._client.on_disconnect = self._on_connect, self._on_disconnect
        self._client.on_message, self._client.on_publish = self._on_message, self._on_publish
        self._client.on_subscribe = self._on_subscribe

    def __enter__(self) -> Probe:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def connect(self, timeout_s: float = PATIENCE_S) -> Answer:
        """Try to connect; failures of every kind are answers, too."""
        properties = connect_properties(self._expiry_s) if self._v5 else None
        try:
            self._client.ready = dial(self._broker, self._context, timeout_s)
            self._client.connect(
                self._broker.host,
                self._broker.port,
                keepalive=_KEEPALIVE_S,
                clean_start=self._clean if self._v5 else paho.MQTT_CLEAN_START_FIRST_ONLY,
                properties=properties,
            )
        except (OSError, ValueError) as error:
            return Answer(False, connect_error(self._broker, error).message, answered=_is_tls(error))
        self._client.loop_start()
        try:
            return self._answers.get(timeout=timeout_s)
        except queue.Empty:
            return Answer(False, f"no answer within {timeout_s:g} s", answered=False)

    def close(self) -> None:
        """Disconnect. May be called twice."""
        self._client.disconnect()
        self._client.loop_stop()
        self._free()

    def vanish(self) -> None:
        """Cut the connection without a word, so that the broker publishes the last will."""
        connection = self._client.socket()
        self._client.loop_stop()
        if connection is not None:
            connection.close()
        self._free()

    def _free(self) -> None:
        """Close the sockets that paho's loop wakes itself with; paho leaves them to its destructor."""
        self._client._reset_sockets(sockpair_only=True)  # noqa: SLF001

    def subscribe(self, topic_filter: str) -> int | None:
        """The broker's reason code; None if it did not answer."""
        _, mid = (
            self._client.subscribe(topic_filter, options=SubscribeOptions(qos=1))
            if self._v5
            else self._client.subscribe(topic_filter, qos=1)
        )
        return self._ack(mid)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int | None:
        """The broker's reason code for a message of QoS 1; None if it did not answer."""
        return self._ack(self._client.publish(topic, payload, qos=1, retain=retain).mid)

    def heard(self) -> list[Heard]:
        """What has come so far."""
        with self._changed:
            return list(self._heard)

    def wait_for(self, what: Callable[[Heard], bool], timeout_s: float = PATIENCE_S) -> Heard | None:
        """The first message of a kind; None if none came in time."""
        found: list[Heard] = []

        def look() -> bool:
            found[:] = [heard for heard in self._heard if what(heard)]
            return bool(found) or self.closed

        with self._changed:
            self._changed.wait_for(look, timeout_s)
        return found[0] if found else None

    def wait_closed(self, timeout_s: float = PATIENCE_S) -> bool:
        """Wait until the broker ends the connection; False if it does not."""
        with self._changed:
            return self._changed.wait_for(lambda: self.closed, timeout_s)

    def _ack(self, mid: int | None) -> int | None:
        if mid is None:
            return None
        with self._changed:
            self._changed.wait_for(lambda: mid in self._acks or self.closed, PATIENCE_S)
            return self._acks.pop(mid, None)

    # -- paho's callbacks, on its thread ----------------------------------------------------------------

    def _on_connect(
        self, _client: paho.Client, _data: Any, flags: paho.ConnectFlags, reason: ReasonCode, told: Any
    ) -> None:
        limits = {name: int(value) for name in _LIMITS if (value := getattr(told, name, None)) is not None}
        self._answers.put(
            Answer(
                not reason.is_failure,
                str(reason),
                session_present=flags.session_present,
                limits=limits,
                code=reason.value,
            )
        )

    def _on_disconnect(
        self, _client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, _told: Any
    ) -> None:
        # Before an answer to our CONNECT: refused below MQTT, as TLS 1.3 refuses a client's certificate.
        self._answers.put(Answer(False, f"the connection was closed ({reason})", answered=False))
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        with self._changed:
            self._heard.append(Heard(message.topic, bytes(message.payload), message.retain))
            self._changed.notify_all()

    def _on_publish(self, _client: paho.Client, _data: Any, mid: int, reason: ReasonCode, _told: Any) -> None:
        self._note(mid, reason.value)

    def _on_subscribe(
        self, _client: paho.Client, _data: Any, mid: int, reasons: list[ReasonCode], _told: Any
    ) -> None:
        self._note(mid, max(reason.value for reason in reasons))

    def _note(self, mid: int, code: int) -> None:
        with self._changed:
            self._acks[mid] = code
            self._changed.notify_all()


def refused(code: int | None) -> bool:
    """Whether a reason code is a refusal; no answer is one as well, for the broker then has hung up."""
    return code is None or code >= _FAILURE


def silent_for(seconds: float, probe: Probe, what: Callable[[Heard], bool]) -> bool:
    """Whether nothing of a kind comes for a while."""
    return probe.wait_for(what, seconds) is None


def milliseconds_since(begin: float) -> float:
    """Of ``time.perf_counter``."""
    return (time.perf_counter() - begin) * 1e3


def _is_tls(error: Exception) -> bool:
    return isinstance(error, ssl.SSLError)
