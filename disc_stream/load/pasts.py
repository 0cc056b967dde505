"""``disc-stream benchmark history``: how fast the past of a device is read, and how much it takes on disk.

A store of many devices' months is made with the store's own tables and functions, without the labels that
would have led there: episodes are drawn, and each device's newest labels are real ones. Then single days are
read at random, first with nobody writing, then while another thread commits the labels of all devices, five
times as fast as they would come. Beside the time that passes there are that of the processor, what is left
of it without the time in which other work had the processor, and what was read: these say the same on a busy
machine.
"""

from __future__ import annotations

import itertools
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from disc_stream.episodes import Span
from disc_stream_server.storage.clusterkeys import key_of
from disc_stream_server.storage.clusternames import number_of
from disc_stream_server.storage.history import History
from disc_stream_server.storage.queries import FILE
from disc_stream_server.storage.records import Commit, LaneState, StoredLabel
from disc_stream_server.storage.sqlite import connect, insert
from disc_stream_server.storage.state import StateStore

SCHEMA = "disc-stream.benchmark.history/1"
Say = Callable[[str], None]

DAY_US = 86_400_000_000
BEGIN_US = 1_790_000_000_000_000
_HOP_US, _WINDOW_US = 1_280_000, 2_560_000
_MODEL, _CLUSTERS = "1f0c9d2e5a3b", 8
_EACH = 4  # labels of a device in one checkpoint
_EVERY_S = 1.0
_LABELLED = 1_024  # newest windows of each device that have labels: twenty minutes


@dataclass(frozen=True, slots=True)
class HistoryPlan:
    """What is made and read.

    Args:
        devices: how many.
        days: of each.
        fewest: episodes of a device and day, at least.
        most: at most.
        reads: of each kind.
        seed: of the episodes, and of what is read.
    """

    devices: int = 1_000
    days: int = 30
    fewest: int = 50
    most: int = 500
    reads: int = 200
    seed: int = 0


def run(plan: HistoryPlan, say: Say) -> dict[str, Any]:
    """Make the store, and read it.

    Raises:
        StorageError: if the disk does not take it.
    """
    with tempfile.TemporaryDirectory(prefix="disc-stream-history-") as name:
        folder = Path(name)
        say("making a store")
        episodes = make_past(folder, plan, say)
        size = (folder / FILE).stat().st_size
        say("adding the newest labels")
        labels = _label(folder, plan)
        grown = (folder / FILE).stat().st_size - size
        with closing(History(folder)) as history:
            say("reading")
            alone = _read(history, plan)
            stop = threading.Event()
            counts = {"checkpoints": 0, "labels": 0}
            writer = threading.Thread(target=_write, args=(folder, plan, stop, counts), daemon=True)
            writer.start()
            say("reading while labels are written")
            beside = _read(history, plan)
            stop.set()
            writer.join()
    return {
        "schema": SCHEMA,
        "plan": asdict(plan),
        "episodes": episodes,
        "bytes_per_episode": round(size / episodes, 1),
        "bytes_per_label": round(grown / labels, 1),
        "alone_ms": alone,
        "while_writing_ms": beside,
        "written": counts,
    }


def device_of(number: int) -> str:
    """Id of a device of the store."""
    return f"wearable-{number:05d}"


def make_past(folder: Path, plan: HistoryPlan, say: Say) -> int:
    """Make a store with the episodes of all devices; returns how many.

    Args:
        folder: of the state; there.
        plan: what is made.
        say: told how far it is.
    """
    StateStore(folder).close()
    count = 0
    with closing(connect(folder / FILE)) as connection:
        _, space = number_of(connection, _MODEL)
        for number in range(plan.devices):
            if not number % 50:
                say(f"making a store: device {number:,} of {plan.devices:,}")
            device = device_of(number)
            rows = [(device, *msgspec.structs.astuple(span)) for span in _spans(plan, number, space)]
            connection.execute("BEGIN IMMEDIATE")
            insert(connection, "INSERT INTO episodes", rows)
            connection.execute("COMMIT")
            count += len(rows)
    return count


def _spans(plan: HistoryPlan, number: int, space: int) -> Iterator[Span]:
    """Episodes that fill a device's days but for gaps between some of them."""
    draw = random.Random(f"{plan.seed} {number}")  # noqa: S311 - nothing secret
    before = -1
    for day in range(plan.days):
        n = draw.randint(plan.fewest, plan.most)
        cuts = sorted(draw.sample(range(10, 86_390), n - 1))
        bounds = [0, *cuts, 86_400]
        for first_s, last_s in itertools.pairwise(bounds):
            begin_us = BEGIN_US + day * DAY_US + first_s * 1_000_000
            end_us = BEGIN_US + day * DAY_US + last_s * 1_000_000
            state = draw.choice([one for one in range(_CLUSTERS) if one != before])
            before = state
            windows = max(1, (end_us - begin_us) // _HOP_US)
            yield Span(
                begin_us, end_us, key_of(space, state), windows, 9_000 * windows, False,
                begin_us + 10_000_000, begin_us + 12_560_000, 8, 72_000,
            )  # fmt: skip


def _label(folder: Path, plan: HistoryPlan) -> int:
    """The newest labels of all devices; returns how many."""
    with closing(StateStore(folder)) as store:
        for first in range(0, _LABELLED, 64):
            store.commit(_checkpoint(plan, store.position, first, 64))
    return plan.devices * _LABELLED


def _checkpoint(plan: HistoryPlan, position: int, first: int, n: int) -> Commit:
    rows = []
    for window in range(first, first + n):
        for number in range(plan.devices):
            position += 1
            t0_us = window * _HOP_US
            unix_us = BEGIN_US + plan.days * DAY_US + t0_us
            state = (window // 100 + number) % _CLUSTERS
            rows.append(StoredLabel(
                position, device_of(number), 1, window, t0_us, t0_us + _WINDOW_US, unix_us, state, "cluster",
                0.9, state, 0.9, bytes(4 * _CLUSTERS), 1.0, 0.5, _MODEL, 0, unix_us + 2_000_000,
            ))  # fmt: skip
    return Commit([LaneState(0, position)], rows)


def _write(folder: Path, plan: HistoryPlan, stop: threading.Event, counts: dict[str, int]) -> None:
    """Checkpoints of all devices, one after the other, until it is told to stop."""
    with closing(StateStore(folder)) as store:
        first = _LABELLED
        while not stop.wait(_EVERY_S):
            store.commit(_checkpoint(plan, store.position, first, _EACH))
            first += _EACH
            counts["checkpoints"] += 1
            counts["labels"] += _EACH * plan.devices


def _read(history: History, plan: HistoryPlan) -> dict[str, dict[str, float]]:
    """Milliseconds of each kind of question, and what was read for it."""
    draw = random.Random(plan.seed)  # noqa: S311 - nothing secret
    found: dict[str, list[_Cost]] = {}

    def timed(kind: str, ask: Callable[[], object]) -> None:
        calls, disk = _input()
        outer, queued_ms = time.perf_counter(), _queued_ms()
        began, began_cpu = time.perf_counter(), time.thread_time()
        ask()
        ms, cpu_ms = (time.perf_counter() - began) * 1e3, (time.thread_time() - began_cpu) * 1e3
        waited_ms = _queued_ms() - queued_ms
        own_ms = (time.perf_counter() - outer) * 1e3 - waited_ms  # with the asking, so never too little
        calls_after, disk_after = _input()
        found.setdefault(kind, []).append(_Cost(ms, cpu_ms, own_ms, calls_after - calls, disk_after - disk))

    end_us = BEGIN_US + plan.days * DAY_US
    for _ in range(plan.reads):
        device = device_of(draw.randrange(plan.devices))
        since_us = BEGIN_US + draw.randrange(plan.days) * DAY_US
        until_us = since_us + DAY_US
        timed("day", lambda: history.episodes(device, since_us, until_us, limit=1_000))  # noqa: B023 - at once
        timed("share of a day", lambda: history.share(device, since_us, until_us))  # noqa: B023
        timed("newest 100 labels", lambda: history.labels(device, end_us, limit=100, newest_first=True))  # noqa: B023
        timed("100 events", lambda: history.events_since(draw.randrange(1_000), limit=100))
        timed("one device now", lambda: history.device(device))  # noqa: B023
    for _ in range(max(1, plan.reads // 20)):
        timed("100 devices now", lambda: history.devices(limit=100))
        device = device_of(draw.randrange(plan.devices))
        timed("month", lambda: history.share(device))  # noqa: B023
    return {kind: _quantiles(values) for kind, values in found.items()}


class _Cost(NamedTuple):
    """Of one question.

    Args:
        ms: that passed.
        cpu_ms: of the processor.
        own_ms: that passed but for those in which it waited for a processor that others had.
        calls: that read, which is about one for each page that is not in SQLite's own cache.
        disk: bytes that were not in the system's cache either.
    """

    ms: float
    cpu_ms: float
    own_ms: float
    calls: int
    disk: int


def _input() -> tuple[int, int]:
    """Calls of this thread that have read, and bytes that came from a disk (Linux; else 0)."""
    try:
        lines = Path("/proc/thread-self/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0, 0
    facts = dict(line.split(": ") for line in lines)
    return int(facts["syscr"]), int(facts["read_bytes"])


def _queued_ms() -> float:
    """How long this thread has waited for a processor (Linux; else 0)."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text(encoding="ascii").split()[1]) / 1e6
    except OSError:
        return 0.0


def _quantiles(values: list[_Cost]) -> dict[str, float]:
    ordered, cpu = sorted(one.ms for one in values), sorted(one.cpu_ms for one in values)
    own = sorted(one.own_ms for one in values)
    calls, disk = sorted(one.calls for one in values), sorted(one.disk for one in values)
    at = {"p50": len(ordered) // 2, "p99": len(ordered) * 99 // 100, "max": len(ordered) - 1}
    facts = {name: round(ordered[index], 2) for name, index in at.items()}
    cpu_facts = {f"cpu_{name}": round(cpu[at[name]], 2) for name in ("p50", "p99")}
    cpu_facts |= {f"own_{name}": round(own[at[name]], 2) for name in ("p50", "p99")}
    read = {f"reads_{name}": calls[at[name]] for name in ("p50", "p99")}
    return {
        **facts,
        **cpu_facts,
        **read,
        **{f"disk_kib_{name}": disk[at[name]] >> 10 for name in ("p50", "p99")},
    }
