"""One MQTT connection: paho configured so that nothing is lost and refusals are errors.

The edge, the server and the command line all talk through this class (docs/adr/0003). What it settles:
a fixed client id with ``clean_start=False`` keeps the broker's queue for us, and a broker that has lost it is
warned of; a Receive Maximum makes the broker hold back when we are slow, and its own holds us back;
subscriptions are renewed on every connect and a refused one is an error; an exception in a handler is logged
instead of killing the network thread; acknowledgements belong to the connection that brought the message;
of two clients that throw each other out with one id, those that nobody depends on give up; connecting, the
look-up of the broker's name included, has time limits, keeps no other thread waiting and can be stopped.
"""

from __future__ import annotations

import itertools
import logging
import struct
import threading
import time
from collections.abc import Callable, Iterable, Sequence

import paho.mqtt.client as paho
from paho.mqtt.client import PUBACK
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from disc_stream.errors import BrokerError
from disc_stream.sparselog import SparseLog
from disc_stream.wire.broker import Broker
from disc_stream.wire.client import Client, prepare
from disc_stream.wire.delivery import FAILURE, Delivery, LinkListener, Message, Origin, Session, Will
from disc_stream.wire.dial import LOOKUP_S, Dial, NoAnswerError
from disc_stream.wire.history import LinkHistory
from disc_stream.wire.netloop import NetworkLoop
from disc_stream.wire.outages import OUTAGES
from disc_stream.wire.sender import Sender
from disc_stream.wire.subscriptions import Subscriptions
from disc_stream.wire.tls import connect_error, make_context, refusal_remedy

__all__ = ["Delivery", "LinkListener", "Message", "MqttLink", "Origin", "Session", "Will"]

log = logging.getLogger(__name__)
_MAX_IN_FLIGHT = 1_000  # unconfirmed messages of ours on the way, where the broker sets no lower limit
_PUBACK = struct.Struct("!BBH")  # MQTT 3.4
_ACKS = 512
_GRACE_S = 2.0  # for the network thread to tell what it waited for in vain: it knows better
_SESSION_TAKEN_OVER = 0x8E  # MQTT 5, 3.14.2.1: another client connected with our id

_HANDLER_FAILED = "error in the on_message handler; the connection goes on"
_links = itertools.count(1)


class MqttLink:
    """A connection to a broker that heals itself.

    Args:
        broker: address and credentials.
        client_id: fixed id where the broker shall keep a session, else any unique text.
        listener: is told of messages and of the connection.
        session: what is asked of the broker.

    Raises:
        ConfigError: if a file of certificates or keys cannot be used.
    """

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        listener: LinkListener | None = None,
        session: Session | None = None,
    ) -> None:
        self.broker = broker
        self.client_id = client_id
        self._listener = listener or LinkListener()
        self._session = session or Session()
        self._v5 = broker.protocol == "5"
        self._log = SparseLog(log)
        self._number = next(_links)
        self._origin = Origin(self._number, 0)
        self._ack_lock = threading.Lock()  # an acknowledgement goes to the connection it belongs to
        self._subscriptions = Subscriptions(v5=self._v5)
        self._timeout_s = 0.0
        self._named = threading.Event()  # the first look-up of the broker's name is over
        self._answered = threading.Event()  # connected and subscribed, refused, or broken before that
        self._connected = threading.Event()
        self._problem: Exception | None = None  # that kept the first attempt from reaching the broker
        self._refusal: str | None = None
        self._closing = self._broken_off = False
        self.history = LinkHistory(broker, client_id, keeps_session=self._session.expiry_s > 0)
        self._context = make_context(broker) if broker.tls else None
        self._client = self._make_client()
        self._sender = Sender(self._write, v5=self._v5)
        self._loop = NetworkLoop(
            self._client,
            f"mqtt-{client_id}",
            self._dial,
            self._handle_connect_fail,
            self._handle_drop,
            self._listener.on_burst,
        )

    def _make_client(self) -> Client:
        session = self._session
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self.client_id,
            protocol=paho.MQTTv5 if self._v5 else paho.MQTTv311,
            clean_session=None if self._v5 else session.expiry_s == 0,
            manual_ack=session.manual_ack,
            reconnect_on_failure=False,  # the network loop does that
        )
        if self.broker.username is not None:
            client.username_pw_set(self.broker.username, self.broker.password)
        if session.will is not None:
            client.will_set(session.will.topic, session.will.payload, qos=1, retain=True)
        client.on_connect = self._handle_connect
        client.on_disconnect = self._handle_disconnect
        client.on_message = self._handle_message
        client.on_subscribe = self._handle_subscribe
        client.on_acks = self._handle_acks
        client.on_plain = self._handle_plain
        client.wants = None if self._listener.wants is None else self._handle_wants
        return client

    # -- life ---------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the current connection."""
        return self._connected.is_set()

    @property
    def connecting(self) -> str:
        """What is done to get a connection, and for how long there has been none; "" while there is one."""
        doing = self._loop.doing
        away_s = time.monotonic() - self.history.since
        return f"{doing}, {away_s:.0f} s without a connection{self.history.rival}" if doing else ""

    @property
    def silent_s(self) -> float:
        """Seconds since the network thread last came around; a healthy one does every second.

        It does so while it connects, too: a thread that has not come around for long is stuck.
        """
        return time.monotonic() - self._loop.ticked

    def connect(self, timeout_s: float = 10.0) -> None:
        """Connect and wait for the broker's answer, also to the subscriptions made so far.

        Later breaks are healed in the background.

        Args:
            timeout_s: for this and each later attempt; begins when the broker's address is known, which
                may take ``disc_stream.wire.dial.LOOKUP_S`` in addition.

        Raises:
            BrokerError: if the broker cannot be reached, refuses, or does not answer in time, or if ``close``
                is called meanwhile.
        """
        self._timeout_s = timeout_s
        prepare(self._client, self.broker, self._session)
        if self._closing:
            raise BrokerError(f"connecting to the broker at {self.broker} was broken off")
        self._loop.start()
        self._named.wait(LOOKUP_S + _GRACE_S)
        if not self._answered.wait(timeout_s + _GRACE_S):
            self._problem = NoAnswerError(f"it did not answer within {timeout_s:g} s")
        if self._problem is not None or self._refusal is not None:
            self.close()
        if self._problem is not None:
            raise connect_error(self.broker, self._problem) from self._problem
        if self._refusal is not None:
            raise BrokerError(
                f"the broker at {self.broker} refused {self._refusal}", remedy=refusal_remedy(self.broker)
            )
        if self._broken_off:
            raise BrokerError(f"connecting to the broker at {self.broker} was broken off")

    def begin(self, timeout_s: float = 10.0) -> None:
        """Connect in the background, however long that takes; refusals are logged, ``on_up`` is called."""
        self._timeout_s = timeout_s
        prepare(self._client, self.broker, self._session)
        self._named.set()
        self._answered.set()
        self._loop.start()

    def close(self, timeout_s: float = 5.0) -> None:
        """Disconnect cleanly (no last will) and stop the network thread. May be called twice.

        A broker that hangs does not make this hang: after ``timeout_s`` the (daemon) thread is left alone.
        """
        self._closing = True
        OUTAGES.ended(str(self.broker), self._number)
        self._broken_off = not self._answered.is_set()
        self._named.set()
        self._answered.set()
        self._client.disconnect()
        if not self._loop.stop(timeout_s):
            log.warning("the connection to broker %s did not close within %g s", self.broker, timeout_s)

    # -- use ----------------------------------------------------------------------------------------

    def subscribe(self, topic_filter: str, qos: int = 1) -> None:
        """Subscribe now (if connected) and after every reconnect."""
        self._subscriptions.add(topic_filter, qos, self._client if self.connected else None)

    def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, content_type: str | None = None
    ) -> Delivery:
        """Send a message with QoS 1; it is kept and sent again until the broker has confirmed it."""
        return self._sender.put(topic, payload, retain=retain, content_type=content_type)

    def publish_many(self, messages: Iterable[tuple[str, bytes]], *, retain: bool = False) -> None:
        """Publish messages (topic, payload) in order, as ``publish`` does, for less processor time."""
        self._sender.put_many(messages, retain=retain)

    def flush(self, timeout_s: float, *, reconnect: bool = True) -> bool:
        """Wait until the broker has answered every message; False if there are some left.

        Args:
            timeout_s: longest wait.
            reconnect: whether to wait for another connection where there is none.
        """
        return self._sender.wait(timeout_s, reconnect=reconnect)

    @property
    def sent(self) -> int:
        """Messages published since the start."""
        return self._sender.added

    @property
    def refused(self) -> int:
        """How many of them the broker has refused."""
        return self.history.refused

    @property
    def settled(self) -> int:
        """How many of them, counted from the first without a hole, the broker has answered."""
        return self._sender.settled

    def ack(self, *messages: Message) -> None:
        """Acknowledge QoS 1 messages (``Session.manual_ack``).

        Those that came over another connection, of this link or of any other, are ignored.
        """
        with self._ack_lock:
            origin = self._origin
            mids = [message.mid for message in messages if message.qos == 1 and message.origin is origin]
            # Many small packets in one piece: paho would make a system call of each.
            for start in range(0, len(mids), _ACKS):
                packets = b"".join([_PUBACK.pack(0x40, 2, mid) for mid in mids[start : start + _ACKS]])
                self._write(packets)

    def wake(self) -> None:
        """Let ``on_burst`` be called soon, though nothing has arrived, whatever the link waits for."""
        self._loop.wake()

    def _write(self, packets: bytes) -> None:
        """Hand whole packets to paho's socket; PUBACK, because paho looks for nothing more in that."""
        self._client._packet_queue(PUBACK, packets, 0, 1)  # noqa: SLF001

    def _dial(self, on_end: Callable[[], None]) -> Dial:
        return Dial(self.broker, self._context, self._timeout_s, on_named=self._named.set, on_end=on_end)

    # -- callbacks, on the network thread -------------------------------------------------------------

    def _handle_connect(
        self,
        _client: paho.Client,
        _userdata: object,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._refusal = f"the connection: {reason}"
            if self._answered.is_set():  # before that, `connect` raises it
                log.error("broker %s refused the connection: %s", self.broker, reason)
            self._answered.set()
            return
        self._begin_epoch()
        self._loop.connected()
        OUTAGES.back(str(self.broker), self._number)
        self.history.up(session_present=flags.session_present)
        limit = getattr(properties, "ReceiveMaximum", _MAX_IN_FLIGHT)
        self._sender.up(min(limit, _MAX_IN_FLIGHT))
        self._connected.set()
        self._subscriptions.renew(self._client)
        if self._subscriptions.are_answered:
            self._answered.set()
        self._guarded("on_up", self._listener.on_up)

    def _begin_epoch(self) -> None:
        """From here on, acknowledgements of messages received so far are ignored."""
        with self._ack_lock:
            self._origin = Origin(self._number, self._origin.epoch + 1)

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

    def _handle_acks(self, acks: Sequence[tuple[int, int]]) -> None:
        self._sender.acknowledge(acks)
        for _, code in acks:
            if code >= FAILURE:
                self.history.refusal(str(ReasonCode(PacketTypes.PUBACK, identifier=code)))

    def _handle_connect_fail(self, error: Exception) -> None:
        if not self._answered.is_set():
            self._problem = error
            self._named.set()
            self._answered.set()
        elif not self._closing:
            OUTAGES.failed(str(self.broker), self._number, error)

    def _handle_disconnect(
        self,
        _client: paho.Client,
        _userdata: object,
        _flags: paho.DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        was_connected = self._go_down()
        if not self._answered.is_set():
            if self._refusal is None:
                self._refusal = f"the connection: closed by the broker ({reason})"
            self._answered.set()
        if self._closing or not was_connected:
            return
        if reason.value == _SESSION_TAKEN_OVER:
            self.history.taken_over()
            self._loop.contest()
            if self._listener.on_fatal is not None:
                self._give_up()
                return
        elif self._loop.was_ended:
            self.history.ended()
        OUTAGES.lost(str(self.broker), self._number, str(reason))
        self._tell_down(str(reason))

    def _handle_drop(self) -> None:
        """An error of ours has ended the connection: what came over it is not acknowledged on the next."""
        self._go_down()
        self._tell_down("an error in the network thread")

    def _go_down(self) -> bool:
        """There is no connection any more; whether there was one."""
        was_connected = self._connected.is_set()
        self._connected.clear()
        self._sender.down()
        self._begin_epoch()
        if was_connected and not self._closing:
            self.history.down()
        return was_connected

    def _tell_down(self, reason: str) -> None:
        if (on_down := self._listener.on_down) is not None:
            self._guarded("on_down", lambda: on_down(reason))

    def _give_up(self) -> None:
        """Stay disconnected: whoever took our client id would be thrown out by us in turn."""
        self._closing = True
        OUTAGES.ended(str(self.broker), self._number)
        self._loop.end()
        error = BrokerError(
            f"another client took over the id {self.client_id!r} at {self.broker}",
            remedy="Stop one of the two, or give each its own id (--client-id) or account",
        )
        if (on_fatal := self._listener.on_fatal) is not None:
            self._guarded("on_fatal", lambda: on_fatal(error))

    def _handle_message(self, _client: paho.Client, _userdata: object, raw: paho.MQTTMessage) -> None:
        try:  # reading the topic may raise, too: paho decodes it at that moment
            content_type = getattr(raw.properties, "ContentType", "") if raw.properties else ""
            payload, origin = bytes(raw.payload), self._origin
            self._pass_on(Message(raw.topic, payload, content_type, raw.qos, raw.retain, raw.mid, origin))
        except Exception:  # noqa: BLE001 - it is logged, and a flood of them is not
            self._log.error("", "on_message", _HANDLER_FAILED, exc_info=True)

    def _handle_wants(self, topic: bytes, size: int) -> bool:
        wants = self._listener.wants
        return wants is None or wants(topic.decode("utf-8", "replace"), size)

    def _handle_plain(
        self, topic: bytes, payload: bytes, content_type: bytes, retained: bool, mid: int, dropped: int
    ) -> None:
        try:
            name, kind = topic.decode("utf-8", "replace"), content_type.decode("utf-8", "replace")
            self._pass_on(Message(name, payload, kind, 1, retained, mid, self._origin, dropped))
        except Exception:  # noqa: BLE001 - it is logged, and a flood of them is not
            self._log.error("", "on_message", _HANDLER_FAILED, exc_info=True)

    def _pass_on(self, message: Message) -> None:
        if self._listener.on_message is not None:
            self._listener.on_message(message)

    @staticmethod
    def _guarded(name: str, call: Callable[[], None] | None) -> None:
        """Run a handler; the network thread would die of its exception."""
        if call is None:
            return
        try:
            call()
        except Exception:
            log.exception("error in the %s handler; the connection goes on", name)
