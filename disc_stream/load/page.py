"""``disc-stream benchmark page``: what viewers of the dashboard cost, and what they get.

::

    fleet ─▶ broker ─▶ server ─▶ labels ─▶ listener (latency)
                         └─▶ dashboard, API ─▶ Chromium, and onlookers that do the same without a screen

One run, in which the number of viewers changes: none, one, twenty, and again. So the machine's other work
falls on all of them. What the page costs is the processor time of its own thread, and of those
that it starts.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from disc_stream.errors import BrokerError
from disc_stream.load.chromium import Chromium, find_chromium
from disc_stream.load.ingest import Say
from disc_stream.load.onlookers import OnlookersOrder
from disc_stream.load.plan import WINDOW, Load
from disc_stream.load.processes import Lines, broker_of, read_line, spawn
from disc_stream.load.publisher import CHANNELS, FIRST_SEQ
from disc_stream.load.scene import hear, quantiles
from disc_stream.load.server import Server
from disc_stream.load.steady import SteadyOrder
from disc_stream.load.threadtimes import ThreadTimes
from disc_stream.load.trivial import write_trivial_bundle
from disc_stream.wire.label import decode_label
from disc_stream.wire.mqtt import Message

SCHEMA = "disc-stream.page/1"
THREAD = "dashboard"
"""Of the server, and so of all that it starts."""
_SETTLE_S = 6.0
_SAMPLE_S = 30.0
_LEVEL = 10  # samples, five minutes
_COUNT_UPDATES = """(() => {
  window.updates = 0;
  const look = () => {
    const all = document.querySelector(".body .all");
    if (!all) return setTimeout(look, 50);
    new MutationObserver(() => window.updates++).observe(all, { subtree: true, childList: true,
      characterData: true, attributes: true });
  };
  look();
})()"""

Note = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class PagePlan:
    """What is measured.

    Args:
        viewers: numbers of viewers, one after the other.
        rounds: how often all of them.
        seconds: of each.
        minutes: afterwards, with one viewer, for memory; 0 for not at all.
        browser: whether one of the viewers is Chromium.
    """

    viewers: Sequence[int] = (0, 1, 20)
    rounds: int = 2
    seconds: float = 30.0
    minutes: float = 0.0
    browser: bool = True


class _Ear:
    """Latencies of labels: from the moment a batch is complete on its device, in milliseconds."""

    def __init__(self, broker: str, prefix: str, load: Load) -> None:
        self._step_us, self._hop_us = load.samples * 1e6 / load.fs, WINDOW.hop * 1e6 / load.fs
        self._lock, self._ms = threading.Lock(), list[float]()
        self.link = hear(broker, prefix, self._take)

    def _take(self, message: Message) -> None:
        now_us = time.time_ns() // 1000
        if message.retained or not message.topic.endswith("/label"):
            return
        label = decode_label(message.payload)
        begin_us = label.t0_us - label.window * self._hop_us
        complete_us = begin_us + (label.seq - FIRST_SEQ + 1) * self._step_us
        with self._lock:
            self._ms.append((now_us - complete_us) / 1000)

    def take(self) -> list[float]:
        """Those since the last call."""
        with self._lock:
            ms, self._ms = self._ms, []
        return ms


class _Onlookers:
    """The process of viewers without a browser; its last line counts.

    Args:
        address: of the server.
        viewers: how many.
    """

    def __init__(self, address: str, viewers: int) -> None:
        self.last: dict[str, Any] = {}
        order = OnlookersOrder(address, viewers)
        self._process = spawn("disc_stream.load.onlookers", asdict(order))
        self._lines = Lines(self._process, self._note)

    def _note(self, line: dict[str, Any]) -> None:
        self.last = line

    def stop(self) -> None:
        """Look on no longer."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._process.kill()
        self._process.wait()
        self._lines.join()


@dataclass(frozen=True, slots=True)
class _Stage:
    """Everybody who takes part."""

    server: Server
    url: str
    times: ThreadTimes
    ear: _Ear
    chromium: Chromium | None
    is_alive: Callable[[], bool]


def run(load: Load, plan: PagePlan, broker: str | None, say: Say, note: Note) -> dict[str, Any]:
    """Measure.

    Args:
        load: the fleet.
        plan: of the viewers.
        broker: URL; None for a Mosquitto of our own.
        say: told what is measured.
        note: told each measurement as soon as it is there.

    Raises:
        BrokerError: if the broker cannot be used, or a process ends.
    """
    program = find_chromium() if plan.browser else None
    with (
        broker_of(broker) as url,
        tempfile.TemporaryDirectory(prefix="disc-stream-page-", ignore_cleanup_errors=True) as place,
        ExitStack() as stack,
    ):
        stage = _set_up(stack, Path(place), url, load, program)
        phases: list[dict[str, Any]] = []
        for number in range(plan.rounds):
            for viewers in plan.viewers:
                say(f"round {number + 1} of {plan.rounds}: {viewers} viewers")
                phases.append(_measure(stage, viewers, plan.seconds))
                note({"event": "phase", **phases[-1]})
        memory = _watch(stage, plan.minutes * 60, say, note) if plan.minutes else None
        counters = stage.server.counters
    return {
        "schema": SCHEMA,
        "load": {"devices": load.devices, "fs": load.fs, "samples": load.samples,
                 "labels_per_s": round(load.devices * load.fs / WINDOW.hop, 1)},
        "browser": None if program is None else Path(program).name,
        "seconds": plan.seconds, "rounds": plan.rounds,
        "by_viewers": _summary(phases), "phases": phases, "memory": memory,
        "shed": {name: counters.get(name, 0) for name in ("deferred", "backlog", "queue")},
    }  # fmt: skip


def _set_up(stack: ExitStack, folder: Path, url: str, load: Load, program: str | None) -> _Stage:
    prefix = f"ds/page-{time.time_ns()}"
    write_trivial_bundle(folder / "bundle", CHANNELS, load.fs, WINDOW)
    server = Server(url, prefix, load, folder, {"api_requests_s": 1e6})
    stack.callback(server.stop)
    ear = _Ear(url, prefix, load)
    stack.callback(ear.link.close)
    order = SteadyOrder(url, prefix, load.devices, load.fs, load.samples, load.encoding, churn_s=0.0)
    fleet = spawn("disc_stream.load.steady", asdict(order))
    stack.enter_context(fleet)  # closes its pipes, and waits for its end
    stack.callback(fleet.kill)
    read_line(fleet)
    chromium = None
    if program is not None:
        (folder / "profile").mkdir()
        chromium = stack.enter_context(Chromium(program, folder / "profile"))
    times = ThreadTimes(server.process.pid, THREAD)
    return _Stage(server, server.url, times, ear, chromium, lambda: fleet.poll() is None)


@contextmanager
def _looked_at(stage: _Stage, viewers: int) -> Iterator[_Onlookers | None]:
    """So many look on; the first of them is Chromium if there is one."""
    others = viewers - (stage.chromium is not None and viewers > 0)
    onlookers = _Onlookers(stage.url.removeprefix("http://"), others) if others else None
    try:
        if stage.chromium is not None:
            if viewers:
                stage.chromium.open("about:blank")  # or it would stay, and be counted twice
                stage.chromium.open(f"{stage.url}/#/fleet")
                stage.chromium.wait("!!document.querySelector('[data-device]')")
                stage.chromium.run(_COUNT_UPDATES)
            else:
                stage.chromium.open("about:blank")
        yield onlookers
    finally:
        if onlookers is not None:
            onlookers.stop()


def _measure(stage: _Stage, viewers: int, seconds: float) -> dict[str, Any]:
    with _looked_at(stage, viewers) as onlookers:
        time.sleep(_SETTLE_S)
        seen = _updates(stage, viewers)
        before, counted = onlookers.last if onlookers else {}, stage.server.counters
        page_s, all_s = stage.times.look()
        stage.ear.take()
        began = time.monotonic()
        while (left := began + seconds - time.monotonic()) > 0:
            time.sleep(min(1.0, left))
            stage.times.look()  # threads that end meanwhile
        took = time.monotonic() - began
        page_end_s, all_end_s = stage.times.look()
        ms = stage.ear.take()
        after = onlookers.last if onlookers else {}
        seen_after, counted_after = _updates(stage, viewers), stage.server.counters
    if not stage.is_alive():
        raise BrokerError("the publishing process ended")
    labels = counted_after.get("labels", 0) - counted.get("labels", 0)
    return {
        "viewers": viewers,
        "page_cores": round((page_end_s - page_s) / took, 4),
        "server_cores": round((all_end_s - all_s) / took, 4),
        "labels_per_s": round(labels / took, 1),
        "label_ms": quantiles(ms),
        "browser_updates_per_s": None if seen is None else round((seen_after - seen) / took, 2),
        "updates_per_s": _rates(before, after),
        "dropped": after.get("dropped", 0), "failures": after.get("failures", 0),
        "kib_per_s_each": _kib(before, after),
    }  # fmt: skip


def _updates(stage: _Stage, viewers: int) -> Any:
    if stage.chromium is None or not viewers:
        return None
    return stage.chromium.run("window.updates")


def _rates(before: dict[str, Any], after: dict[str, Any]) -> dict[str, float] | None:
    """Updates per second of the viewer that got fewest, and of the one in the middle."""
    if not before or after["at"] <= before["at"]:
        return None
    pairs = zip(before["updates"], after["updates"], strict=True)
    each = [(end - begin) / (after["at"] - before["at"]) for begin, end in pairs]
    return {"fewest": round(min(each), 2), "median": round(median(each), 2)}


def _kib(before: dict[str, Any], after: dict[str, Any]) -> float | None:
    if not before or after["at"] <= before["at"]:
        return None
    rate: float = (after["bytes"] - before["bytes"]) / (after["at"] - before["at"])
    return round(rate / 1024 / len(after["updates"]), 2)


def _summary(phases: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Medians over the rounds, and what viewers add to the label's latency."""
    found: dict[str, dict[str, Any]] = {}
    for viewers in dict.fromkeys(one["viewers"] for one in phases):
        own = [one for one in phases if one["viewers"] == viewers]
        found[str(viewers)] = {
            **{name: round(median(one[name] for one in own), 4) for name in ("page_cores", "server_cores")},
            **{f"label_{q}_ms": round(median(one["label_ms"][q] for one in own), 1) for q in ("p50", "p99")},
        }
    if (alone := found.get("0")) is not None:
        for facts in found.values():
            facts["p99_ratio"] = round(facts["label_p99_ms"] / alone["label_p99_ms"], 3)
    return found


def _watch(stage: _Stage, seconds: float, say: Say, note: Note) -> dict[str, Any]:
    """Memory of the server and of the browser while one looks on."""
    samples: list[dict[str, Any]] = []
    with _looked_at(stage, 1) as onlookers:
        begin = time.monotonic()
        while (elapsed := time.monotonic() - begin) < seconds:
            time.sleep(min(_SAMPLE_S, seconds - elapsed))
            if not stage.is_alive():
                raise BrokerError("the publishing process ended")
            chromium, counters = stage.chromium, stage.server.counters
            page_s, all_s = stage.times.look()
            samples.append({
                "s": round(time.monotonic() - begin, 1), "server_bytes": stage.server.rss_bytes(),
                "browser_heap_bytes": None if chromium is None else chromium.heap_bytes(),
                "browser_rss_bytes": None if chromium is None else chromium.rss_bytes(),
                "updates": chromium.run("window.updates") if chromium else (onlookers and onlookers.last),
                "labels": counters.get("labels", 0), "devices": counters.get("devices", 0),
                "page_s": round(page_s, 2), "server_s": round(all_s, 2),
            })  # fmt: skip
            note({"event": "memory", **samples[-1]})
            say(f"{elapsed / 60:.0f} of {seconds / 60:.0f} min")
    return {"minutes": round(seconds / 60, 1), **growth(samples)}


def growth(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """First and last level of each memory, as medians of some minutes, and the share by which it grew.

    The first fifth does not count: caches fill in it.
    """
    settled = samples[len(samples) // 5 :]
    level = max(1, min(_LEVEL, len(settled) // 3))
    found: dict[str, Any] = {}
    for name in ("server_bytes", "browser_heap_bytes", "browser_rss_bytes"):
        if samples and samples[0][name] is not None:
            first, last = (median(one[name] for one in part) for part in (settled[:level], settled[-level:]))
            mib = {"first_mib": round(first / 2**20, 1), "last_mib": round(last / 2**20, 1)}
            found[name.removesuffix("_bytes")] = {**mib, "growth": round(last / first - 1, 4)}
    return found


def write_line(path: Path, facts: dict[str, Any]) -> None:
    """Add a line of JSON to a log."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"at": round(time.time(), 1), **facts}) + "\n")
