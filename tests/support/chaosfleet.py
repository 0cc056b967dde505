"""Devices that publish whatever happens to the server, and whose own way to the broker is bad, too."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from disc_stream.types import SampleBatch
from disc_stream.wire.broker import Broker
from disc_stream.wire.codecs import CONTENT_TYPES, Encoding, encode_batch
from disc_stream.wire.mqtt import MqttLink
from disc_stream.wire.topics import Kind, Topics
from tests.support.device import make_batch

SAMPLES = 10  # per batch
BATCHES_PER_S = 2.0  # and device
LINKS = 4
QUIET = 10  # batches at the end of which nothing happens on the way, so that none waits for ever


class Way:
    """What happens to the batches of a device on their way: lost, late, twice, out of order; and restarts.

    Args:
        device: device id.
        seed: of the fates.
    """

    def __init__(self, device: str, seed: int) -> None:
        self._device, self._random = device, random.Random(f"{seed}-{device}")
        self._boot, self._seq = 1, 0
        self._late: list[tuple[int, SampleBatch]] = []  # batches and the number after which they go out
        self.happened: Counter[str] = Counter()

    def send(
        self, number: int, samples: npt.NDArray[np.float32], *, quiet: bool = False
    ) -> list[SampleBatch]:
        """The batches that go out when the device has recorded its batch ``number``."""
        fate = "sent" if quiet else self._random.choice([*["sent"] * 30, "lost", "late", "twice", "restart"])
        if fate == "restart" and not self._late:
            self._boot, self._seq = self._boot + 1, 0
        batch = make_batch(self._device, self._seq, samples, boot=self._boot)
        self._seq += 1
        self.happened[fate] += 1
        out = [] if fate in {"lost", "late"} else [batch] * (2 if fate == "twice" else 1)
        if fate == "late":
            self._late.append((number + self._random.randint(1, 4), batch))
        due = [late for at, late in self._late if at <= number or quiet]
        self._late = [(at, late) for at, late in self._late if at > number and not quiet]
        return out + due


class Fleet:
    """Devices that publish all the time, from one thread, over a few connections of their own.

    Args:
        url: of the broker.
        seed: of the fates.
        devices: number of them.
        motion: (n, SAMPLES, channels) batches that each device goes through from a place of its own.
    """

    def __init__(self, url: str, seed: int, devices: int, motion: npt.NDArray[np.float32]) -> None:
        self.names = [f"chaos-{number:03d}" for number in range(devices)]
        self._motion = motion
        self._topics = Topics()
        self._links = [MqttLink(Broker.parse(url), f"chaos-{seed}-{number}") for number in range(LINKS)]
        for link in self._links:
            link.connect()
        self._seed = seed
        self.recorded = 0  # batches of every device
        self.messages = 0
        self.ways = self.new_ways()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def new_ways(self) -> list[Way]:
        """The ways of all devices, from their beginning."""
        return [Way(name, self._seed) for name in self.names]

    def batches(self, ways: list[Way], number: int, *, quiet: bool) -> Iterator[tuple[int, SampleBatch]]:
        """What all devices send at once: the device's number and a batch."""
        for device, way in enumerate(ways):
            samples = self._motion[(7 * device + number) % len(self._motion)]
            for batch in way.send(number, samples, quiet=quiet):
                yield device, batch

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        begin = time.monotonic()
        while not self._stop.wait(max(0.0, begin + self.recorded / BATCHES_PER_S - time.monotonic())):
            self._publish(quiet=False)
        for _ in range(QUIET):
            self._publish(quiet=True)

    def _publish(self, *, quiet: bool) -> None:
        for device, batch in self.batches(self.ways, self.recorded, quiet=quiet):
            payload = encode_batch(batch, Encoding.CBOR, describe_channels=True)
            topic = self._topics.of(batch.device, Kind.RAW)
            link = self._links[device % LINKS]
            link.publish(topic, payload, content_type=CONTENT_TYPES[Encoding.CBOR])
            self.messages += 1
        self.recorded += 1

    def finish(self) -> None:
        """Send no more, and wait until the broker has everything."""
        self._stop.set()
        self._thread.join(120)
        assert not self._thread.is_alive(), "the broker does not take what is published"
        for link in self._links:
            assert link.flush(60), "the broker did not confirm what was published"

    def close(self) -> None:
        self._stop.set()
        for link in self._links:
            link.close()
