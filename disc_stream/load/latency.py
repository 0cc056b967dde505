"""``disc-stream benchmark latency``: from the last sample that a window needs to its label at a subscriber.

Through a real broker, with the generator, the server and the subscriber on this machine. One number of
devices after the other, until one is too many.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import copytree
from typing import Any, NamedTuple

import numpy as np

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.manifest import WindowInfo
from disc_stream.load.ingest import Say
from disc_stream.load.plan import Load
from disc_stream.load.processes import broker_of, read_line, spawn
from disc_stream.load.publisher import FIRST_SEQ
from disc_stream.load.scene import hear, quantiles, wait_for
from disc_stream.load.server import Server
from disc_stream.load.steady import SteadyOrder
from disc_stream.wire.label import decode_label
from disc_stream.wire.mqtt import Message
from disc_stream_server.storage.records import StoredLabel
from disc_stream_server.storage.spool import SpoolReader
from disc_stream_server.storage.state import StateStore

SCHEMA = "disc-stream.latency/1"
STAGES = ("sent_to_received", "received_to_labelled", "labelled_to_heard")

_PATIENCE_S = 30.0
_LOOKED_AT = 5_000  # labels whose stages are worked out

_Key = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class LatencyPlan:
    """What is measured.

    Args:
        bundle: of 6 channels, as ``publisher.CHANNELS`` has them.
        provider: what runs it.
        threads: of the encoder.
        devices: numbers of devices, one after the other.
        seconds: of each, counted from when all have sent for ``settle_s``.
        settle_s: before that.
        limit_ms: a 99th percentile above it is too much.
        max_batch: windows encoded at once.
    """

    bundle: Path
    provider: str
    threads: int
    devices: Sequence[int]
    seconds: float = 60.0
    settle_s: float = 10.0
    limit_ms: float = 250.0
    max_batch: int = 256


class _Heard(NamedTuple):
    """A label at the subscriber.

    Args:
        complete_us: when the last sample that its window needs was taken and sent.
        heard_us: when the label came.
    """

    complete_us: float
    heard_us: int


class _Subscriber:
    """Notes when each label comes; times are Unix microseconds, of one clock for all processes."""

    def __init__(self, broker: str, prefix: str, load: Load, window: WindowInfo) -> None:
        self._step_us, self._hop_us = load.samples * 1e6 / load.fs, window.hop * 1e6 / load.fs
        self.heard: dict[_Key, _Heard] = {}
        self.twice = self.deferred = 0
        self._lock = threading.Lock()
        self.link = hear(broker, prefix, self._take)

    def _take(self, message: Message) -> None:
        now_us = time.time_ns() // 1000
        if message.retained or not message.topic.endswith("/label"):
            return
        label = decode_label(message.payload)
        begin_us = label.t0_us - label.window * self._hop_us
        complete_us = begin_us + (label.seq - FIRST_SEQ + 1) * self._step_us
        with self._lock:
            self.twice += (key := (label.device, label.boot, label.window)) in self.heard
            self.deferred += label.deferred
            self.heard.setdefault(key, _Heard(complete_us, now_us))


def run(plan: LatencyPlan, load: Load, broker: str | None, say: Say) -> dict[str, Any]:
    """Measure each number of devices, up to the first that is too many.

    Args:
        plan: what.
        load: of one device; how many there are, the plan says.
        broker: URL; None for a Mosquitto of our own.
        say: told what is measured.

    Raises:
        BrokerError: if the broker cannot be used, or a process ends.
    """
    window = Bundle.open(plan.bundle).manifest.window
    steps: list[dict[str, Any]] = []
    for devices in plan.devices:
        say(f"{devices:,} devices")
        fleet = Load(devices, load.fs, load.samples, encoding=load.encoding, page=False)
        step = _measure(plan, fleet, window, broker)
        steps.append(step)
        if not step["kept_up"]:
            break
    good = [step["devices"] for step in steps if step["kept_up"]]
    return {
        "schema": SCHEMA, "model": Bundle.open(plan.bundle).manifest.name, "provider": plan.provider,
        "threads": plan.threads, "seconds": plan.seconds, "limit_ms": plan.limit_ms,
        "message": {"fs": load.fs, "samples": load.samples, "encoding": load.encoding},
        "steps": steps, "most_devices": max(good, default=None),
        "breaks_at": next((step["devices"] for step in steps if not step["kept_up"]), None),
    }  # fmt: skip


def _measure(plan: LatencyPlan, load: Load, window: WindowInfo, broker: str | None) -> dict[str, Any]:
    with broker_of(broker) as url, tempfile.TemporaryDirectory(prefix="disc-stream-latency-") as place:
        folder, prefix = Path(place), f"ds/latency-{time.time_ns()}"
        copytree(plan.bundle, folder / "bundle")
        settings = {"provider": plan.provider, "threads": plan.threads, "max_batch": plan.max_batch}
        server = Server(url, prefix, load, folder, settings)
        subscriber = _Subscriber(url, prefix, load, window)
        order = SteadyOrder(url, prefix, load.devices, load.fs, load.samples, load.encoding, churn_s=0.0)
        fleet = spawn("disc_stream.load.steady", asdict(order))
        try:
            read_line(fleet)
            begin_us = time.time_ns() // 1000 + round(plan.settle_s * 1e6)
            time.sleep(plan.settle_s + plan.seconds)
            sent = json.loads(fleet.communicate(timeout=_PATIENCE_S)[0])
            expected = expected_windows(sent["confirmed"], load, window)
            wait_for(lambda: len(subscriber.heard) >= expected, _PATIENCE_S)
            provider, rss, stages = server.provider, server.rss_bytes(), server.counters
        finally:
            fleet.kill()
            code = server.stop()
            subscriber.link.close()
        heard = {key: one for key, one in subscriber.heard.items() if one.complete_us >= begin_us}
        ms = quantiles([(one.heard_us - one.complete_us) / 1000 for one in heard.values()])
        lost = expected - len(subscriber.heard)
        return {
            "devices": load.devices, "provider": provider, "messages": sent["confirmed"],
            "messages_per_s": round(load.devices * load.fs / load.samples, 1),
            "windows": expected, "lost": lost, "twice": subscriber.twice, "deferred": subscriber.deferred,
            "ms": ms, "stages_ms": _stages(folder / "state", heard), "rss_mib": round(rss / 2**20, 1),
            "exit_code": code,
            "server_cores": _cores(stages, plan.settle_s + plan.seconds),
            "kept_up": bool(lost == 0 and subscriber.deferred == 0 and ms["p99"] <= plan.limit_ms),
        }  # fmt: skip


def _cores(counters: Mapping[str, int], seconds: float) -> float:
    """Processors that the labelling process was busy with on average, its start included."""
    busy_us = sum(us for name, us in counters.items() if name.startswith("cpu_us_"))
    return round(busy_us / 1e6 / seconds, 3)


def _stages(state: Path, heard: dict[_Key, _Heard]) -> dict[str, dict[str, float]]:
    """The latency by stage, of labels spread over the run."""
    store, reader = StateStore(state), SpoolReader(state / "spool")
    try:
        labels = [one for one in store.labels(limit=10**9) if _key(one) in heard]
        chosen = labels[:: max(1, len(labels) // _LOOKED_AT)]
        found: dict[str, list[float]] = {name: [] for name in STAGES}
        for label in chosen:
            if (row := reader.get(label.position)) is None:
                continue
            at = heard[_key(label)]
            times = (at.complete_us, row.received_us, label.labelled_us, at.heard_us)
            for name, before, after in zip(STAGES, times, times[1:], strict=False):
                found[name].append((after - before) / 1000)
    finally:
        store.close()
        reader.close()
    return {name: quantiles(ms) for name, ms in found.items()}


def _key(label: StoredLabel) -> _Key:
    return label.device, label.boot, label.window


def expected_windows(confirmed: int, load: Load, window: WindowInfo) -> int:
    """Windows of the fleet: devices take turns, so the first ones may have sent one message more."""
    each, more = divmod(confirmed, load.devices)
    counts = np.array([each + (number < more) for number in range(load.devices)]) * load.samples
    return int(np.maximum(0, (counts - window.input_samples) // window.hop + 1).sum())
