"""A fleet that is labelled from a registry, while something else is done to the server.

What is done, and what is reported of it, is the benchmark's own; what every one of them asks is whether each
window got one label.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.catalogue import ClusterInfo
from disc_stream.errors import BrokerError
from disc_stream.load.plan import WINDOW, Load
from disc_stream.load.processes import broker_of, read_line, spawn
from disc_stream.load.publisher import CHANNELS, FIRST_SEQ
from disc_stream.load.server import Server
from disc_stream.load.steady import SteadyOrder
from disc_stream.load.trivial import InputSpec, write_mean_bundle
from disc_stream.registry import Lineage, Registry, RowIds
from disc_stream.wire.broker import Broker
from disc_stream.wire.label import decode_label
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink

_PATIENCE_S = 60.0
_FOLLOW_S = 0.05
_K = 6


@dataclass(frozen=True, slots=True)
class Scene:
    """Everybody who takes part.

    Args:
        folder: holds the registry (``models``) and the server's state (``state``).
        prefix: of the topics.
        registry: open.
        server: follows it.
        listener: hears the labels.
    """

    folder: Path
    prefix: str
    registry: Registry
    server: Server
    listener: LabelListener


@dataclass(slots=True)
class Heard:
    """Labels as a subscriber hears them."""

    times: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    ms: list[float] = field(default_factory=list)
    models: Counter[str] = field(default_factory=Counter)
    serving: str = ""


class LabelListener:
    """Hears all labels, and which model serves.

    Latency is from the moment a batch is complete on its device to the label, in milliseconds.
    """

    def __init__(self, broker: str, prefix: str, load: Load) -> None:
        self._step_us, self._hop_us = load.samples * 1e6 / load.fs, WINDOW.hop * 1e6 / load.fs
        self.heard = Heard()
        self._changed = threading.Condition()
        self.link = hear(broker, prefix, self._take)

    def _take(self, message: Message) -> None:
        now_us = time.time_ns() // 1000
        with self._changed:
            if message.topic.endswith("/$server/model"):
                self.heard.serving = json.loads(message.payload)["version"]
                self._changed.notify_all()
                return
            if message.retained:
                return
            label = decode_label(message.payload)
            begin_us = label.t0_us - label.window * self._hop_us
            complete_us = begin_us + (label.seq - FIRST_SEQ + 1) * self._step_us
            self.heard.times[label.device, label.boot, label.window] += 1
            self.heard.ms.append((now_us - complete_us) / 1000)
            self.heard.models[label.model] += 1

    def take_latencies(self) -> list[float]:
        """Those since the last call."""
        with self._changed:
            ms, self.heard.ms = self.heard.ms, []
        return ms

    def wait_for(self, version: str) -> None:
        """Wait until it serves.

        Raises:
            BrokerError: if it does not within a minute.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self.heard.serving == version, _PATIENCE_S):
                raise BrokerError(f"version {version} did not serve within {_PATIENCE_S:g} s")


def play(
    name: str, load: Load, bundles: Sequence[Path], broker: str | None, act: Callable[[Scene], dict[str, Any]]
) -> dict[str, Any]:
    """Let a fleet be labelled while ``act`` does what is measured.

    Args:
        name: of the benchmark.
        load: the fleet.
        bundles: that the registry gets, the first in production; none for two that cost nothing.
        broker: URL; None for one of its own.
        act: is given everybody; returns what the benchmark reports.

    Returns:
        That, and what became of the windows.

    Raises:
        BrokerError: if the broker cannot be used, or a process ends.
    """
    with broker_of(broker) as url, tempfile.TemporaryDirectory(prefix=f"disc-stream-{name}-") as place:
        folder, prefix = Path(place), f"ds/{name}-{int(time.time())}"
        with Registry.create(folder / "models") as registry:
            _fill(registry, bundles or _trivial(folder, load))
            settings = {"bundle": None, "models": str(registry.path), "follow_s": _FOLLOW_S}
            server = Server(url, prefix, load, folder, settings)
            listener = LabelListener(url, prefix, load)
            order = SteadyOrder(url, prefix, load.devices, load.fs, load.samples, load.encoding, churn_s=0.0)
            fleet = spawn("disc_stream.load.steady", asdict(order))
            try:
                read_line(fleet)
                report = act(Scene(folder, prefix, registry, server, listener))
                sent = json.loads(fleet.communicate(timeout=_PATIENCE_S)[0])
                expected = expected_labels(sent["confirmed"], load)
                wait_for(lambda: len(listener.heard.times) >= expected)
            finally:
                fleet.kill()
                code = server.stop()
                listener.link.close()
    times = listener.heard.times
    return {
        "schema": f"disc-stream.{name}/1",
        "load": {"devices": load.devices, "fs": load.fs, "samples": load.samples, "page": load.page},
        **report,
        "windows": {
            "expected": expected,
            "labelled": len(times),
            "labelled_twice": sum(1 for count in times.values() if count > 1),
            "by_model": dict(listener.heard.models),
        },
        "exit_code": code,
    }


def _fill(registry: Registry, bundles: Sequence[Path]) -> None:
    """Versions that have all been in production, so that their ids stand; the first one is."""
    numbers: list[int] = []
    for path in bundles:
        bundle = Bundle.open(path)
        before = registry.current()
        proposal = RowIds.all_fresh(len(bundle.catalogue), None if before is None else before.version)
        version = registry.add(path, Lineage.of_bundle(bundle, created_us=0), proposal)
        registry.promote(version.number, "benchmark", "the beginning")
        numbers.append(version.number)
    if len(numbers) > 1:
        registry.promote(numbers[0], "benchmark", "the beginning")


def _trivial(folder: Path, load: Load) -> list[Path]:
    """Two models of the same six places in different orders."""
    centroids = np.random.default_rng(0).normal(size=(_K, len(CHANNELS))).astype(np.float32)
    clusters = [ClusterInfo(id=k, name=f"cluster-{k}", size=1, distance_q95=1.0) for k in range(_K)]
    paths = [folder / "bundle", folder / "second"]
    for path, places in zip(paths, (centroids, centroids[::-1].copy()), strict=True):
        write_mean_bundle(path, path.name, InputSpec(CHANNELS, load.fs, WINDOW), places, clusters)
    return paths


def hear(broker: str, prefix: str, on_message: Callable[[Message], None]) -> MqttLink:
    """A connection that hears all labels, and which model serves."""
    name = f"{prefix.replace('/', '-')}-listener"
    link = MqttLink(Broker.parse(broker), name, LinkListener(on_message=on_message))
    link.subscribe(f"{prefix}/+/label")
    link.subscribe(f"{prefix}/$server/model")
    link.connect()
    return link


def quantiles(ms: list[float]) -> dict[str, float]:
    """Median, 99th percentile and maximum of latencies in milliseconds."""
    at = (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    return {name: round(float(np.quantile(np.array(ms or [np.nan]), q)), 1) for name, q in at}


def expected_labels(confirmed: int, load: Load) -> int:
    """Labels of the fleet: devices take turns, so the first ones may have sent one message more."""
    each, more = divmod(confirmed, load.devices)
    counts = [each + (number < more) for number in range(load.devices)]
    return sum(max(0, (n * load.samples - WINDOW.input_samples) // WINDOW.hop + 1) for n in counts)


def wait_for(done: Callable[[], bool], timeout_s: float = 30.0) -> None:
    """Wait until something holds, or time is over."""
    deadline = time.monotonic() + timeout_s
    while not done() and time.monotonic() < deadline:
        time.sleep(0.1)
