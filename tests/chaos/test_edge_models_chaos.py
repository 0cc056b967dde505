"""A device is killed while it takes and gives up models: it always comes up with a whole one."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream_edge.modelstore import ModelStore
from tests.support.tiny_bundle import write_tiny_bundle
from tests.unit.test_edge_models import Server, make

SHORT = 3
LONG = int(os.environ.get("DISC_STREAM_CHAOS_ROUNDS", "50"))
ROOT = Path(__file__).parents[2]

# Takes one announced version after another, labels with each, and now and then gives one up.
WORKER = """
import sys
from pathlib import Path
from disc_stream_edge.modelstore import replace_state
from tests.unit.test_edge_models import Device, TRIAL_WINDOWS
folder, first, url, *versions = sys.argv[1:]
device = Device(Path(folder), Path(first), url)
print("up", device.label(1).pop(), flush=True)
n = 0
while True:
    version = versions[n % len(versions)]
    n += 1
    device.announce(version)
    print("labels", device.label(TRIAL_WINDOWS if n % 3 else 5).pop(), flush=True)
    if n % 4 == 0 and device.store.version:
        device.store.roll_back("a test")
        device.labeller.offer(device.store.present())
        device.store._write(replace_state(device.store._state, refused=()))
"""


def rounds(folder: Path, n: int) -> None:
    (folder / "web").mkdir()
    server, dice = Server(folder / "web"), random.Random(n)
    write_tiny_bundle(folder / "first")
    versions = [make(folder / "web", shift) for shift in (1.0, 2.0, 3.0)]
    known = {*versions, Bundle.open(folder / "first").version}
    command = [
        sys.executable, "-c", WORKER, str(folder / "models"), str(folder / "first"), server.url, *versions
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    seen = 0
    try:
        for _ in range(n):
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
            assert process.stdout is not None
            for _ in range(dice.randint(1, 5)):
                word, version = process.stdout.readline().split()
                assert version in known, word
                seen += 1
            try:
                process.wait(dice.random() * 0.05)
            except subprocess.TimeoutExpired:
                process.kill()
            process.communicate()
            check_whole(folder / "models", folder / "first")
    finally:
        server.close()
    print(f"{n} kills, {seen} times a model labelled; a whole one was there each time")


def check_whole(folder: Path, first: Path) -> None:
    """Nothing but whole bundles under their own names, and a state that leads to one of them."""
    for path in folder.glob("*.zip"):
        assert Bundle.open(path).version == path.stem
    state = json.loads((folder / "current.json").read_text()) if (folder / "current.json").exists() else {}
    for version in (state.get("version"), state.get("before")):
        assert not version or (folder / f"{version}.zip").exists()
    assert ModelStore(folder, first).present().version


def test_a_device_killed_while_it_takes_models_comes_up_with_a_whole_one(tmp_path: Path) -> None:
    rounds(tmp_path, SHORT)


@pytest.mark.chaos_long
@pytest.mark.timeout(3_600)
def test_a_device_killed_again_and_again_comes_up_with_a_whole_model(tmp_path: Path) -> None:
    rounds(tmp_path, LONG)
