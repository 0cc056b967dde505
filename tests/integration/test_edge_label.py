"""``edge label`` as a command against a real Mosquitto: its labels are heard where a server's would be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from disc_stream.wire.label import decode_label
from tests.integration.test_edge_outbox import Heard
from tests.support.broker import Mosquitto, free_port
from tests.support.commandline import CommandLine

pytestmark = pytest.mark.broker
REST, LEFT = "0.1,0,-0.1\n0,0.2,0\n", "10.1,0,0\n9.9,0.1,0.2\n"


def test_lines_become_labels_and_no_samples(mosquitto: Mosquitto, tiny_bundle: Path) -> None:
    heard = Heard(mosquitto.url)
    lines = "acc_x[m/s2],acc_y[m/s2],acc_z[m/s2]\n" + REST * 80 + LEFT * 80
    done = subprocess.run(
        [sys.executable, "-m", "disc_stream", "edge", "label", "--bundle", str(tiny_bundle), "--stdin",
         "--fs", "50", "--device", "w", "--broker", mosquitto.url, "--json"],
        input=lines, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    said = json.loads(done.stdout)
    assert said["upload"]["windows"] == 40
    assert said["upload"]["labels"] == said["confirmed"] == 2
    with heard.changed:
        assert heard.changed.wait_for(
            lambda: sum(message.topic.endswith("/label") for message in heard.messages) == 2, 30
        )
    labels = [decode_label(m.payload) for m in heard.messages if m.topic == "ds/v1/w/label"]
    assert [(label.window, label.smoothed.name) for label in labels] == [(0, "rest"), (20, "left")]
    assert not [message for message in heard.messages if message.topic.endswith("/raw")]
    heard.link.close()


def test_mistakes_get_one_line(command_line: CommandLine, tiny_bundle: Path) -> None:
    nowhere = f"mqtt://127.0.0.1:{free_port()}"
    for args, said in (
        (["--follow", "models"], "--follow and --models-from belong together"),
        (["--follow", "m", "--models-from", "ftp://x"], "no place to download models from"),
        ([], "choose one source"),
    ):
        source = ["--synthetic"] if args else []
        result = command_line(
            "edge", "label", "--bundle", str(tiny_bundle), "--broker", nowhere, *source, *args
        )
        assert result.returncode == 2
        assert said in result.stderr
        assert "Traceback" not in result.stderr
