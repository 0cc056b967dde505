"""What was streamed and labelled comes out as one dataset that says what it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.types import Channel
from disc_stream_server.storage.segments import list_segments
from disc_stream_server.storage.sqlite import remove
from tests.integration.conftest import StartServer
from tests.support.device import Sender, make_batch
from tests.support.listener import Listener
from tests.support.motion import walk_values

pytestmark = pytest.mark.broker

IN_G = tuple(Channel(f"acc_{axis}", "g") for axis in "xyz")
G = 9.80665


def export(state: Path, bundle: Path, out: Path, *options: str) -> dict[str, int]:
    done = subprocess.run(
        [
            sys.executable, "-m", "disc_stream", "data", "export", "--state", str(state), "--bundle",
            str(bundle), "--out", str(out), "--json", *options,
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(json.loads(done.stdout))


def test_a_stream_becomes_a_dataset(
    start_server: StartServer, sender: Sender, listener: Listener, tiny_bundle: Path, tmp_path: Path
) -> None:
    server = start_server(checkpoint_s=0.1)
    values = walk_values(8)
    for seq in range(20):
        if seq != 9:  # a gap
            sender.send(make_batch("si", seq, values[seq]))
        sender.send(make_batch("in-g", seq, values[seq] / G, channels=IN_G))
    listener.wait_for_labels(19 + 20)
    assert server.stop()
    facts = export(tmp_path / "state", tiny_bundle, tmp_path / "out")
    # Windows are 16 samples long, every 8: the last one before a gap or the end has no second half.
    assert facts == {
        "out": str(tmp_path / "out"),
        "windows": 8 + 9 + 19,
        "labelled": 36,
        "devices": 2,
        "files": 1,
    }
    table = pq.read_table(tmp_path / "out")  # the folder as a whole, as readers of Parquet take it
    header = json.loads(table.schema.metadata[b"disc-stream"])
    assert header["schema"] == "disc-stream.windows/1"
    assert header["fs"] == 50.0
    assert [c["unit"] for c in header["channels"]] == ["m/s2"] * 3
    assert header["model"]["version"] == Bundle.open(tiny_bundle).manifest.version
    assert json.loads((tmp_path / "out" / "_dataset.json").read_text())["windows"] == 36
    rows = table.to_pylist()
    heard = {(label.device, label.t0_us): label for label in listener.labels}
    for row in rows:
        label = heard[row["device"], row["t0_us"]]
        assert (row["label"], row["name"], row["window"]) == (label.best.label, label.best.name, label.window)
        assert row["smoothed"] == label.smoothed.label
        assert row["soft"][row["label"]] == pytest.approx(label.best.confidence, abs=1e-6)
        first = round(row["t0_us"] * 50 / 1e6)
        whole = np.concatenate(values[:20])[first : first + 16]
        np.testing.assert_allclose(np.array(row["samples"]).reshape(16, 3), whole, rtol=1e-5, atol=1e-5)


def test_where_the_oldest_messages_are_gone_the_windows_still_meet_their_labels(
    start_server: StartServer, sender: Sender, listener: Listener, tiny_bundle: Path, tmp_path: Path
) -> None:
    server = start_server(checkpoint_s=0.1, spool_file_bytes=2**20)
    values = walk_values(5)  # batches of 5 samples: windows begin anywhere in them
    padding = tuple(Channel(f"x{number}", "1") for number in range(60))
    wide = (*(Channel(f"acc_{axis}", "m/s2") for axis in "xyz"), *padding)
    for seq in range(2000):
        samples = np.hstack([values[seq % 30], np.zeros((5, 60), dtype=np.float32)])
        sender.send(make_batch("watch", seq, samples, channels=wide))
    listener.wait_for_labels(1250, timeout=120)
    assert server.stop()
    spool = tmp_path / "state" / "spool"
    first, second = list_segments(spool)[:2]
    remove(spool / f"{first:020d}.sqlite")
    facts = export(tmp_path / "state", tiny_bundle, tmp_path / "out", "--all")
    assert 100 < facts["windows"] < 1249
    assert facts["labelled"] == facts["windows"], "every window is one that the server has labelled"
    assert second > 1


def test_windows_are_cut_by_the_rules_of_the_server_also_where_they_changed(
    start_server: StartServer, sender: Sender, listener: Listener, tiny_bundle: Path, tmp_path: Path
) -> None:
    """A server that bridged short gaps, then one that did not: each label finds its window."""
    values = walk_values(8)
    first = start_server(checkpoint_s=0.1, bridge_s=1.0, reorder=2)
    for seq in [*range(6), *range(7, 13)]:
        sender.send(make_batch("watch", seq, values[seq]))
    listener.wait_for_labels(12 + 1, timeout=30)
    assert first.stop()
    second = start_server(checkpoint_s=0.1, bridge_s=0.0, reorder=0)
    for seq in [*range(13, 16), *range(17, 22)]:
        sender.send(make_batch("watch", seq, values[seq]))
    listener.wait_for_labels(13 + 8, timeout=30)
    assert second.stop()
    facts = export(tmp_path / "state", tiny_bundle, tmp_path / "out", "--all")
    rows = pq.read_table(tmp_path / "out").to_pylist()
    heard = {label.t0_us: label for label in listener.labels}
    # The last window before the gap that was not bridged, and the last of all, have no second half.
    assert facts["windows"] == facts["labelled"] == len(rows) == 21 - 2
    assert [row["window"] for row in rows] == [heard[row["t0_us"]].window for row in rows]
    assert any(row["bridged"] for row in rows)


def test_an_export_does_not_go_into_a_folder_with_something_in_it(tmp_path: Path, tiny_bundle: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "disc_stream", "data", "export", "--bundle", str(tiny_bundle)]
    done = subprocess.run(
        [*command, "-o", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "is not empty" in done.stderr
