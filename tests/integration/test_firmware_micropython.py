"""MicroPython publisher on the unix port: its bytes, and outages of a real Mosquitto with a real server."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from disc_stream.types import Channel, SampleBatch
from disc_stream.wire.codecs import Encoding, encode_batch
from tests.support.broker import Mosquitto
from tests.support.commandline import CommandLine
from tests.support.heard import Heard
from tests.support.listener import Listener
from tests.support.micropython import FOLDER, Device, expected, interpreter, needs_micropython
from tests.support.secure_broker import SecureMosquitto

if TYPE_CHECKING:
    from tests.integration.conftest import StartServer

pytestmark = needs_micropython


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureMosquitto]:
    broker = SecureMosquitto(tmp_path_factory.mktemp("secure") / "set-up")
    broker.start()
    yield broker
    broker.discard()


def run(script: str, *args: str) -> str:
    command = [str(interpreter()), str(FOLDER / "test" / script), *args]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_bytes_are_those_of_the_wire(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    cases, wanted = [], []
    for k in range(60):
        dtype = (np.int16, np.int32, np.float32)[k % 3]
        shape = (int(generator.integers(1, 30)), int(generator.integers(1, 10)))
        values = generator.integers(-32_768, 32_768, shape).astype(dtype)
        boot, seq = (int(n) for n in generator.integers(0, 2**32, 2))
        t0, fs = int(generator.integers(0, 2**63 - 1)), float(np.float32(generator.uniform(0.5, 9_999)))
        cases.append([shape[1], shape[0] + k % 2, fs, k % 3, boot, seq, t0, values.tolist()])
        channels = tuple(Channel(f"c{i}", "1") for i in range(shape[1]))
        batch = SampleBatch("a", boot, seq, t0, fs, channels, values)
        wanted.append(encode_batch(batch, Encoding.PACKED, describe_channels=False).hex())
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    said = json.loads(run("core.py", str(tmp_path / "cases.json")))
    assert said["hex"] == wanted
    assert said["saturated"] == [32_767, -32_768]
    assert said["allocated"] == 0, "bytes for 1,000 samples"
    assert said["ring"] == [[5, 6, 7, 8], 5]


def test_bytes_in_an_hour_are_those_of_the_guide(tmp_path: Path) -> None:
    """Counted at a socket, by the script that makes the guide's table."""
    sys.path.insert(0, str(FOLDER.parent))
    try:
        import measure
    finally:
        sys.path.pop(0)
    guide = (FOLDER.parents[2] / "docs" / "guides" / "microcontroller.md").read_text()
    each = measure.per_batch(tmp_path, 6, 25, 50)
    assert f"| 50 | 6 | 324 | {7_200 * each:,} |" in guide


class Outages:
    """Two devices through two outages: one has files behind its ring, the other loses some.

    Args:
        broker: that goes away.
        folder: for the devices.
        batches: that each measures.
        **facts: of the devices.
    """

    def __init__(self, broker: Mosquitto, folder: Path, batches: int, ring: int, **facts: object) -> None:
        self._broker, self._batches = broker, batches
        self.kept, self.bounded = (Heard(broker.url, name, expected) for name in ("kept", "bounded"))
        files = {"slots": 16, "files": 40}
        self._devices = [
            Device("kept", folder / "kept", broker.port, batches=batches, **files, **facts),
            Device("bounded", folder / "bounded", broker.port, batches=batches, slots=ring, **facts),
        ]

    def run(self, begins: tuple[int, int], seconds: float) -> int:
        """Stop the broker twice, when so many batches have come; returns the batches that were lost."""
        tick = threading.Event()
        for at in begins:
            self.kept.wait(lambda at=at: len(self.kept.copies) >= at, 600)
            self._broker.stop()
            tick.wait(seconds)
            self._broker.start()
        first, second = (device.said(600) for device in self._devices)
        assert (first["put"], first["lost"], first["waiting"]) == (self._batches, 0, 0)
        assert (second["put"], second["waiting"]) == (self._batches, 0)
        self.kept.wait(lambda: len(self.kept.copies) == self._batches)
        assert self.kept.order == [(1, seq) for seq in range(self._batches)]
        lost: int = second["lost"]
        self.bounded.wait(lambda: len(self.bounded.copies) == self._batches - lost)
        assert self.bounded.order == sorted(self.bounded.order)
        self.bounded.wait(lambda: self.bounded.meta["lost"] == lost)  # the device says it
        print(f"kept: {first}; bounded: {second}; copies {max(self.kept.copies.values())}")
        for heard in (self.kept, self.bounded):
            heard.link.close()
        return lost


@pytest.mark.broker
def test_two_outages(
    mosquitto: Mosquitto, start_server: StartServer, listener: Listener, tmp_path: Path
) -> None:
    start_server()
    lost = Outages(mosquitto, tmp_path, batches=400, ring=20).run((80, 230), 0.5)  # about 50 batches each
    assert lost > 20
    listener.wait_for_count("missing", lost)
    listener.wait_for_count("labels", 400 * 25 // 8)
    assert listener.status["counters"]["missing"] == lost, "and the server finds it"


@pytest.mark.broker
@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_ten_minutes_with_two_outages_of_two_minutes(
    mosquitto: Mosquitto, start_server: StartServer, listener: Listener, tmp_path: Path
) -> None:
    start_server()
    outages = Outages(mosquitto, tmp_path, batches=1_200, ring=120, speed=1)
    lost = outages.run((200, 680), 120.0)  # 240 batches each
    assert 200 <= lost <= 400
    listener.wait_for_count("missing", lost)
    listener.wait_for_count("labels", 1_200 * 25 // 8)
    print(f"the server: {listener.status['counters']}")
    assert listener.status["counters"]["missing"] == lost


@pytest.mark.broker
def test_a_power_cut_takes_what_is_in_ram(mosquitto: Mosquitto, tmp_path: Path) -> None:
    heard = Heard(mosquitto.url, "cut", expected)
    mosquitto.pause()
    facts = {"slots": 8, "files": 10, "speed": 200}
    device = Device("cut", tmp_path / "cut", mosquitto.port, batches=60, **facts)
    folder, tick = tmp_path / "cut", threading.Event()
    while len(list(folder.glob("0*"))) < 3:
        tick.wait(0.02)
    device.process.kill()
    device.process.communicate()
    kept = sum(int(path.name[9:]) for path in folder.glob("0*"))
    mosquitto.resume()
    said = Device("cut", folder, mosquitto.port, batches=30, **facts).said()
    assert (said["boot"], said["lost"], said["waiting"]) == (2, 0, 0)
    heard.wait(lambda: len(heard.copies) == kept + 30)
    first = [seq for boot, seq in heard.order if boot == 1]
    assert first == list(range(first[0], first[0] + kept)), "one stretch of them"
    assert [seq for boot, seq in heard.order if boot == 2] == list(range(30))
    assert not list(folder.glob("0*"))
    heard.link.close()


@pytest.mark.broker
@pytest.mark.parametrize("kind", ["--password", "--certificate"])
def test_what_add_device_writes_opens_the_secure_broker(
    command_line: CommandLine, secure: SecureMosquitto, tmp_path: Path, kind: str
) -> None:
    """Over TLS, checked against the set-up's authority; a credential that is taken away lets nobody in."""
    name = f"mp{kind[2:6]}"
    module = tmp_path / "ds_device.py"
    with secure.reloading():
        done = command_line("broker", "add-device", name, "--config", secure.folder, kind, "--header", module)
        assert done.returncode == 0, done.stderr
    heard = Heard(secure.role("server"), name, expected)
    facts = {"provisioned": str(tmp_path), "batches": 30}
    said = Device(name, tmp_path / "q", 0, **facts, slots=40).said()
    assert (said["put"], said["lost"], said["waiting"], said["done"]) == (30, 0, 0, True)
    heard.wait(lambda: len(heard.copies) == 30)
    heard.link.close()
    with secure.reloading():
        command_line("broker", "remove-device", name, "--config", secure.folder)
    said = Device(name, tmp_path / "q", 0, **facts, slots=16, close_ms=700).said()
    assert (said["waiting"], said["lost"], said["done"]) == (16, 14, False)
