"""What a server would get of one device, read as it reads it."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from disc_stream.types import SampleBatch
from disc_stream.wire.broker import Broker
from disc_stream.wire.codecs import decode_batch
from disc_stream.wire.meta import decode_meta
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink, Session
from disc_stream.wire.status import decode_device_status


class Heard:
    """Counts batches by (boot, seq) and compares their samples.

    Args:
        url: of the broker.
        device: id of the device.
        expected: the samples of a batch, by its number.
    """

    def __init__(
        self, url: str | Broker, device: str, expected: Callable[[SampleBatch], npt.NDArray[np.int16]]
    ) -> None:
        self.copies: Counter[tuple[int, int]] = Counter()
        self.order: list[tuple[int, int]] = []
        self.boots: list[int] = []
        self.meta: dict[str, Any] = {}
        self.changed = threading.Condition()
        self._device, self._expected, self._meta = device, expected, b""
        broker = url if isinstance(url, Broker) else Broker.parse(url)
        self.link = MqttLink(
            broker, f"heard-{device}", LinkListener(on_message=self._take), Session(expiry_s=6_000)
        )
        self.link.subscribe(f"ds/v1/{device}/#")
        self.link.connect()

    def _take(self, message: Message) -> None:
        kind = message.topic.rpartition("/")[2]
        if kind == "meta":
            with self.changed:
                self._meta, self.meta = message.payload, json.loads(message.payload)
                self.changed.notify_all()
        elif kind == "status":
            self.boots.append(decode_device_status(message.payload).boot)
        elif kind == "raw":
            batch = decode_batch(
                message.payload, device=self._device, content_type="", meta=decode_meta(self._meta)
            )
            np.testing.assert_array_equal(batch.samples, self._expected(batch))
            with self.changed:
                if not self.copies[batch.boot, batch.seq]:
                    self.order.append((batch.boot, batch.seq))
                self.copies[batch.boot, batch.seq] += 1
                self.changed.notify_all()

    def wait(self, what: Callable[[], bool], timeout: float = 60) -> None:
        with self.changed:
            assert self.changed.wait_for(what, timeout), len(self.copies)
