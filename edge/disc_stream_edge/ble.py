"""A wearable over Bluetooth Low Energy: packed batches in frames on the Nordic UART, such as of a Bangle.js.

The watch keeps a batch until it is acknowledged, which happens once the publisher asks for the next one:
with an outbox it is on disk by then. Its boots and numbers are kept, so the server knows what comes twice.
"""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import random
import re
import struct
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from disc_stream.errors import DataError, PayloadError
from disc_stream.sparselog import SparseLog
from disc_stream.types import DeviceMeta, SampleBatch
from disc_stream.wire.codecs import CONTENT_TYPES, Encoding, decode_batch
from disc_stream.wire.limits import MAX_UINT32
from disc_stream.wire.meta import decode_meta
from disc_stream.wire.topics import check_device
from disc_stream_edge.frames import Frames, acknowledgement
from disc_stream_edge.sources import BatchSize

if TYPE_CHECKING:
    from bleak import BleakClient
    from bleak.backends.client import BaseBleakClient

log = logging.getLogger(__name__)

NOTIFY = "6e400003-b5a3-f393-e0a9-e50e24dcca9e"
WRITE = "6e400002-b5a3-f393-e0a9-e50e24dcca9e"
_ADDRESS = re.compile(
    r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
)
_READY = b"?"  # tells the watch that somebody listens
_FIRST_RETRY_S, _LONGEST_RETRY_S = 1.0, 60.0
_POLL_S = 0.1
_BATCH = 0xD5


class BleLink:
    """Keeps a connection to one wearable, on a thread of its own.

    Args:
        where: address or advertised name.
        stop: ends it.
        backend: of bleak; None for that of the system.
    """

    def __init__(
        self, where: str, stop: threading.Event, backend: type[BaseBleakClient] | None = None
    ) -> None:
        self._where, self._stop, self._backend = where, stop, backend
        self._received: queue.Queue[bytes] = queue.Queue()
        self._runner = asyncio.Runner()
        self._loop = self._runner.get_loop()
        self._client: BleakClient | None = None
        self._log = SparseLog(log)
        self.damaged = 0
        """Bytes that came damaged."""
        self._thread = threading.Thread(target=self._run, name="ble", daemon=True)
        self._thread.start()

    def next(self) -> bytes | None:
        """The next frame's payload; None if it is stopped."""
        while not self._stop.is_set():
            try:
                return self._received.get(timeout=_POLL_S)
            except queue.Empty:
                continue
        return None

    def acknowledge(self, boot: int, seq: int) -> None:
        """Let the watch forget a batch; one that does not hear it sends the batch again."""
        writing = self._write(acknowledgement(boot, seq))
        try:
            asyncio.run_coroutine_threadsafe(writing, self._loop)
        except RuntimeError:  # it is over
            writing.close()

    def close(self) -> None:
        """Wait until the connection is closed; ``stop`` is set."""
        self._thread.join(10.0)

    def _run(self) -> None:
        with self._runner:
            self._runner.run(self._stay_connected())

    async def _stay_connected(self) -> None:
        from bleak.exc import BleakError

        delay = _FIRST_RETRY_S
        while not self._stop.is_set():
            try:
                if await self._connection():
                    delay = _FIRST_RETRY_S
            except (BleakError, OSError, TimeoutError) as error:
                self._log.warning(self._where, "ble", "%s: %s; trying again", self._where, error)
            await self._sleep(random.uniform(delay / 2, delay))  # noqa: S311 - no secret
            delay = min(delay * 2, _LONGEST_RETRY_S)

    async def _connection(self) -> bool:
        """One connection, from its beginning to its end; False if the wearable is not there."""
        from bleak import BleakClient, BleakScanner

        where: object = self._where
        if not _ADDRESS.fullmatch(self._where):
            where = await BleakScanner.find_device_by_name(self._where)
            if where is None:
                self._log.warning(self._where, "ble", "%s is not in reach; looking again", self._where)
                return False
        frames, gone = Frames(), asyncio.Event()
        client = BleakClient(where, disconnected_callback=lambda _: gone.set(), backend=self._backend)  # type: ignore[arg-type]
        async with client:
            await client.start_notify(NOTIFY, lambda _, data: self._take(frames, bytes(data)))
            self._client = client
            try:
                await self._write(_READY)
                while not gone.is_set() and not self._stop.is_set():
                    await self._sleep(_POLL_S, gone)
            finally:
                self._client = None
                self.damaged += frames.skipped
        return True

    async def _sleep(self, seconds: float, event: asyncio.Event | None = None) -> None:
        """Sleep, but not beyond ``stop`` or the event."""
        end = self._loop.time() + seconds
        # `stop` is set by another thread, so it is looked at.
        while not self._stop.is_set() and not (event and event.is_set()) and self._loop.time() < end:  # noqa: ASYNC110
            await asyncio.sleep(min(_POLL_S, max(0.0, end - self._loop.time())))

    def _take(self, frames: Frames, data: bytes) -> None:
        for payload in frames.feed(data):
            self._received.put(payload)

    async def _write(self, data: bytes) -> None:
        from bleak.exc import BleakError

        if self._client is None:
            return  # the watch sends again what is not acknowledged
        try:
            await self._client.write_gatt_char(WRITE, data, response=False)
        except (BleakError, OSError) as error:
            self._log.warning(self._where, "ble-write", "%s: %s", self._where, error)


class BleSource:
    """A wearable as a source of batches that it has numbered and stamped itself.

    Waits for the wearable to say what it measures.

    Args:
        link: to it.
        device: device id.
        on_boot: called with boot and description when the wearable has started anew.

    Raises:
        TopicError: if the device id is not valid.
        DataError: if it was stopped before the wearable was found.
    """

    paced = False
    total_samples = None
    resumes = True
    """Its boot goes on when the gateway is started again."""

    def __init__(
        self, link: BleLink, *, device: str, on_boot: Callable[[int, DeviceMeta], None] | None = None
    ) -> None:
        self.device = check_device(device)
        self._link, self._on_boot = link, on_boot
        self._log = SparseLog(log)
        self.malformed = 0
        """Frames that are no batch of this device."""
        said = None
        while said is None:
            payload = link.next()
            if payload is None:
                raise DataError("the wearable was not found", remedy="Is it near, and is the app running?")
            said = self._described(payload)
        self.boot, self.meta = said

    def batches(self, n_samples: BatchSize) -> Iterator[SampleBatch]:  # noqa: ARG002 - the watch decides
        """Batches as the watch made them, each acknowledged when the next one is asked for."""
        while (payload := self._link.next()) is not None:
            said = self._described(payload)
            if said is not None:
                self._describe(*said)
                continue
            batch = self._decoded(payload)
            if batch is not None:
                yield batch
            if payload[:1] == bytes((_BATCH,)) and len(payload) >= 16:
                boot, seq = struct.unpack_from("<II", payload, 8)
                self._link.acknowledge(boot, seq)

    def _describe(self, boot: int, meta: DeviceMeta) -> None:
        if boot != self.boot and self._on_boot is not None:
            self._on_boot(boot, meta)
        self.boot, self.meta = boot, meta

    def _described(self, payload: bytes) -> tuple[int, DeviceMeta] | None:
        """Boot and description, if these are what a payload has."""
        if payload[:1] != b"{":
            return None
        try:
            boot = json.loads(payload).get("boot")
            if not isinstance(boot, int) or not 0 <= boot <= MAX_UINT32:
                self._refuse("the description has no boot")
                return None
            return boot, decode_meta(payload)
        except (ValueError, PayloadError) as error:
            self._refuse(str(error))
            return None

    def _decoded(self, payload: bytes) -> SampleBatch | None:
        try:
            batch = decode_batch(
                payload, device=self.device, content_type=CONTENT_TYPES[Encoding.PACKED], meta=self.meta
            )
        except PayloadError as error:
            self._refuse(str(error))
            return None
        if batch.boot != self.boot:
            self._refuse(f"batch {batch.seq} is of boot {batch.boot}, and the watch has said {self.boot}")
            return None
        return batch

    def _refuse(self, why: str) -> None:
        self.malformed += 1
        self._log.warning(self.device, "frame", "a frame of %s is left out: %s", self.device, why)
