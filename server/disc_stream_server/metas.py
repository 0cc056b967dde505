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
from collections.abc import Callable, Mapping
from functools import lru_cache

import cbor2

from disc_stream.errors import PayloadError
from disc_stream.types import DeviceMeta
from disc_stream.wire.broker import Broker
from disc_stream.wire.meta import decode_meta
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink
from disc_stream.wire.topics import SERVER, Kind, Topics
from disc_stream_server.storage.spool import Row

log = logging.getLogger(__name__)

HOLD_US = 10_000_000
HELD_PER_DEVICE = 32
HELD_BYTES = 16 * 2**20

_SHARED_BYTES = 4_096  # a description that is longer is not shared
_FACT = "meta/"
_HELD = "held"


class MetaBook:
    """Descriptions of devices, by device; the one that was used longest ago leaves the memory first.

    Args:
        max_devices: descriptions kept in memory.
        archived: finds a description on disk, None if there is none.
    """

    def __init__(
        self, max_devices: int, archived: Callable[[str], bytes | None] = lambda _device: None
    ) -> None:
        self._max_devices, self._archived = max_devices, archived
        self._metas: OrderedDict[str, DeviceMeta | None] = OrderedDict()
        self._held: OrderedDict[str, deque[Row]] = OrderedDict()  # oldest first
        self._deadlines: dict[str, int] = {}
        self._held_bytes = 0
        self._changes: dict[str, bytes] = {}
        self._leaving: dict[str, bytes] = {}  # given out to be put on disk, and not there yet
        self._held_changed = False

    def of(self, device: str) -> DeviceMeta | None:
        """A device's description, if it is known."""
        if device in self._metas:
            self._metas.move_to_end(device)
            return self._metas[device]
        name = _FACT + device
        payload = self._changes.get(name, self._leaving.get(name))
        payload = self._archived(name) if payload is None else payload
        try:
            meta = _decode(payload) if payload else None
        except PayloadError:  # written by a version with other rules
            meta = None
        self._keep(device, meta)
        return meta

    def learn(self, device: str, payload: bytes) -> deque[Row]:
        """Keep a description; returns the payloads that waited for it, in order.

        Raises:
            PayloadError: if it is none.
        """
        self._keep(device, _decode(payload))
        self._changes[_FACT + device] = payload
        return self._release(device)

    def forget(self, device: str) -> None:
        """Drop a description that its device has withdrawn."""
        self._keep(device, None)
        self._changes[_FACT + device] = b""

    def drop(self, device: str) -> None:
        """Forget a device that was erased from the disk, too."""
        self._metas.pop(device, None)
        self._changes.pop(_FACT + device, None)
        self._leaving.pop(_FACT + device, None)
        self._release(device)

    def hold(self, device: str, row: Row) -> bool:
        """Keep a payload until the device's meta comes; False if there is no room."""
        held = self._held.get(device, ())
        if len(held) >= HELD_PER_DEVICE or self._held_bytes + len(row.payload) > HELD_BYTES:
            return False
        if device not in self._held:
            self._held[device] = deque()
            self._deadlines[device] = row.received_us + HOLD_US
        self._held[device].append(row)
        self._held_bytes += len(row.payload)
        self._held_changed = True
        return True

    def expired(self, now_us: int) -> list[tuple[str, Row]]:
        """Give up on payloads that waited too long: (device, payload).

        Args:
            now_us: server time, the same clock as the rows'; a clock that was set back ends all waiting.
        """
        given_up: list[tuple[str, Row]] = []
        while self._held:
            device = next(iter(self._held))
            if 0 < self._deadlines[device] - now_us <= HOLD_US:  # not over, and not in the future either
                break
            given_up += [(device, row) for row in self._release(device)]
        return given_up

    def changes(self) -> dict[str, bytes]:
        """What has to be put on disk since the last call: descriptions, and the rows that wait."""
        changes, self._changes = self._changes, {}
        self._leaving |= changes
        if self._held_changed:
            self._held_changed = False
            changes[_HELD] = cbor2.dumps(
                [[d, [row.position for row in rows]] for d, rows in self._held.items()]
            )
        return changes

    def saved(self, changes: Mapping[str, bytes]) -> None:
        """What ``changes`` gave is on disk now."""
        for name, payload in changes.items():
            if self._leaving.get(name) is payload:
                del self._leaving[name]

    def restore(self, facts: Mapping[str, bytes], find: Callable[[int], Row | None]) -> None:
        """Take up the rows that waited when ``changes`` was put on disk."""
        for device, positions in cbor2.loads(facts.get(_HELD) or b"\x80"):
            for row in filter(None, map(find, positions)):
                self.hold(device, row)
        self._held_changed = False

    def _keep(self, device: str, meta: DeviceMeta | None) -> None:
        self._metas[device] = meta
        self._metas.move_to_end(device)
        if len(self._metas) > self._max_devices:
            self._metas.popitem(last=False)

    def _release(self, device: str) -> deque[Row]:
        rows = self._held.pop(device, deque())
        self._deadlines.pop(device, None)
        self._held_bytes -= sum(len(row.payload) for row in rows)
        self._held_changed = self._held_changed or bool(rows)
        return rows


@lru_cache(maxsize=256)
def _decode_shared(payload: bytes) -> DeviceMeta:
    """Devices of one kind say the same: one description for all of them saves 1 KiB for each."""
    return decode_meta(payload)


def _decode(payload: bytes) -> DeviceMeta:
    return _decode_shared(payload) if len(payload) <= _SHARED_BYTES else decode_meta(payload)


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

    link = MqttLink(broker, f"{client_id}-meta-{token.hex()[:6]}", LinkListener(on_message=take))
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
