"""A device that sends what a test tells it to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from disc_stream.types import Channel, DeviceMeta, SampleBatch
from disc_stream.wire.broker import Broker
from disc_stream.wire.codecs import CONTENT_TYPES, Encoding, encode_batch
from disc_stream.wire.meta import encode_meta
from disc_stream.wire.mqtt import MqttLink
from disc_stream.wire.topics import Kind, Topics
from tests.support.tiny_bundle import CHANNELS, FS

REST, LEFT, RIGHT = (0.0, 0.0, 0.0), (10.0, 0.0, 0.0), (0.0, 10.0, 0.0)


def constant(mean: Sequence[float], n: int) -> npt.NDArray[np.float32]:
    """n samples that are all alike."""
    return np.tile(np.asarray(mean, dtype=np.float32), (n, 1))


def make_batch(
    device: str,
    seq: int,
    samples: npt.NDArray[np.generic],
    *,
    boot: int = 1,
    start: int | None = None,
    fs: float = FS,
    channels: tuple[Channel, ...] = CHANNELS,
) -> SampleBatch:
    """A batch of a device whose batches are all equally long, unless ``start`` tells its first sample."""
    first = seq * len(samples) if start is None else start
    return SampleBatch(device, boot, seq, round(first * 1e6 / fs), fs, channels, samples)


class Sender:
    """Publishes batches, as any device would.

    Args:
        url: of the broker.
    """

    def __init__(self, url: str) -> None:
        self._topics = Topics()
        self.link = MqttLink(Broker.parse(url), "test-sender")
        self.link.connect()

    def send(self, batch: SampleBatch, encoding: Encoding = Encoding.CBOR, *, describe: bool = True) -> None:
        """Publish a batch."""
        payload = encode_batch(batch, encoding, describe_channels=describe)
        self.raw(batch.device, payload, CONTENT_TYPES[encoding])

    def raw(self, device: str, payload: bytes, content_type: str = "") -> None:
        """Publish any bytes as samples of a device."""
        self.link.publish(self._topics.of(device, Kind.RAW), payload, content_type=content_type or None)

    def meta(self, device: str, channels: tuple[Channel, ...] = CHANNELS, fs: float = FS) -> None:
        """Publish a device's description."""
        payload = encode_meta(DeviceMeta(fs, channels))
        self.link.publish(self._topics.of(device, Kind.META), payload, retain=True)

    def flush(self) -> None:
        """Wait until the broker has everything."""
        assert self.link.flush(10)
