"""The Bangle.js app in node, and ``edge publish --ble``: real but for the radio and Espruino itself."""

from __future__ import annotations

import binascii
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from disc_stream.errors import DataError
from disc_stream.types import Channel, DeviceMeta, SampleBatch
from disc_stream.wire.broker import Broker
from disc_stream.wire.codecs import Encoding, encode_batch
from disc_stream.wire.meta import decode_meta
from disc_stream_edge.ble import BleLink, BleSource
from disc_stream_edge.frames import Frames, acknowledgement
from disc_stream_edge.outbox import Outbox, open_outbox
from disc_stream_edge.publisher import Publisher
from tests.support.broker import Mosquitto
from tests.support.commandline import CommandLine
from tests.support.heard import Heard
from tests.support.watch import ROWS, Radio, Watch, motion, needs_node

pytestmark = needs_node
BOOT, T0 = 1_700_000_000, 1_700_000_000_000_000
CHANNELS = tuple(Channel(name, "g", 1 / 8_192) for name in ("acc_x", "acc_y", "acc_z"))


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    (tmp_path / "watch").mkdir()
    watch = Watch(tmp_path / "watch")
    yield watch
    watch.close()


def counts(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
    return np.clip(np.rint(values * 8_192), -32_768, 32_767).astype(np.int16)


def payload(values: npt.NDArray[np.float64], seq: int) -> bytes:
    rows = counts(values[seq * ROWS : (seq + 1) * ROWS])
    batch = SampleBatch("w", BOOT, seq, T0 + seq * ROWS * 20_000, 50.0, CHANNELS, rows)
    return encode_batch(batch, Encoding.PACKED, describe_channels=False)


def test_the_bytes_are_those_of_the_wire(watch: Watch) -> None:
    values = motion(1, 20)
    assert watch.tell(accel=values[: 5 * ROWS].tolist()) == b"", "nobody listens"
    watch.tell(connect=True)
    heard = list(Frames().feed(watch.tell(data=b"?".hex())))
    meta = decode_meta(heard[0])
    assert (meta.channels, meta.fs) == (CHANNELS, 50.0)
    assert json.loads(heard[0])["boot"] == BOOT
    assert heard[1:] == [payload(values, seq) for seq in range(5)]
    assert watch.tell(accel=values[5 * ROWS :].tolist()).count(b"\xa7\x5d") == 3, "eight at once"
    more = list(Frames().feed(watch.tell(data=(acknowledgement(BOOT, 0) + acknowledgement(9, 1)).hex())))
    assert more == [payload(values, 8)], "an acknowledgement of another boot is none"
    noisy = b"\x06\x00" + acknowledgement(BOOT, 2) + acknowledgement(BOOT, 1)
    assert list(Frames().feed(watch.tell(data=noisy.hex()))) == [payload(values, seq) for seq in (9, 10)]
    assert watch.tell(accel=[], wait=11) == b""
    again = list(Frames().feed(watch.tell(accel=motion(2, 1).tolist())))
    assert again[:8] == [payload(values, seq) for seq in range(3, 11)], "what is not acknowledged comes again"


def test_what_gives_way_is_counted(watch: Watch) -> None:
    """300 batches are kept; the five that were sent are not those that give way."""
    values = motion(3, 320)
    watch.tell(connect=True)
    watch.tell(data=b"?".hex())
    watch.tell(accel=values[: 5 * ROWS].tolist())
    watch.tell(connect=False)
    watch.tell(accel=values[5 * ROWS :].tolist())
    watch.tell(connect=True)
    out = list(Frames().feed(watch.tell(data=b"?".hex())))
    assert json.loads(out[0])["lost"] == 20
    found = out[1:]
    while len(found) < 300:
        seq = int.from_bytes(found[-1][12:16], "little")
        acks = b"".join(acknowledgement(BOOT, int.from_bytes(one[12:16], "little")) for one in found[-8:])
        found += Frames().feed(watch.tell(data=acks.hex()))
        assert int.from_bytes(found[-1][12:16], "little") > seq
    assert found == [payload(values, seq) for seq in (*range(5), *range(25, 320))]


def test_a_restart_is_a_new_boot(watch: Watch, tmp_path: Path) -> None:
    watch.tell(wait=0)  # it runs
    watch.close()
    again = Watch(tmp_path / "watch")
    again.tell(connect=True)
    (said,) = Frames().feed(again.tell(data=b"?".hex()))
    assert json.loads(said)["boot"] == BOOT + 1
    again.close()


class Gateway:
    """A publisher with an outbox on a thread; the radio is that of ``tests/support/watch.py``."""

    def __init__(self, watch: Watch, broker: Mosquitto, outbox: Outbox) -> None:
        self.stop = threading.Event()
        self.radio = type("RadioToIt", (Radio,), {"watch": watch})
        self.link = BleLink("00:11:22:33:44:55", self.stop, self.radio)
        self.source = BleSource(
            self.link, device="w", on_boot=lambda boot, meta: self.boots.append((boot, meta))
        )
        self.boots: list[tuple[int, DeviceMeta]] = []
        publisher = Publisher(Broker.parse(broker.url), outbox=outbox)
        self.thread = threading.Thread(target=publisher.run, args=([self.source], self.stop), daemon=True)
        self.thread.start()

    def on_loop(self, what: str, *args: object) -> None:
        self.link._loop.call_soon_threadsafe(lambda: getattr(self.radio.here, what)(*args))

    def close(self) -> None:
        self.stop.set()
        self.thread.join(20)
        self.link.close()


@pytest.mark.broker
def test_a_gateway_brings_them_to_the_broker(watch: Watch, mosquitto: Mosquitto, tmp_path: Path) -> None:
    """Out of reach for a while, the broker away, the gateway started again: nothing is missing."""
    values = motion(4, 60)
    heard = Heard(mosquitto.url, "w", lambda batch: counts(values[batch.seq * ROWS : (batch.seq + 1) * ROWS]))
    box = open_outbox(tmp_path / "outbox", 8, "drop-oldest")
    gateway = Gateway(watch, mosquitto, box)

    def walk(begin: int, end: int) -> None:
        gateway.on_loop("hear", watch.tell(accel=values[begin * ROWS : end * ROWS].tolist()))

    walk(0, 10)
    heard.wait(lambda: len(heard.copies) == 10)
    gateway.on_loop("lose")
    walk(10, 20)
    mosquitto.restart()
    heard.wait(lambda: len(heard.copies) == 20)
    gateway.close()
    watch.tell(accel=values[20 * ROWS : 40 * ROWS].tolist())
    gateway = Gateway(watch, mosquitto, box)
    walk(40, 60)
    heard.wait(lambda: len(heard.copies) == 60)
    assert heard.order == [(BOOT, seq) for seq in range(60)]
    assert (gateway.source.malformed, gateway.boots) == (0, [])
    gateway.close()
    box.close()
    heard.link.close()


def test_a_watch_that_starts_anew_goes_on_in_another_boot() -> None:
    """By the frames alone: descriptions and batches of two boots, and what is no batch."""

    class Link:
        acks: list[tuple[int, int]] = []  # noqa: RUF012

        def __init__(self, *frames: bytes) -> None:
            self._frames = list(frames)

        def next(self) -> bytes | None:
            return self._frames.pop(0) if self._frames else None

        def acknowledge(self, boot: int, seq: int) -> None:
            self.acks.append((boot, seq))

    def meta(boot: int) -> bytes:
        said = {"schema": "disc-stream.meta/1", "fs": 50, "channels": ["a"], "units": "g", "boot": boot}
        return json.dumps(said).encode()

    def batch(boot: int, seq: int) -> bytes:
        one = SampleBatch("w", boot, seq, 0, 50.0, (Channel("a", "g"),), np.zeros((2, 1), np.int16))
        return encode_batch(one, Encoding.PACKED, describe_channels=False)

    begun: list[int] = []
    link = Link(batch(1, 0), b"{}", meta(1), batch(1, 1), batch(2, 0), b"\xd5", meta(1), meta(2), batch(2, 1))
    source = BleSource(link, device="w", on_boot=lambda boot, _: begun.append(boot))  # type: ignore[arg-type]
    assert [(one.boot, one.seq) for one in source.batches(25)] == [(1, 1), (2, 1)]
    assert (begun, source.malformed) == ([2], 3)
    assert link.acks == [(1, 1), (2, 0), (2, 1)], "what can never be used is not kept on the watch"
    with pytest.raises(DataError, match="was not found"):
        BleSource(Link(), device="w")  # type: ignore[arg-type]


def test_damage_costs_the_frame_it_is_in() -> None:
    def framed(payload: bytes) -> bytes:
        body = len(payload).to_bytes(2, "little") + payload
        return b"\xa7\x5d" + body + binascii.crc_hqx(body, 0xFFFF).to_bytes(2, "little")

    sent = [bytes([k] * (k + 1)) for k in range(40)]
    stream = bytearray(b"\xa7noise" + b"".join(map(framed, sent)))
    at = stream.find(framed(sent[7]))
    stream[at + 5] ^= 1
    frames, found = Frames(), []
    for k in range(0, len(stream), 7):
        found += frames.feed(bytes(stream[k : k + 7]))
    assert found == [one for one in sent if one != sent[7]]
    assert frames.skipped == len(b"\xa7noise") + len(framed(sent[7]))
    huge = Frames()
    assert list(huge.feed(b"\xa7\x5d\xff\xff" + framed(b"small"))) == [b"small"], "a length that cannot be"


def test_the_watch_needs_an_outbox(command_line: CommandLine) -> None:
    done = command_line("edge", "publish", "--ble", "Bangle.js", "--device", "w")
    assert (done.returncode, "Add --outbox DIR" in done.stderr) == (2, True)
