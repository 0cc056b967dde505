"""The main job on real recordings: train → export → Mosquitto → serve → replay → live labels.

Every step is the command a user would type, in a process of its own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from disc_stream.types import Label
from disc_stream.wire.broker import Broker
from disc_stream.wire.label import decode_label
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink
from disc_stream.wire.status import ServerStatus, State, decode_server_status
from disc_stream.wire.topics import Kind, Topics

# Three of HAPT's official test people; none of them is in the training part.
REPLAYED = ("hapt:exp07-user04", "hapt:exp17-user09", "hapt:exp26-user13")
DEVICES = {"hapt-exp07-user04", "hapt-exp17-user09", "hapt-exp26-user13"}
SPEED = 20
ALL_SOFT_LABELS = 32


# Without OpenVINO, so that both sides run the model by onnxruntime: `auto` may take bfloat16.
COMMAND = (
    "import runpy, sys; sys.modules['openvino'] = None; runpy.run_module('disc_stream', None, '__main__')"
)


def disc_stream(*args: str | Path, timeout: float = 600) -> str:
    """Run a command to its end and return its stdout."""
    result = subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, args)],
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    assert result.returncode == 0, f"disc-stream {' '.join(map(str, args))}\n{result.stderr[-4000:]}"
    return result.stdout


class LabelCollector:
    """Keeps every label and knows when the server has accounted for all samples sent."""

    def __init__(self, url: str) -> None:
        self.labels: list[Label] = []
        self.status: ServerStatus | None = None
        self.changed = threading.Condition()
        self._topics = Topics()
        self._link = MqttLink(Broker.parse(url), "test-collector", LinkListener(on_message=self._take))
        self._link.subscribe(self._topics.all_of(Kind.LABEL))
        self._link.subscribe(self._topics.server_status)

    def _take(self, message: Message) -> None:
        with self.changed:
            if message.topic == self._topics.server_status:
                self.status = decode_server_status(message.payload)
            else:
                self.labels.append(decode_label(message.payload))
            self.changed.notify_all()

    @property
    def state(self) -> State | None:
        return self.status.state if self.status else None

    def wait_for(self, what: Callable[[], bool], timeout: float) -> None:
        with self.changed:
            assert self.changed.wait_for(what, timeout), (
                f"timed out with {len(self.labels)} labels and server status {self.status}"
            )

    def __enter__(self) -> LabelCollector:
        self._link.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self._link.close()


@pytest.fixture
def serving(bundle: Path, mosquitto: Any) -> Iterator[subprocess.Popen[str]]:
    """`disc-stream serve` as a process, stopped at the end if the test has not done so."""
    process = subprocess.Popen(
        [
            sys.executable, "-m", "disc_stream", "serve", "--bundle", str(bundle),
            "--broker", mosquitto.url, "--no-http", "--top-k", str(ALL_SOFT_LABELS), "--provider", "cpu",
        ],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate(timeout=120)


SCHEDULES = [
    pytest.param(("--epochs", "1", "--refine-epochs", "1"), id="short"),
    pytest.param((), id="whole", marks=pytest.mark.long),
]


@pytest.fixture(scope="module", params=SCHEDULES)
def run_folder(
    real_data: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Path:
    """A model trained, without labels, on the HAPT training people with the preset `small`.

    Of a short training it knows the activities worse, and the server has to say the same as it all the same.
    """
    run = tmp_path_factory.mktemp("end-to-end") / "run"
    out = disc_stream(
        "train", "--dataset", "hapt", "--data", real_data, "--preset", "small", "--seed", "0",
        *request.param, "--out", run, "--json",
    )  # fmt: skip
    print(out)  # shown with -rP: ACC and NMI of this very run
    return run


@pytest.fixture(scope="module")
def bundle(run_folder: Path) -> Path:
    path = run_folder.parent / "bundle"
    disc_stream("export", run_folder, "--out", path)
    return path


@pytest.fixture(scope="module")
def offline(bundle: Path, real_data: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """What `disc-stream label` says of the recordings, by (device, window)."""
    out = disc_stream(
        "label", *REPLAYED, "--bundle", bundle, "--data", real_data,
        "--top-k", str(ALL_SOFT_LABELS), "--causal", "--json",
    )  # fmt: skip
    labels = [label for recording in json.loads(out)["recordings"] for label in recording["labels"]]
    return {(label["device"], label["window"]): label for label in labels}


@pytest.mark.real_data
@pytest.mark.broker
@pytest.mark.timeout(1500)
def test_streamed_labels_equal_offline_labels(
    bundle: Path,
    offline: dict[tuple[str, int], dict[str, Any]],
    serving: subprocess.Popen[str],
    mosquitto: Any,
    real_data: Path,
) -> None:
    with LabelCollector(mosquitto.url) as collector:
        collector.wait_for(lambda: collector.state is State.ONLINE, 120)
        replay = [argument for spec in REPLAYED for argument in ("--replay", spec)]
        out = disc_stream(
            "edge", "publish", *replay, "--data", real_data, "--speed", str(SPEED),
            "--broker", mosquitto.url, "--json",
        )  # fmt: skip
        summary = json.loads(out)
        assert summary["lost"] == 0
        collector.wait_for(lambda: len(collector.labels) >= len(offline), 120)
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(60) == 0, "serve did not stop cleanly on SIGTERM"
        collector.wait_for(lambda: collector.state is State.OFFLINE, 120)

    manifest = json.loads((bundle / "manifest.json").read_text())
    assert {label.device for label in collector.labels} == DEVICES

    # Every complete window has exactly one label, in time order, and no label came from nowhere.
    times_labelled = Counter((label.device, label.window) for label in collector.labels)
    assert set(times_labelled.values()) == {1}
    assert set(times_labelled) == set(offline)
    for device, n_windows in complete_windows(real_data, manifest["window"]).items():
        windows = [label.window for label in collector.labels if label.device == device]
        assert windows == sorted(windows)
        assert set(range(n_windows)) <= set(windows)

    for label in collector.labels:
        expected = offline[label.device, label.window]
        assert label.t0_us == expected["t0"]
        assert label.best.label == expected["label"]
        assert label.smoothed.label == expected["smoothed"]["label"]
        q = {soft["label"]: soft["confidence"] for soft in expected["soft"]}
        assert len(q) == manifest["n_clusters"]
        assert {soft.label: soft.confidence for soft in label.soft} == pytest.approx(q, abs=1e-5, rel=0)
    assert len({label.best.label for label in collector.labels}) > 1, "the model knows only one activity"


def complete_windows(real_data: Path, window: dict[str, int]) -> dict[str, int]:
    """Number of complete windows of each replayed recording, from the recordings themselves."""
    from disc_stream.data.readers import load_recordings_spec
    from disc_stream.signal.windowing import count_windows

    recordings = load_recordings_spec(list(REPLAYED), real_data)
    return {r.name: count_windows(len(r.samples), window["samples"], window["hop"]) for r in recordings}
