"""The C publisher on the host, against a real Mosquitto: outages, a broker that hangs, kills."""

from __future__ import annotations

import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from disc_stream.types import SampleBatch
from tests.support.broker import Mosquitto
from tests.support.heard import Heard

C = Path(__file__).parents[2] / "edge" / "firmware" / "c"
pytestmark = [
    pytest.mark.broker,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc"),
]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("firmware") / "publisher")
    sources = [str(C / f"ds_{name}.c") for name in ("packed", "ring", "session", "publisher")]
    flags = [
        "-std=c99",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Wconversion",
        "-g",
        "-O1",
        "-fsanitize=address,undefined",
    ]
    subprocess.run(["gcc", *flags, *sources, str(C / "test/host_publisher.c"), "-o", path], check=True)
    return path


def expected(batch: SampleBatch) -> npt.NDArray[np.int16]:
    return (np.arange(75) + batch.seq * 7).astype(np.int16).reshape(25, 3)


def start(
    program: str, broker: Mosquitto, ring: Path, batches: int, per_second: int, boot: int
) -> subprocess.Popen[str]:
    words = [program, "127.0.0.1", str(broker.port), "c", str(ring), str(batches), str(per_second), str(boot)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> dict[str, int]:
    words = process.communicate(timeout=60)[0].split()
    assert process.returncode == 0
    return {name: int(value) for name, value in zip(words[::2], words[1::2], strict=True)}


def test_two_outages_lose_nothing_within_the_ring(program: str, mosquitto: Mosquitto, tmp_path: Path) -> None:
    heard = Heard(mosquitto.url, "c", expected)
    process = start(program, mosquitto, tmp_path / "ring", 300, 100, 1)
    tick = threading.Event()
    for at in (60, 160):
        heard.wait(lambda at=at: len(heard.copies) >= at)
        mosquitto.stop()
        tick.wait(0.4)  # 40 batches of the 256 that the ring holds
        mosquitto.start()
    assert said(process) == {"put": 300, "lost": 0, "refused": 0}
    heard.wait(lambda: len(heard.copies) == 300)
    assert heard.order == [(1, seq) for seq in range(300)]
    assert max(heard.copies.values()) <= 3
    heard.link.close()


def test_beyond_the_ring_the_loss_is_exact(program: str, mosquitto: Mosquitto, tmp_path: Path) -> None:
    heard = Heard(mosquitto.url, "c", expected)
    mosquitto.pause()
    process = start(program, mosquitto, tmp_path / "ring", 600, 2_000, 1)
    threading.Event().wait(1.5)  # all are measured by then, and the ring holds less
    mosquitto.resume()
    found = said(process)
    assert (found["put"], found["refused"]) == (600, 0)
    assert found["lost"] > 200
    heard.wait(lambda: len(heard.copies) == 600 - found["lost"])
    assert heard.order == [(1, seq) for seq in range(found["lost"], 600)]
    heard.link.close()


def test_kills_lose_nothing_that_was_kept(program: str, mosquitto: Mosquitto, tmp_path: Path) -> None:
    heard = Heard(mosquitto.url, "c", expected)
    boots = 5
    for boot in range(1, boots):
        process = start(program, mosquitto, tmp_path / "ring", 10_000, 300, boot)
        heard.wait(lambda boot=boot: sum(one == boot for one, _ in heard.copies) >= 20)
        process.kill()
        process.communicate()
    last = said(start(program, mosquitto, tmp_path / "ring", 50, 300, boots))
    assert last["lost"] == 0
    heard.wait(lambda: len(heard.copies) == last["put"])
    assert heard.order == sorted(heard.order)
    for boot in range(1, boots + 1):
        seqs = [seq for one, seq in heard.order if one == boot]
        assert seqs == list(range(len(seqs)))
    assert heard.boots[-1] == boots
    heard.link.close()
