"""One MQTT connection: paho configured so that nothing is lost and refusals are errors.

The edge, the server and the command line all talk through this class (docs/adr/0003). What it settles:
a fixed client id with ``clean_start=False`` keeps the broker's queue for us; a Receive Maximum makes the
broker hold back when we are slow; subscriptions are renewed on every connect and a refused one is an
error; an exception in a handler is logged instead of killing paho's network thread; acknowledgements of
an earlier connection are not sent on a later one, because brokers re-use message ids; two clients that
throw each other out with one id are told so instead of fighting for ever; no call waits without an end.
"""

from __future__ import annotations

import logging
import struct
import threading
import time
from collections.abc import Callable, Iterable

import paho.mqtt.client as paho
from paho.mqtt.client import PUBACK
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from disc_stream.errors import BrokerError
from disc_stream.wire.broker import Broker
from disc_stream.wire.bulk import BulkSender, Client
from disc_stream.wire.delivery import Message, Unconfirmed, Will, is_lost
from disc_stream.wire.netloop import NetworkLoop, OnBurst
from disc_stream.wire.subscriptions import Subscriptions
from disc_stream.wire.tls import connect_error, make_context, refusal_remedy

__all__ = ["Message", "MqttLink", "Will", "is_lost"]

log = logging.getLogger(__name__)

KEEPALIVE_S = 30
_FAILURE = 0x80  # MQTT 5, 2.4: reason codes from here on are refusals
_MOST_BULK = 1_000  # the same of ``publish_many``
_MOST_IN_FLIGHT = 1_000  # unconfirmed messages of ours on the way, where the broker sets no lower limit
_PUBACK = struct.Struct("!BBH")  # MQTT 3.4
_ACKS = 512
_SHORT_LIFE_S, _MANY_SHORT_LIVES = 5.0, 3
_SESSION_TAKEN_OVER = 0x8E  # MQTT 5, 3.14.2.1: another client connected with our id


Handler = Callable[[Message], None]


class MqttLink:
    """A connection to a broker that heals itself.

    Args:
        broker: address and credentials.
        client_id: fixed id where the broker shall keep a session, else any unique text.
        on_message: called on the network thread for every message; must be quick.
        on_up: called on the network thread after each (re)connect, once subscriptions were renewed.
        on_down: called on the network thread with the reason when a connection is lost.
        on_fatal: called on the network thread when going on is pointless (another client took our id);
            without it the link goes on trying.
        on_burst: called on the network thread whenever all that had arrived was handed to ``on_message``,
            and once a second; it may tell in how many seconds it wants to be called again.
        session_expiry_s: how long the broker keeps queue and subscriptions; 0 starts clean.
        receive_maximum: QoS 1 messages the broker may have in flight to us (MQTT 5).
        manual_ack: whether messages are acknowledged by ``ack`` instead of by paho.
        will: last will.
    """

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        *,
        on_message: Handler | None = None,
        on_up: Callable[[], None] | None = None,
        on_down: Callable[[str], None] | None = None,
        on_fatal: Callable[[BrokerError], None] | None = None,
        on_burst: OnBurst | None = None,
        session_expiry_s: int = 0,
        receive_maximum: int = 1000,
        manual_ack: bool = False,
        will: Will | None = None,
    ) -> None:
        self.broker = broker
        self.client_id = client_id
        self._on_message, self._on_up, self._on_down = on_message, on_up, on_down
        self._on_fatal = on_fatal
        self._session_expiry_s = session_expiry_s
        self._receive_maximum = receive_maximum
        self._epoch = 0
        self._ack_lock = threading.Lock()  # an acknowledgement goes to the connection it belongs to
        self._subscriptions = Subscriptions(v5=broker.protocol == "5")
        self._unconfirmed = Unconfirmed()
        self._answered = threading.Event()  # connected and subscribed, refused, or broken before that
        self._connected = threading.Event()
        self._refusal: str | None = None
        self._refused_publishing: set[str] = set()  # reasons said already
        self.refused = 0
        """QoS 1 messages that the broker answered with a refusal."""
        self._closing = False
        self._connected_at = 0.0
        self._short_lives = 0
        self._client = self._make_client(manual_ack)
        self._bulk = BulkSender(self._write, v5=broker.protocol == "5")
        self._loop = NetworkLoop(
            self._client, f"mqtt-{client_id}", self._handle_connect_fail, self._handle_drop, on_burst
        )
        if will is not None:
            self._client.will_set(will.topic, will.payload, qos=1, retain=True)

    def _make_client(self, manual_ack: bool) -> paho.Client:
        v5 = self.broker.protocol == "5"
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self.client_id,
            protocol=paho.MQTTv5 if v5 else paho.MQTTv311,
            clean_session=None if v5 else self._session_expiry_s == 0,
            manual_ack=manual_ack,
        )
        if self.broker.username is not None:
            client.username_pw_set(self.broker.username, self.broker.password)
        if self.broker.tls:
            client.tls_set_context(make_context(self.broker))
        client.on_connect = self._handle_connect
        client.on_disconnect = self._handle_disconnect
        client.on_message = self._handle_message
        client.on_subscribe = self._handle_subscribe
        client.on_publish = self._handle_publish
        client.on_foreign_ack = self._handle_bulk_ack
        client.on_plain = self._handle_plain
        return client

    # -- life ---------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the current connection."""
        return self._connected.is_set()

    def connect(self, timeout_s: float = 10.0) -> None:
        """Connect and wait for the broker's answer, also to the subscriptions made so far.

        Later breaks are healed in the background.

        Raises:
            BrokerError: if the broker cannot be reached, refuses, or does not answer in time.
        """
        self._client.connect_timeout = timeout_s
        properties = None
        if self.broker.protocol == "5":
            properties = _properties(PacketTypes.CONNECT)
            properties.ReceiveMaximum = self._receive_maximum
            properties.SessionExpiryInterval = self._session_expiry_s
        try:
            self._client.connect(
                self.broker.host,
                self.broker.port,
                keepalive=KEEPALIVE_S,
                clean_start=(
                    self._session_expiry_s == 0
                    if self.broker.protocol == "5"
                    else paho.MQTT_CLEAN_START_FIRST_ONLY
                ),
                properties=properties,
            )
        except (OSError, ValueError) as error:
            raise connect_error(self.broker, error) from error
        self._loop.start()
        if not self._answered.wait(timeout_s):
            self.close()
            raise BrokerError(
                f"the broker at {self.broker} did not answer within {timeout_s:g} s",
                remedy="Check that an MQTT broker listens there",
            )
        if self._refusal is not None:
            self.close()
            raise BrokerError(
                f"the broker at {self.broker} refused {self._refusal}",
                remedy=refusal_remedy(self.broker),
            )

    def close(self, timeout_s: float = 5.0) -> None:
        """Disconnect cleanly (no last will) and stop the network thread. May be called twice.

        A broker that hangs does not make this hang: after ``timeout_s`` the (daemon) thread is left alone.
        """
        self._closing = True
        self._client.disconnect()
        if not self._loop.stop(timeout_s):
            log.warning("the connection to broker %s did not close within %g s", self.broker, timeout_s)

    # -- use ----------------------------------------------------------------------------------------

    def subscribe(self, topic_filter: str, qos: int = 1) -> None:
        """Subscribe now (if connected) and after every reconnect."""
        self._subscriptions.add(topic_filter, qos, self._client if self.connected else None)

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        content_type: str | None = None,
    ) -> paho.MQTTMessageInfo:
        """Queue a message; with QoS 1 it is kept and sent again until the broker has confirmed it.

        Returns:
            paho's handle: ``is_published()`` and ``wait_for_publish(timeout)``; see ``is_lost``.
        """
        properties = None
        if content_type is not None and self.broker.protocol == "5":
            properties = _properties(PacketTypes.PUBLISH)
            properties.ContentType = content_type
        info = self._client.publish(topic, payload, qos, retain, properties)
        if qos > 0 and not is_lost(info):
            # paho says "no connection" although it keeps the message and sends it later.
            info.rc = MQTTErrorCode.MQTT_ERR_SUCCESS
            self._unconfirmed.add(info)
        return info

    def publish_many(self, messages: Iterable[tuple[str, bytes]], *, retain: bool = False) -> None:
        """Publish messages (topic, payload) with QoS 1, each for a fraction of what ``publish`` costs."""
        self._bulk.put(messages, retain=retain)

    def flush(self, timeout_s: float) -> bool:
        """Wait until the broker has confirmed every QoS 1 message; False if time ran out before."""
        deadline = time.monotonic() + timeout_s
        return self._unconfirmed.wait(timeout_s) and self._bulk.wait(max(0.0, deadline - time.monotonic()))

    def _write(self, packets: bytes) -> None:
        """Hand whole packets to paho's socket; PUBACK, because paho looks for nothing more in that."""
        self._client._packet_queue(PUBACK, packets, 0, 1)  # noqa: SLF001

    @property
    def sent(self) -> int:
        """Messages of ``publish_many`` since the start."""
        return self._bulk.added

    @property
    def settled(self) -> int:
        """How many of them, counted from the first without a hole, the broker has confirmed."""
        return self._bulk.settled

    def ack(self, *messages: Message) -> None:
        """Acknowledge QoS 1 messages (``manual_ack``); those from an earlier connection are passed over."""
        with self._ack_lock:
            epoch = self._epoch
            mids = [message.mid for message in messages if message.qos == 1 and message.epoch == epoch]
            # Many small packets in one piece: paho would make a system call of each.
            for start in range(0, len(mids), _ACKS):
                packets = b"".join([_PUBACK.pack(0x40, 2, mid) for mid in mids[start : start + _ACKS]])
                self._write(packets)

    def wake(self) -> None:
        """Let ``on_burst`` be called soon, though nothing has arrived."""
        self._loop.wake()

    @property
    def silent_s(self) -> float:
        """Seconds since the network thread last came around; a healthy one does every second."""
        return time.monotonic() - self._loop.ticked

    # -- paho's callbacks, on the network thread ------------------------------------------------------

    def _handle_connect(
        self,
        _client: paho.Client,
        _userdata: object,
        _flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._refusal = f"the connection: {reason}"
            if self._answered.is_set():  # before that, `connect` raises it
                log.error("broker %s refused the connection: %s", self.broker, reason)
            self._answered.set()
            return
        # paho passes over the broker's limit, and its setter works before the connection only.
        limit = getattr(properties, "ReceiveMaximum", _MOST_IN_FLIGHT)
        self._client._max_inflight_messages = min(limit, _MOST_IN_FLIGHT)  # noqa: SLF001
        self._next_epoch()
        self._connected_at = time.monotonic()
        self._loop.connected()
        self._bulk.up(min(limit, _MOST_BULK))
        self._connected.set()
        self._subscriptions.renew(self._client)
        if self._subscriptions.are_answered:
            self._answered.set()
        self._guarded("on_up", self._on_up)

    def _next_epoch(self) -> None:
        """From here on, acknowledgements of messages received so far are passed over."""
        with self._ack_lock:
            self._epoch += 1

    def _handle_subscribe(
        self,
        _client: paho.Client,
        _userdata: object,
        mid: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        for refusal in self._subscriptions.answered(mid, reasons):
            log.error("broker %s refused %s", self.broker, refusal)
            if not self._answered.is_set():
                self._refusal = refusal
        if self._subscriptions.are_answered:
            self._answered.set()

    def _handle_publish(
        self,
        _client: paho.Client,
        _userdata: object,
        _mid: int,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._note_refusal(str(reason))

    def _handle_bulk_ack(self, mid: int, code: int) -> bool:
        ours = self._bulk.acknowledge(mid)
        if ours and code >= _FAILURE:
            self._note_refusal(str(ReasonCode(PacketTypes.PUBACK, identifier=code)))
        return ours

    def _note_refusal(self, reason: str) -> None:
        self.refused += 1
        if reason not in self._refused_publishing:
            self._refused_publishing.add(reason)
            log.error("broker %s refuses messages of ours: %s", self.broker, reason)

    def _handle_connect_fail(self) -> None:
        if not self._closing:
            log.warning("broker %s is not reachable; trying again", self.broker)

    def _handle_disconnect(
        self,
        _client: paho.Client,
        _userdata: object,
        _flags: paho.DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        was_connected = self._connected.is_set()
        self._connected.clear()
        self._bulk.down()
        self._next_epoch()
        if not self._answered.is_set():
            if self._refusal is None:
                self._refusal = f"the connection: closed by the broker ({reason})"
            self._answered.set()
        if self._closing or not was_connected:
            return
        if reason.value == _SESSION_TAKEN_OVER and self._on_fatal is not None:
            self._give_up()
            return
        log.warning("connection to broker %s lost: %s; reconnecting", self.broker, reason)
        self._note_life_span()
        if self._on_down is not None:
            on_down = self._on_down
            self._guarded("on_down", lambda: on_down(str(reason)))

    def _handle_drop(self) -> None:
        """An error of ours has ended the connection: what came over it is not acknowledged on the next."""
        self._connected.clear()
        self._bulk.down()
        self._next_epoch()
        if self._on_down is not None:
            on_down = self._on_down
            self._guarded("on_down", lambda: on_down("an error in the network thread"))

    def _note_life_span(self) -> None:
        """Older brokers do not say that another client took our id; connections that last a second do."""
        short = time.monotonic() - self._connected_at < _SHORT_LIFE_S
        self._short_lives = self._short_lives + 1 if short else 0
        if self._short_lives == _MANY_SHORT_LIVES:
            log.warning(
                "connections to broker %s keep breaking at once; does another client use the id %r too?",
                self.broker, self.client_id,
            )  # fmt: skip

    def _give_up(self) -> None:
        """Stay disconnected: whoever took our client id would be thrown out by us in turn."""
        self._closing = True
        self._loop.end()
        error = BrokerError(
            f"another client took over the id {self.client_id!r} at {self.broker}",
            remedy="Stop one of the two, or give each its own id with --client-id",
        )
        on_fatal = self._on_fatal
        if on_fatal is not None:
            self._guarded("on_fatal", lambda: on_fatal(error))

    def _handle_message(self, _client: paho.Client, _userdata: object, raw: paho.MQTTMessage) -> None:
        if self._on_message is None:
            return
        try:  # reading the topic may raise, too: paho decodes it at that moment
            self._on_message(self._take(raw))
        except Exception:
            log.exception("error in the on_message handler; the connection goes on")

    def _handle_plain(
        self, topic: bytes, payload: bytes, content_type: bytes, retained: bool, mid: int
    ) -> None:
        if self._on_message is None:
            return
        try:
            name, kind = topic.decode("utf-8", "replace"), content_type.decode("utf-8", "replace")
            self._on_message(Message(name, payload, kind, 1, retained, mid, self._epoch))
        except Exception:
            log.exception("error in the on_message handler; the connection goes on")

    def _take(self, raw: paho.MQTTMessage) -> Message:
        return Message(
            topic=raw.topic,
            payload=bytes(raw.payload),
            content_type=getattr(raw.properties, "ContentType", "") if raw.properties else "",
            qos=raw.qos,
            retained=raw.retain,
            mid=raw.mid,
            epoch=self._epoch,
        )

    @staticmethod
    def _guarded(name: str, call: Callable[[], None] | None) -> None:
        """Run a handler; paho's network thread would die of its exception."""
        if call is None:
            return
        try:
            call()
        except Exception:
            log.exception("error in the %s handler; the connection goes on", name)


def _properties(packet_type: int) -> Properties:
    """Paho's Properties, whose constructor carries no types."""
    return Properties(packet_type)  # type: ignore[no-untyped-call]
