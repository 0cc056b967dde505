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
from collections.abc import Mapping
from functools import lru_cache

import msgspec

from disc_stream.errors import PayloadError
from disc_stream.stream.residents import Archive, no_archive
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
HELD_BYTES_PER_DEVICE = 2**20

_SHARED_BYTES = 4_096  # a description that is longer is not shared


class Held:
    """Payloads that wait for the meta of their device.

    Args:
        hold_us: how long they wait, in microseconds of the watermark.
    """

    def __init__(self, hold_us: int = HOLD_US) -> None:
        self._hold_us = hold_us
        self._rows: OrderedDict[str, deque[Row]] = OrderedDict()  # the device that waits for longest first
        self._deadlines: dict[str, int] = {}
        self._bytes = 0
        self._changed: set[str] = set()

    def hold(self, device: str, row: Row, now_us: int) -> bool:
        """Keep a payload until the device's meta comes; False if there is no room."""
        held = self._rows.get(device, ())
        size = len(row.payload)
        if len(held) >= HELD_PER_DEVICE or self._bytes + size > HELD_BYTES:
            return False
        if held and size + sum(len(one.payload) for one in held) > HELD_BYTES_PER_DEVICE:
            return False
        if device not in self._rows:
            self._rows[device] = deque()
            self._deadlines[device] = now_us + self._hold_us
        self._rows[device].append(row)
        self._bytes += len(row.payload)
        self._changed.add(device)
        return True

    def release(self, device: str) -> deque[Row]:
        """Give out the payloads of a device, in order."""
        rows = self._rows.pop(device, None)
        if rows is None:
            return deque()
        del self._deadlines[device]
        self._bytes -= sum(len(row.payload) for row in rows)
        self._changed.add(device)
        return rows

    def expired(self, now_us: int) -> list[tuple[str, Row]]:
        """Give up on payloads that waited too long by the watermark: (device, payload)."""
        given_up: list[tuple[str, Row]] = []
        while self._rows:
            device = next(iter(self._rows))
            if now_us < self._deadlines[device]:
                break
            given_up += [(device, row) for row in self.release(device)]
        return given_up

    def capture(self) -> dict[str, bytes]:
        """What has changed since the last call: the rows themselves, for they are not read again."""
        changed, self._changed = self._changed, set()
        return {device: self._encode(device) for device in sorted(changed)}

    def committed(self, taken: Mapping[str, bytes]) -> None:
        """What ``capture`` gave is on disk; nothing depends on it."""

    def forget(self, device: str) -> None:
        """Drop what waits of a device."""
        self.release(device)
        self._changed.discard(device)

    def restore(self, states: Mapping[str, bytes]) -> None:
        """Take up what ``capture`` gave."""
        saved = {device: msgspec.msgpack.decode(state, type=_SavedHeld) for device, state in states.items()}
        for device, one in sorted(saved.items(), key=lambda item: item[1].deadline_us):
            self._rows[device] = deque(one.rows)
            self._deadlines[device] = one.deadline_us
            self._bytes += sum(len(row.payload) for row in one.rows)

    def _encode(self, device: str) -> bytes:
        rows = self._rows.get(device)
        return (
            b"" if rows is None else msgspec.msgpack.encode(_SavedHeld(self._deadlines[device], list(rows)))
        )


class _SavedHeld(msgspec.Struct):
    deadline_us: int
    rows: list[Row]


class MetaBook:
    """Descriptions of devices, by device; the one that was used longest ago leaves the memory first.

    Args:
        max_devices: descriptions kept in memory.
        archived: finds the description of a device on disk, None if there is none.
    """

    def __init__(self, max_devices: int, archived: Archive = no_archive) -> None:
        self._max_devices, self._archived = max_devices, archived
        self._metas: OrderedDict[str, DeviceMeta | None] = OrderedDict()
        self._changes: dict[str, bytes] = {}
        self._taken: dict[str, bytes] = {}  # captured, not yet committed
        self.held = Held()
        """Payloads that wait for a description."""

    def of(self, device: str) -> DeviceMeta | None:
        """A device's description, if it is known."""
        if device in self._metas:
            self._metas.move_to_end(device)
            return self._metas[device]
        payload = self._changes.get(device, self._taken.get(device))
        payload = self._archived(device) if payload is None else payload
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
        self._changes[device] = payload
        return self.held.release(device)

    def withdraw(self, device: str) -> None:
        """Drop a description that its device has withdrawn."""
        self._metas.pop(device, None)
        self._changes[device] = b""

    def capture(self) -> dict[str, bytes]:
        """Descriptions that have changed since the last call; empty for withdrawn ones."""
        taken, self._changes = self._changes, {}
        self._taken |= taken
        return taken

    def committed(self, taken: Mapping[str, bytes]) -> None:
        """What ``capture`` gave is on disk."""
        for device, payload in taken.items():
            if self._taken.get(device) is payload:
                del self._taken[device]

    def forget(self, device: str) -> None:
        """Drop what is known of a device."""
        self._metas.pop(device, None)
        self._changes.pop(device, None)
        self._taken.pop(device, None)

    def _keep(self, device: str, meta: DeviceMeta | None) -> None:
        self._metas[device] = meta
        self._metas.move_to_end(device)
        if len(self._metas) > self._max_devices:
            self._metas.popitem(last=False)


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
