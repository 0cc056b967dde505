"""A connection to the broker on behalf of one device, or of several that share it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from disc_stream.clock import Clock
from disc_stream.errors import BrokerError
from disc_stream.wire.broker import Broker
from disc_stream.wire.meta import encode_meta
from disc_stream.wire.mqtt import Delivery, LinkListener, MqttLink, Session, Will
from disc_stream.wire.status import DeviceStatus, State, encode_device_status
from disc_stream.wire.topics import Kind, Topics
from disc_stream_edge.outbox import Entry
from disc_stream_edge.sources import Source

_SESSION_S = 10.0  # for the connection and for the birth messages to be confirmed


class Connection:
    """Announces its devices, sends their messages, and counts what the broker has confirmed.

    After each (re)connect it publishes meta and ``online``, because the broker may have published the last
    will meanwhile. A connection shared by several devices has no last will: MQTT allows one per connection.

    Args:
        broker: where to.
        topics: topic grammar with its prefix.
        sources: the devices.
        max_unconfirmed: messages that may wait for the broker's confirmation.
        clock: for the time in status messages.
        on_model: is given what the server says of its model, on the network thread; None does not ask for it.
    """

    def __init__(
        self,
        broker: Broker,
        topics: Topics,
        sources: Sequence[Source],
        max_unconfirmed: int,
        clock: Clock,
        on_model: Callable[[bytes], None] | None = None,
    ) -> None:
        self._topics, self._sources, self._clock = topics, sources, clock
        self._limit = max_unconfirmed
        self._waiting: deque[Delivery] = deque()
        self._born = threading.Event()
        self._taken_over = self._closed = False
        self._metas = {source.device: encode_meta(source.meta) for source in sources}
        self.sent = self.confirmed = 0
        name = sources[0].device if len(sources) == 1 else f"{sources[0].device}+{len(sources) - 1}"
        self._link = MqttLink(
            broker,
            f"{topics.prefix.replace('/', '-')}-{name}",
            LinkListener(
                on_up=self._announce,
                on_fatal=self._note_takeover,
                on_message=None if on_model is None else lambda message: on_model(message.payload),
            ),
            Session(will=self._will()),
        )
        if on_model is not None:
            self._link.subscribe(topics.server_model)

    @property
    def devices(self) -> list[str]:
        """Those that it sends for."""
        return [source.device for source in self._sources]

    @property
    def connected(self) -> bool:
        """Whether the broker is there."""
        return self._link.connected

    def begin(self) -> None:
        """Connect in the background, and announce the devices whenever the broker is there."""
        self._link.begin(_SESSION_S)

    def open(self) -> None:
        """Connect and announce the devices.

        Raises:
            BrokerError: if the broker cannot be reached, or refuses the connection or the messages.
        """
        self._link.connect(_SESSION_S)
        if not self._born.wait(_SESSION_S) or not self._link.flush(_SESSION_S):
            self._link.close()
            raise BrokerError(f"the broker at {self._link.broker} does not confirm messages")
        if self._link.refused:
            self._link.close()
            raise BrokerError(
                f"the broker at {self._link.broker} refuses messages of {self._sources[0].device!r}",
                remedy=self._refusal_remedy(),
            )

    def _refusal_remedy(self) -> str:
        user = self._link.broker.username
        if user is None or user == self._sources[0].device:
            return "Check user name, password and the broker's access rights"
        return f"If {user!r} may publish for itself alone, add --device {user}"

    def send(self, entry: Entry) -> None:
        """Send a message of samples; it is kept and sent again until it is confirmed."""
        self._waiting.append(self.pass_on(entry))
        self.sent += 1

    def pass_on(self, entry: Entry) -> Delivery:
        """Send a message that somebody else counts; labels are retained, as those of a server."""
        kind = Kind(entry.kind)
        return self._link.publish(
            self._topics.of(entry.device, kind),
            entry.payload,
            retain=kind is Kind.LABEL,
            content_type=entry.content_type or None,
        )

    def describe(self, device: str, meta: bytes) -> None:
        """From here on the samples of a device are of this kind; published if it was another one."""
        if meta != self._metas[device]:
            self._metas[device] = meta
            self._link.publish(self._topics.of(device, Kind.META), meta, retain=True)

    def has_room(self, wait_s: float) -> bool:
        """Whether a further message may be sent; waits a little for confirmations if not.

        Raises:
            BrokerError: if another client has taken over the connection.
        """
        self.check()
        self._count()
        if len(self._waiting) >= self._limit:
            self._waiting[0].wait(wait_s)
            self._count()
        return len(self._waiting) < self._limit

    def check(self) -> None:
        """Check that the connection is still ours.

        Raises:
            BrokerError: if another client has taken it over.
        """
        if self._taken_over:
            raise BrokerError(
                f"another publisher sends as {self._sources[0].device!r} at {self._link.broker}",
                remedy="Stop one of the two, or give one its own device id",
            )

    def close(self, timeout_s: float) -> None:
        """Wait until everything is confirmed, publish ``offline``, disconnect; may be called twice."""
        if self._closed:
            return
        self._closed = True
        self._link.flush(timeout_s)
        self._count()
        if self._link.connected:
            for source in self._sources:
                self._publish_status(source, State.OFFLINE)
            self._link.flush(timeout_s)
        self._link.close()

    def _count(self) -> None:
        while self._waiting and self._waiting[0].is_answered:
            self.confirmed += not self._waiting.popleft().refused

    def _announce(self) -> None:
        for source in self._sources:
            topic = self._topics.of(source.device, Kind.META)
            self._link.publish(topic, self._metas[source.device], retain=True)
            self._publish_status(source, State.ONLINE)
        self._born.set()

    def _publish_status(self, source: Source, state: State) -> None:
        status = DeviceStatus(state, source.boot, self._clock.unix_us())
        topic = self._topics.of(source.device, Kind.STATUS)
        self._link.publish(topic, encode_device_status(status), retain=True)

    def _will(self) -> Will | None:
        if len(self._sources) > 1:
            return None
        source = self._sources[0]
        status = DeviceStatus(State.OFFLINE, source.boot, None)
        return Will(self._topics.of(source.device, Kind.STATUS), encode_device_status(status))

    def _note_takeover(self, _error: BrokerError) -> None:
        self._taken_over = True
