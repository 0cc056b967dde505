"""``disc-stream benchmark ingest``: the whole server and a bare subscriber, one after the other, alike."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from disc_stream.errors import BrokerError, DiscStreamError
from disc_stream.load.plan import WINDOW, Load
from disc_stream.load.processes import Lines, broker_of, read_line, spawn, tell
from disc_stream.load.publisher import CHANNELS, Order
from disc_stream.load.server import UNLIMITED, Progress, Server
from disc_stream.load.trivial import write_trivial_bundle

SCHEMA = "disc-stream.ingest/1"
_AHEAD = 4_000  # messages that may be in the broker, between a publisher and the subscriber
_TICK_S = 0.02
_STALLED_S = 60.0
_LATENCIES = 2_000  # labels looked at for the latency

Say = Callable[[str], None]


class _Fleet:
    """The publishing processes, held back so that no more than ``_AHEAD`` messages wait in the broker."""

    def __init__(self, broker: str, prefix: str, load: Load) -> None:
        names = [f"load-{number:06d}" for number in range(load.devices)]
        self._processes = []
        self._shares = []
        for number in range(load.publishers):
            mine = names[number :: load.publishers]
            if not mine:
                continue
            order = Order(
                broker, prefix, mine, load.rounds, load.fs, load.samples, load.encoding, boot=int(time.time())
            )
            process = spawn("disc_stream.load.publisher", asdict(order))
            self._processes.append(process)
            self._shares.append(len(mine) / load.devices)

    def wait_ready(self) -> None:
        """Wait until all have announced their devices."""
        for process in self._processes:
            read_line(process)

    def allow(self, delivered: int) -> None:
        """So many messages have reached the subscriber."""
        for process, share in zip(self._processes, self._shares, strict=True):
            tell(process, str(int((delivered + _AHEAD) * share)))

    def close(self) -> None:
        """End them."""
        for process in self._processes:
            process.kill()
            process.communicate()


def _drive(fleet: _Fleet, progress: Progress, total: int, say: Say, what: str) -> None:
    """Let the publishers go on as far as the subscriber has come, until all is through."""
    last, since = -1, time.monotonic()
    while progress.count < total:
        fleet.allow(progress.count)
        time.sleep(_TICK_S)
        if progress.count != last:
            last, since = progress.count, time.monotonic()
            say(f"{what}: {last:,} of {total:,} messages")
        elif time.monotonic() - since > _STALLED_S:
            raise BrokerError(f"{what}: only {last} of {total} messages came through")
    fleet.allow(total)


def measure_bare(broker: str, prefix: str, load: Load, say: Say) -> dict[str, Any]:
    """The reference: messages/s and processor time per message of a subscriber that only counts."""
    order = {
        "broker": broker, "client_id": f"{prefix.replace('/', '-')}-bare", "filter": f"{prefix}/+/raw",
        "messages": load.total, "receive_maximum": load.receive_maximum,
    }  # fmt: skip
    process = spawn("disc_stream.load.bare", order)
    progress, end = Progress(), {"cpu_s": 0.0}

    def note(line: dict[str, Any]) -> None:
        progress.note(line["count"], load.warm)
        end["cpu_s"] = line.get("cpu_s", 0.0)

    try:
        read_line(process)
        reading = Lines(process, note)
        fleet = _Fleet(broker, prefix, load)
        try:
            fleet.wait_ready()
            _drive(fleet, progress, load.total, say, "bare subscriber")
        finally:
            fleet.close()
        reading.join()
    finally:
        process.kill()
        process.communicate()
    return {
        "messages_per_s": progress.rate,
        "cpu_us_per_message": round(end["cpu_s"] / load.total * 1e6, 2),
    }


def measure_server(broker: str, prefix: str, load: Load, folder: Path, say: Say) -> dict[str, Any]:
    """The same of the whole server, with processor time by stage, memory, losses and repetitions."""
    write_trivial_bundle(folder / "bundle", CHANNELS, load.fs, WINDOW)
    server = Server(broker, prefix, load, folder, UNLIMITED)
    try:
        idle = server.rss_bytes()
        fleet = _Fleet(broker, prefix, load)
        try:
            fleet.wait_ready()
            _drive(fleet, server.progress, load.total, say, "server")
        finally:
            fleet.close()
        busy = server.rss_bytes()
    finally:
        code = server.stop()
    if code:
        raise BrokerError(f"the server ended with code {code}")
    return {**_server_report(server, load, idle, busy), "latency_ms": _latencies(folder / "state")}


def _latencies(state: Path) -> dict[str, float]:
    """From a message's arrival to the label it completes, at full load, over labels spread over the run."""
    from disc_stream_server.storage.spool import SpoolReader
    from disc_stream_server.storage.state import StateStore

    store, reader = StateStore(state), SpoolReader(state / "spool")
    try:
        labels = store.labels(limit=10**9)
        chosen = labels[:: max(1, len(labels) // _LATENCIES)]
        rows = {label.position: reader.get(label.position) for label in chosen}
    finally:
        store.close()
        reader.close()
    waits = sorted(
        (label.labelled_us - row.received_us) / 1000
        for label in chosen
        if (row := rows[label.position]) is not None
    )
    at = {"p50": len(waits) // 2, "p99": len(waits) * 99 // 100, "max": len(waits) - 1}
    return {name: round(waits[index], 1) for name, index in at.items()} if waits else {}


def _server_report(server: Server, load: Load, idle: int, busy: int) -> dict[str, Any]:
    counters = server.counters
    stages = {name: us / load.total for name, us in _cpu_us(server.first, counters).items()}
    return {
        "messages_per_s": server.progress.rate,
        "cpu_us_per_message": {name: round(us, 2) for name, us in stages.items()},
        "cpu_us_per_message_total": round(sum(stages.values()), 2),
        "first_contact": _first_contact(server, load),
        "labels": counters["labels"],
        "labels_expected": load.devices
        * max(0, (load.rounds * load.samples - WINDOW.input_samples) // WINDOW.hop + 1),
        "lost": load.total - counters["batches"],
        "duplicated": counters["duplicates"],
        "rejected": server.rejected,
        "rss_idle_mib": round(idle / 2**20, 1),
        "rss_mib": round(busy / 2**20, 1),
        "bytes_per_device": round((busy - idle) / load.devices),
        "page": {"on": load.page, "viewers": [viewer.summary() for viewer in server.viewers]},
    }


def _cpu_us(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Processor time of each stage between two statuses."""
    return {
        name.removeprefix("cpu_us_"): us - before.get(name, 0)
        for name, us in after.items()
        if name.startswith("cpu_us_")
    }


_FEW_MESSAGES = 4  # of each device, up to which what its first one costs can be told from the others


def _first_contact(server: Server, load: Load) -> dict[str, float | None]:
    """What a message costs once all devices are known, and what getting to know one costs on top of that.

    The messages before the clock starts are those with which devices are got to know; what they cost beyond
    as many later ones is their devices'. None where a run was too short, and of few devices: what they cost
    is lost among their many messages.
    """
    early = server.progress.first_count
    later = server.progress.count - early
    if not server.warm or later <= 0:
        return {"us_per_device": None, "then_us_per_message": None}
    each = sum(_cpu_us(server.warm, server.counters).values()) / later
    known_us = sum(_cpu_us(server.first, server.warm).values()) - each * early
    told = early <= _FEW_MESSAGES * load.devices
    return {
        "us_per_device": round(known_us / load.devices, 1) if told else None,
        "then_us_per_message": round(each, 2),
    }


def run(load: Load, broker: str | None, repeats: int, say: Say) -> dict[str, Any]:
    """Measure both, in turn, ``repeats`` times; the medians count.

    Raises:
        BrokerError: if the broker cannot be used, or messages do not come through.
    """
    bare: list[dict[str, Any]] = []
    server: list[dict[str, Any]] = []
    for number in range(repeats):
        with ExitStack() as stack:
            url = stack.enter_context(broker_of(broker))
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="disc-stream-load-")))
            prefix = f"ds/load-{os.getpid()}-{number}"
            bare.append(measure_bare(url, f"{prefix}b", load, say))
            server.append(measure_server(url, f"{prefix}s", load, folder, say))
    best = _median(server)
    reference = _median(bare)
    return {
        "schema": SCHEMA,
        "load": {**asdict(load), "qos": 1, "messages": load.total, "rounds": load.rounds},
        "bare": reference,
        "server": best,
        "ratio": _ratio(best, reference),
        "ratios": [_ratio(s, b) for s, b in zip(server, bare, strict=True)],
    }


def _median(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The run whose rate is the median."""
    return sorted(runs, key=lambda run: run["messages_per_s"] or 0.0)[len(runs) // 2]


def _ratio(server: dict[str, Any], bare: dict[str, Any]) -> float | None:
    """Of the rates; None where a run was too short to have one."""
    if server["messages_per_s"] is None or bare["messages_per_s"] is None:
        return None
    return float(round(server["messages_per_s"] / bare["messages_per_s"], 3))


def check(load: Load) -> None:
    """Refuse what cannot be measured.

    Raises:
        DiscStreamError: if a number is out of range.
    """
    if load.devices < 1 or load.samples < 1 or load.messages < load.devices:
        raise DiscStreamError("there must be at least one device, one sample and one message for each device")
