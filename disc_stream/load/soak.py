"""``disc-stream benchmark soak``: a steady fleet with churn; memory, queues, latency."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from disc_stream.errors import BrokerError
from disc_stream.load.ingest import Say
from disc_stream.load.plan import WINDOW, Load
from disc_stream.load.processes import broker_of, read_line, spawn
from disc_stream.load.publisher import CHANNELS, FIRST_SEQ
from disc_stream.load.server import Server
from disc_stream.load.steady import SteadyOrder
from disc_stream.load.trivial import write_trivial_bundle
from disc_stream.wire.broker import Broker
from disc_stream.wire.label import decode_label
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink

SCHEMA = "disc-stream.soak/1"
_SAMPLE_S = 3.0
_LEVEL = 40  # samples, two minutes
_MAX_LATENCIES = 2_000_000


class _Latencies:
    """From the moment a batch is complete on its device to the label at a subscriber, in milliseconds."""

    def __init__(self, broker: str, prefix: str, load: Load) -> None:
        self._step_us = load.samples * 1e6 / load.fs
        self._hop_us = WINDOW.hop * 1e6 / load.fs
        self.labels = 0
        self.ms: list[float] = []
        self.link = MqttLink(
            Broker.parse(broker), f"{prefix.replace('/', '-')}-soak", LinkListener(on_message=self._take)
        )
        self.link.subscribe(f"{prefix}/+/label")
        self.link.connect()

    def _take(self, message: Message) -> None:
        now_us = time.time_ns() // 1000
        if message.retained:
            return
        label = decode_label(message.payload)
        self.labels += 1
        begin_us = label.t0_us - label.window * self._hop_us
        complete_us = begin_us + (label.seq - FIRST_SEQ + 1) * self._step_us
        if len(self.ms) < _MAX_LATENCIES:
            self.ms.append((now_us - complete_us) / 1000)


@dataclass(frozen=True, slots=True)
class SoakPlan:
    """How long, and with how much coming and going.

    Args:
        minutes: the fleet runs.
        warm_minutes: after which memory is judged.
        churn_s: a device starts anew, or another takes its place, every so many seconds; 0 for never.
    """

    minutes: float
    warm_minutes: float
    churn_s: float


@dataclass(frozen=True, slots=True)
class _Observed:
    """What a run has left to report on."""

    samples: list[dict[str, float]]
    sent: dict[str, Any]
    server: Server
    labels: _Latencies
    exit_code: int


def run(load: Load, plan: SoakPlan, broker: str | None, say: Say) -> dict[str, Any]:
    """Run the fleet as planned.

    Raises:
        BrokerError: if the broker cannot be used, or a process ends.
    """
    with broker_of(broker) as url, tempfile.TemporaryDirectory(prefix="disc-stream-soak-") as name:
        folder, prefix = Path(name), f"ds/soak-{int(time.time())}"
        write_trivial_bundle(folder / "bundle", CHANNELS, load.fs, WINDOW)
        server = Server(url, prefix, load, folder)
        heard = _Latencies(url, prefix, load)
        order = SteadyOrder(url, prefix, load.devices, load.fs, load.samples, load.encoding, plan.churn_s)
        fleet = spawn("disc_stream.load.steady", asdict(order))
        try:
            read_line(fleet)
            samples = _watch(server, plan.minutes * 60, say, lambda: fleet.poll() is None)
            sent = json.loads(fleet.communicate(timeout=60)[0])
            _wait_for(lambda: server.batches >= sent["confirmed"])
        finally:
            fleet.kill()
            code = server.stop()
            heard.link.close()
    return _report(load, plan, _Observed(samples, sent, server, heard, code))


def _watch(server: Server, seconds: float, say: Say, alive: Callable[[], bool]) -> list[dict[str, float]]:
    samples = []
    begin = time.monotonic()
    while (elapsed := time.monotonic() - begin) < seconds:
        time.sleep(min(_SAMPLE_S, seconds - elapsed))
        if not alive():
            raise BrokerError("the publishing process ended")
        counters = server.counters
        samples.append(
            {
                "s": round(time.monotonic() - begin, 1),
                "rss": server.rss_bytes(),
                "queue": counters.get("queue", 0),
                "deferred": counters.get("deferred", 0),
                "devices": counters.get("devices", 0),
            }
        )
        say(f"{elapsed / 60:.0f} of {seconds / 60:.0f} min, {samples[-1]['rss'] / 2**20:.1f} MiB")
    return samples


def _median_rss(samples: list[dict[str, float]]) -> float:
    """A level instead of a moment: memory has steps of some 2 MiB that come and go."""
    return float(np.median([one["rss"] for one in samples]))


def _wait_for(done: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not done() and time.monotonic() < deadline:
        time.sleep(0.1)


def _report(load: Load, plan: SoakPlan, seen: _Observed) -> dict[str, Any]:
    samples, sent, server, heard = seen.samples, seen.sent, seen.server, seen.labels
    settled = [one for one in samples if one["s"] >= plan.warm_minutes * 60] or samples[-1:]
    level = max(1, min(_LEVEL, len(settled) // 5))
    first, last = (_median_rss(part) for part in (settled[:level], settled[-level:]))
    ms = np.array(heard.ms or [np.nan])
    quantiles = {
        name: round(float(np.quantile(ms, q)), 1) for name, q in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    }
    return {
        "schema": SCHEMA,
        "load": {"devices": load.devices, "fs": load.fs, "samples": load.samples, "encoding": load.encoding},
        "minutes": plan.minutes,
        "churn_s": plan.churn_s,
        "fleet": sent,
        "rss_mib": {
            "after_warm_up": round(first / 2**20, 2),
            "end": round(last / 2**20, 2),
            "highest": round(max(one["rss"] for one in settled) / 2**20, 2),
        },
        "rss_growth": round(last / first - 1, 4),
        "longest_queue": max(one["queue"] for one in samples),
        "max_deferred": max(one["deferred"] for one in samples),
        "devices_in_memory": settled[-1]["devices"],
        "lost": sent["confirmed"] - server.batches,
        "duplicated": server.counters["duplicates"],
        "labels": server.counters["labels"],
        "labels_heard": heard.labels,
        "latency_ms": quantiles,
        "rejected": server.rejected,
        "exit_code": seen.exit_code,
        "page": {"on": load.page, "viewers": [viewer.summary() for viewer in server.viewers]},
        "series": [
            [one["s"], round(one["rss"] / 2**20, 2), one["queue"]]
            for one in samples[:: max(1, len(samples) // 120)]
        ],
    }
