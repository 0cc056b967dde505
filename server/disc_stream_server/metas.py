"""What the devices say of themselves, and the payloads that wait for it.

Packed payloads describe no channels: the device's retained ``meta`` does. After a restart the broker
delivers its queue for us before anything retained, so ``fetch_metas`` asks on a connection of its own
first. At run time a payload may still outrun its meta; a few of each device then wait for a moment.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import OrderedDict, deque

from disc_stream.clock import Clock
from disc_stream.types import DeviceMeta
from disc_stream.wire.broker import Broker
from disc_stream.wire.mqtt import Message, MqttLink
from disc_stream.wire.topics import SERVER, Kind, Topics

log = logging.getLogger(__name__)

HOLD_S = 10.0
HELD_PER_DEVICE = 32
HELD_BYTES = 16 * 2**20


class MetaBook:
    """Descriptions of devices, by device; the one that was used longest ago is forgotten first.

    Args:
        clock: tells how long payloads have waited.
        max_devices: descriptions kept.
    """

    def __init__(self, clock: Clock, max_devices: int) -> None:
        self._clock = clock
        self._max_devices = max_devices
        self._metas: OrderedDict[str, DeviceMeta] = OrderedDict()
        self._held: OrderedDict[str, deque[Message]] = OrderedDict()  # oldest first
        self._deadlines: dict[str, float] = {}
        self._held_bytes = 0

    def of(self, device: str) -> DeviceMeta | None:
        """A device's description, if it is known."""
        meta = self._metas.get(device)
        if meta is not None:
            self._metas.move_to_end(device)
        return meta

    def learn(self, device: str, meta: DeviceMeta) -> deque[Message]:
        """Keep a description; returns the payloads that waited for it, in order."""
        self._metas[device] = meta
        self._metas.move_to_end(device)
        if len(self._metas) > self._max_devices:
            self._metas.popitem(last=False)
        return self._release(device)

    def forget(self, device: str) -> None:
        """Drop a description that its device has withdrawn."""
        self._metas.pop(device, None)

    def hold(self, device: str, message: Message) -> bool:
        """Keep a payload until the device's meta comes; False if there is no room."""
        held = self._held.get(device, ())
        if len(held) >= HELD_PER_DEVICE or self._held_bytes + len(message.payload) > HELD_BYTES:
            return False
        if device not in self._held:
            self._held[device] = deque()
            self._deadlines[device] = self._clock.monotonic() + HOLD_S
        self._held[device].append(message)
        self._held_bytes += len(message.payload)
        return True

    def expired(self, *, everything: bool = False) -> list[tuple[str, int]]:
        """Give up on payloads that waited too long: (device, number of payloads)."""
        now = self._clock.monotonic()
        given_up = []
        while self._held:
            device = next(iter(self._held))
            if self._deadlines[device] > now and not everything:
                break
            given_up.append((device, len(self._release(device))))
        return given_up

    def _release(self, device: str) -> deque[Message]:
        messages = self._held.pop(device, deque())
        self._deadlines.pop(device, None)
        self._held_bytes -= sum(len(message.payload) for message in messages)
        return messages


def fetch_metas(broker: Broker, topics: Topics, client_id: str, timeout_s: float = 10.0) -> list[Message]:
    """All retained meta messages, as they are now.

    A message to ourselves marks the end: the broker delivers it after what it had retained.

    Raises:
        BrokerError: if the broker cannot be reached or refuses.
    """
    fence, token = f"{topics.prefix}/{SERVER}/fence", secrets.token_bytes(8)
    found: list[Message] = []
    complete = threading.Event()

    def take(message: Message) -> None:
        if message.topic != fence:
            found.append(message)
        elif message.payload == token:
            complete.set()

    link = MqttLink(broker, f"{client_id}-meta-{token.hex()[:6]}", on_message=take)
    link.subscribe(topics.all_of(Kind.META))
    link.subscribe(fence)
    link.connect(timeout_s)
    try:
        link.publish(fence, token)
        if not complete.wait(timeout_s):
            log.warning("broker %s did not deliver all retained metas within %g s", broker, timeout_s)
    finally:
        link.close()
    return found
