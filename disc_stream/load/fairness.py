"""``disc-stream benchmark fairness``: what a fleet notices of one device that sends as much as it can.

The same server and the same fleet, first undisturbed and then beside the attacker.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from disc_stream.errors import BrokerError
from disc_stream.load.attacker import KINDS, AttackOrder
from disc_stream.load.ingest import Say
from disc_stream.load.plan import WINDOW, Load
from disc_stream.load.processes import broker_of, read_line, spawn
from disc_stream.load.publisher import CHANNELS, FIRST_SEQ
from disc_stream.load.scene import expected_labels, quantiles, wait_for
from disc_stream.load.server import Server
from disc_stream.load.steady import SteadyOrder
from disc_stream.load.trivial import write_trivial_bundle
from disc_stream.types import DeviceMeta
from disc_stream.wire.broker import Broker
from disc_stream.wire.codecs import decode_batch
from disc_stream.wire.label import decode_label
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink
from disc_stream.wire.problem import decode_problem
from disc_stream.wire.topics import Kind, Topics

SCHEMA = "disc-stream.fairness/1"
ATTACKER = "attacker"
_SAMPLE_S = 0.5
_SETTLE_S = 5.0  # of each phase, not measured
_PATIENCE_S = 60.0
_PIECE_S = 5.0


@dataclass(frozen=True, slots=True)
class FairnessPlan:
    """How long, and what is sent.

    Args:
        minutes: of the attack; the undisturbed phase takes half of that, two minutes at most.
        kinds: of the attacker's messages.
        bundle: model of the server; None for one that costs nothing.
        settings: further ones of the server.
    """

    minutes: float
    kinds: tuple[str, ...] = KINDS
    bundle: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


class _Fleet:
    """Hears the labels of the good devices, and what the attacker is told."""

    def __init__(self, broker: str, prefix: str, load: Load) -> None:
        self._step_us = load.samples * 1e6 / load.fs
        self._hop_us = WINDOW.hop * 1e6 / load.fs
        self.ms: list[float] = []
        self._at: list[float] = []
        self._since = time.monotonic()
        self.labels: set[tuple[str, int]] = set()
        self.told: dict[str, int] = {}
        self._raw_ms: list[float] = []
        self._meta = DeviceMeta(load.fs, CHANNELS)
        self._lock = threading.Lock()
        topics = Topics(prefix)
        name = f"{prefix.replace('/', '-')}-fairness"
        self.link = MqttLink(Broker.parse(broker), name, LinkListener(on_message=self._take))
        for number in range(load.devices):
            for kind in (Kind.LABEL, Kind.RAW):
                self.link.subscribe(topics.of(f"steady-{number:05d}", kind))
        self.link.subscribe(topics.of(ATTACKER, Kind.PROBLEM))
        self.link.connect()

    def _take(self, message: Message) -> None:
        now_us = time.time_ns() // 1000
        if message.topic.endswith(Kind.PROBLEM):
            problem = decode_problem(message.payload)
            if problem is not None:
                self.told[problem.code] = self.told.get(problem.code, 0) + 1
            return
        if message.retained:
            return
        if message.topic.endswith(Kind.RAW):
            batch = decode_batch(message.payload, device="steady", content_type="", meta=self._meta)
            complete_us = batch.t0_us + len(batch.samples) * 1e6 / batch.fs
            with self._lock:
                self._raw_ms.append((now_us - complete_us) / 1000)
            return
        label = decode_label(message.payload)
        begin_us = label.t0_us - label.window * self._hop_us
        complete_us = begin_us + (label.seq - FIRST_SEQ + 1) * self._step_us
        with self._lock:
            self.labels.add((label.device, label.window))
            self.ms.append((now_us - complete_us) / 1000)
            self._at.append(time.monotonic())

    def begin_phase(self) -> None:
        """What was heard so far does not count."""
        with self._lock:
            self.ms, self._at, self._since = [], [], time.monotonic()
            self._raw_ms = []

    def series(self) -> list[list[float]]:
        """For each piece of the phase: seconds since its beginning, median and longest latency in it."""
        with self._lock:
            at, ms = np.array(self._at) - self._since, np.array(self.ms)
        pieces = [(float(begin), ms[(at >= begin) & (at < begin + _PIECE_S)]) for begin in _pieces(at)]
        return [
            [begin, round(float(np.median(some)), 1), round(float(some.max()), 1)]
            for begin, some in pieces
            if len(some)
        ]

    def latency(self) -> dict[str, float | int]:
        """From the moment a batch is complete on its device to the label, in milliseconds."""
        with self._lock:
            return {"labels": len(self.ms), **quantiles(self.ms)}

    def broker_latency(self) -> dict[str, float]:
        """The same to the batch itself at a subscriber: what broker and machine take, without our server."""
        with self._lock:
            return quantiles(self._raw_ms)


@dataclass(slots=True)
class _Watch:
    """What was seen of the server during a phase."""

    rss: list[int] = field(default_factory=list)
    limited: dict[str, dict[str, int]] = field(default_factory=dict)
    waiting_windows: int = 0

    def look(self, server: Server) -> None:
        """Take a sample."""
        self.rss.append(server.rss_bytes())
        self.limited |= server.limited
        self.waiting_windows = max(self.waiting_windows, server.counters.get("windows_waiting", 0))


def run(load: Load, plan: FairnessPlan, broker: str | None, say: Say) -> dict[str, Any]:
    """Run both phases.

    Raises:
        BrokerError: if the broker cannot be used, or a process ends.
    """
    with broker_of(broker) as url, tempfile.TemporaryDirectory(prefix="disc-stream-fairness-") as name:
        folder, prefix = Path(name), f"ds/fairness-{int(time.time())}"
        if plan.bundle is None:
            write_trivial_bundle(folder / "bundle", CHANNELS, load.fs, WINDOW)
        bundle = folder / "bundle" if plan.bundle is None else plan.bundle.absolute()
        server = Server(url, prefix, load, folder, {**plan.settings, "bundle": str(bundle)})
        heard = _Fleet(url, prefix, load)
        order = SteadyOrder(url, prefix, load.devices, load.fs, load.samples, load.encoding, churn_s=0.0)
        fleet = spawn("disc_stream.load.steady", asdict(order))
        try:
            read_line(fleet)
            report = _phases(load, plan, _Scene(url, prefix, server, heard, fleet), say)
            sent = json.loads(fleet.communicate(timeout=_PATIENCE_S)[0])
            expected = expected_labels(sent["confirmed"], load)
            wait_for(lambda: len(heard.labels) >= expected)
        finally:
            fleet.kill()
            code = server.stop()
            heard.link.close()
    return {
        "schema": SCHEMA,
        "load": {"devices": load.devices, "fs": load.fs, "samples": load.samples, "kinds": plan.kinds},
        "minutes": plan.minutes,
        **report,
        "fleet": {**sent, "labels": len(heard.labels), "labels_expected": expected},
        "exit_code": code,
    }


@dataclass(frozen=True, slots=True)
class _Scene:
    """Everybody who takes part."""

    broker: str
    prefix: str
    server: Server
    heard: _Fleet
    fleet: subprocess.Popen[str]


def _phases(load: Load, plan: FairnessPlan, scene: _Scene, say: Say) -> dict[str, Any]:
    server, heard = scene.server, scene.heard
    calm_s = min(plan.minutes * 30, 120.0)
    calm = _watch(scene, calm_s, say, "undisturbed")
    undisturbed, broker_calm = heard.latency(), heard.broker_latency()
    order = AttackOrder(
        scene.broker, scene.prefix, ATTACKER, load.fs, load.samples, load.encoding, tuple(plan.kinds)
    )
    attacker = spawn("disc_stream.load.attacker", asdict(order))
    try:
        read_line(attacker)
        stormy = _watch(scene, plan.minutes * 60, say, "under attack")
        attacked, series, broker_stormy = heard.latency(), heard.series(), heard.broker_latency()
        sent = json.loads(attacker.communicate(timeout=_PATIENCE_S)[0])
    finally:
        attacker.kill()
    before, during = max(calm.rss), max(stormy.rss)
    return {
        "undisturbed": {"latency_ms": undisturbed, "broker_ms": broker_calm, "rss_mib": _mib(before)},
        "attack": {
            "latency_ms": attacked,
            "broker_ms": broker_stormy,
            "rss_mib": _mib(during),
            "windows_waiting": stormy.waiting_windows,
            "series": series,
        },
        "ratio_p99": round(attacked["p99"] / undisturbed["p99"], 2),
        "rss_growth_mib": _mib(during - before),
        "memory": {
            "peak_mib": _mib(during),
            "limit_mib": _mib(server.counters.get("memory_limit_bytes", 0)),
        },
        "attacker": {
            **sent,
            "megabytes_s": round(sent["bytes"] / plan.minutes / 60e6, 1),
            "messages_s": round(sent["confirmed"] / plan.minutes / 60),
            "told": heard.told,
            "in_status": stormy.limited.get(ATTACKER, {}),
        },
        "others_limited": sorted(stormy.limited.keys() - {ATTACKER}),
        "rejected": server.rejected,
        "over_quota": server.counters.get("over_quota", 0),
        "limited": server.counters.get("limited", 0),
        "counters": server.counters,
    }


def _watch(scene: _Scene, seconds: float, say: Say, what: str) -> _Watch:
    """Let a phase go by."""
    watch, begin = _Watch(), time.monotonic()
    settle_s = min(_SETTLE_S, seconds / 4)
    settled = False
    while (elapsed := time.monotonic() - begin) < seconds:
        time.sleep(min(_SAMPLE_S, seconds - elapsed))
        if not settled and elapsed >= settle_s:
            scene.heard.begin_phase()
            settled = True
        if scene.fleet.poll() is not None:
            raise BrokerError("the publishing process ended")
        watch.look(scene.server)
        say(f"{what}: {elapsed:.0f} of {seconds:.0f} s, {_mib(watch.rss[-1])} MiB")
    return watch


def _pieces(at: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.arange(0.0, at.max() if len(at) else 0.0, _PIECE_S)


def _mib(size: int) -> float:
    return round(size / 2**20, 1)
