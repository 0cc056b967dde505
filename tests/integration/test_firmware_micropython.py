"""The MicroPython publisher on the unix port: the wire's bytes, and outages of a real Mosquitto with a real server."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from disc_stream.types import Channel, SampleBatch
from disc_stream.wire.codecs import Encoding, encode_batch
from tests.support.broker import Mosquitto
from tests.support.heard import Heard
from tests.support.listener import Listener
from tests.support.micropython import FOLDER, Device, expected, interpreter, needs_micropython

if TYPE_CHECKING:
    from tests.integration.conftest import StartServer

pytestmark = needs_micropython


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


@pytest.mark.broker
def test_two_outages(
    mosquitto: Mosquitto, start_server: StartServer, listener: Listener, tmp_path: Path
) -> None:
    """One device has files behind its ring and loses nothing, the other loses what its ring does not hold."""
    start_server()
    kept, bounded = (Heard(mosquitto.url, name, expected) for name in ("kept", "bounded"))
    devices = [
        Device("kept", tmp_path / "kept", mosquitto.port, batches=400, slots=16, files=20),
        Device("bounded", tmp_path / "bounded", mosquitto.port, batches=400, slots=20),
    ]
    tick = threading.Event()
    for at in (80, 230):
        kept.wait(lambda at=at: len(kept.copies) >= at)
        mosquitto.stop()
        tick.wait(0.5)  # about 50 batches
        mosquitto.start()
    first, second = (device.said() for device in devices)
    assert (first["put"], first["lost"], first["waiting"]) == (400, 0, 0)
    assert (second["put"], second["waiting"]) == (400, 0)
    assert second["lost"] > 20
    kept.wait(lambda: len(kept.copies) == 400)
    assert kept.order == [(1, seq) for seq in range(400)]
    bounded.wait(lambda: len(bounded.copies) == 400 - second["lost"])
    assert bounded.order == sorted(bounded.order)
    assert bounded.meta["lost"] == second["lost"]
    listener.wait_for_count("missing", second["lost"])
    listener.wait_for_count("labels", 400 * 25 // 8)
    assert listener.status["counters"]["missing"] == second["lost"]
    for heard in (kept, bounded):
        heard.link.close()
