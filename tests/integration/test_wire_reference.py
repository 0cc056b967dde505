"""docs/reference/wire.md against a server of six channels: its examples make the labels that it says."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from disc_stream.artifacts.manifest import WindowInfo
from disc_stream.load.trivial import write_trivial_bundle
from disc_stream.types import Channel
from disc_stream.wire.codecs import CONTENT_TYPES, Encoding
from tests.integration.conftest import StartServer
from tests.support.broker import Mosquitto
from tests.support.device import Sender
from tests.support.listener import Listener

pytestmark = pytest.mark.broker

PAGE = (Path(__file__).parents[2] / "docs/reference/wire.md").read_text(encoding="utf-8")
CHANNELS = tuple(Channel(f"acc_{a}", "g") for a in "xyz") + tuple(
    Channel(f"gyro_{a}", "rad/s") for a in "xyz"
)

# Publishes as mosquitto_pub does with these options, but on the test's port.
CLIENT = """\
#!{python}
import argparse, sys
sys.path[:0] = {path!r}
from disc_stream.wire.broker import Broker
from disc_stream.wire.mqtt import MqttLink
p = argparse.ArgumentParser()
p.add_argument("-t"), p.add_argument("-q", choices=["1"]), p.add_argument("-m")
a = p.parse_args()
link = MqttLink(Broker.parse({url!r}), "mosq-pub")
link.connect()
link.publish(a.t, a.m.encode())
ok = link.flush(10.0)
link.close()
sys.exit(not ok)
"""


@pytest.fixture
def six_channel_bundle(tmp_path: Path) -> Path:
    """Reads what the page speaks of: 50 Hz, windows of 128 samples, the first 64 of which are encoded."""
    path = tmp_path / "six"
    write_trivial_bundle(path, CHANNELS, 50.0, WindowInfo(samples=128, hop=64, input_samples=64))
    return path


def block(kind: str, after: str) -> str:
    found = re.search(rf"^```{kind}\n(.*?)^```", PAGE.split(after, 1)[1], flags=re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_the_shell_example_makes_two_labels(
    start_server: StartServer,
    mosquitto: Mosquitto,
    listener: Listener,
    six_channel_bundle: Path,
    tmp_path: Path,
) -> None:
    start_server(bundle=six_channel_bundle)
    client = tmp_path / "bin/mosquitto_pub"
    client.parent.mkdir()
    client.write_text(CLIENT.format(python=sys.executable, path=sys.path, url=mosquitto.url))
    client.chmod(0o755)
    environment = {**os.environ, "PATH": f"{client.parent}:{os.environ['PATH']}"}
    script = block("sh", "Try it with nothing but")
    subprocess.run(["bash", "-euo", "pipefail", "-c", script], env=environment, check=True, timeout=120)
    listener.wait_for_labels(2)
    assert [(label.device, label.boot, label.window, label.seq) for label in listener.labels] == [
        ("hand", 7, 0, 1),
        ("hand", 7, 1, 2),
    ]
    assert [label.t0_us for label in listener.labels] == [0, 1_280_000]
    assert listener.status["rejected"] == {}


def test_thirty_two_packed_vectors_make_the_first_label(
    start_server: StartServer, sender: Sender, listener: Listener, six_channel_bundle: Path
) -> None:
    start_server(bundle=six_channel_bundle)
    vector = bytes.fromhex(block("hex", "Packed, 48 bytes"))
    meta = block("json", "### Test vectors").strip().encode()

    def send(seq: int) -> None:
        payload = vector[:12] + struct.pack("<IQ", seq, 1_500_000 + seq * 40_000) + vector[24:]
        sender.raw("hand", payload, CONTENT_TYPES[Encoding.PACKED])

    for seq in range(31):  # these wait for the description
        send(seq)
    sender.link.publish("ds/v1/hand/meta", meta, retain=True)
    listener.wait_for_count("messages", 32)
    assert listener.labels == [], "62 rows are too few"
    send(31)
    listener.wait_for_labels(1)
    label = listener.labels[0]
    assert (label.window, label.seq, label.t0_us, label.t1_us) == (0, 31, 1_500_000, 4_060_000)
    assert listener.status["rejected"] == {}
