"""``disc-stream benchmark week``: days of a fleet in fast motion, with a retraining on each of them.

A real broker, a real ``disc-stream serve`` with its live page that retrains by its own schedule, and devices
that come and go. A day takes minutes: what a device has stored on it is sent in bursts, with the time stamps
of the day. People name clusters on one day; on the last one every name is judged by what was truly done.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from disc_stream.artifacts.catalogue import Catalogue
from disc_stream.data.synthetic import Placement
from disc_stream.errors import BrokerError
from disc_stream.load import weekfleet, weekwatch
from disc_stream.load.ingest import Say
from disc_stream.load.plan import Load
from disc_stream.load.processes import broker_of
from disc_stream.load.server import Server
from disc_stream.load.weekfleet import FS, BurstSource, DayStream, Person
from disc_stream.registry import Registry
from disc_stream.types import WindowSpec
from disc_stream.wire.broker import Broker
from disc_stream_edge.publisher import Publisher, Sending

_LOOK_S = 0.5
_PATIENCE = 10  # days that a day may take, before it is said that nothing happens
_LEAST_PATIENCE_S = 120.0
_FOLLOW_S = 0.25
_BYTES = 4 * 6  # of a sample
_MIB = 2**20
_FROZEN = "named"  # folder of the model that was in production when names were given


@dataclass(frozen=True, slots=True)
class WeekPlan:
    """What happens in the week.

    Args:
        days: number of them.
        day_s: seconds that a day takes at least.
        devices: that there are in the whole week.
        presence: share of them that is there on a day.
        motion_s: seconds of motion that a device sends on a day.
        bursts: in which it does.
        dataset: whose people are replayed; None for simulated ones alone.
        data: folder of the datasets.
        name_on: day at whose end clusters are named.
        clusters: K.
        method: of the retrainings.
        preset: likewise.
        settings: likewise.
        learn_windows: that a retraining learns from, at most.
        keep_days_of_motion: limit of the spool, in days of the fleet's messages.
        keep_versions: newest versions that stay in the registry.
        nice: priority of the retrainings below that of the server.
        seed: of people and timetable.
    """

    days: int = 7
    day_s: float = 180.0
    devices: int = 20
    presence: float = 0.6
    motion_s: float = 480.0
    bursts: int = 3
    dataset: str | None = "hapt"
    data: Path | None = None
    name_on: int = 2
    clusters: int = 8
    method: str = "disc-plus"
    preset: str = "small"
    settings: Mapping[str, Any] = field(default_factory=dict)
    learn_windows: int = 6_000
    keep_days_of_motion: float = 2.5
    keep_versions: int = 2
    nice: int = 19
    seed: int = 0

    @property
    def placement(self) -> Placement:
        """Where simulated devices are worn: where those of the dataset were."""
        return Placement.WAIST if self.dataset is None else weekfleet.REPLAYED[self.dataset]

    @property
    def day_windows(self) -> int:
        """Windows of the fleet in a day, about: two for each 2.56 s."""
        return round(self.devices * self.presence * self.motion_s / 1.28)

    @property
    def keep_bytes(self) -> int:
        """Limit of the spool."""
        day = self.devices * self.presence * self.motion_s * FS * _BYTES
        return max(2 * _MIB, round(self.keep_days_of_motion * day))

    def server_settings(self, models: Path) -> dict[str, Any]:
        """Of ``disc-stream serve``; whatever counts days has the week's."""
        days = self.day_s / 86_400
        return {
            "bundle": None, "models": str(models), "follow_s": _FOLLOW_S, "status_interval_s": 0.5,
            "spool_file_bytes": max(_MIB, self.keep_bytes // 8), "keep_bytes": self.keep_bytes,
            "keep_days": 5 * days, "keep_devices_days": 5 * days, "keep_dead_days": 5 * days,
            "retrain": {
                "every_h": self.day_s / 3600, "cooldown_h": 0, "min_windows": max(8, self.day_windows // 2),
                "learn_windows": self.learn_windows, "half_life_days": 7 * days, "clusters": self.clusters,
                "method": self.method, "preset": self.preset, "settings": dict(self.settings),
                "gpu": "none", "nice": self.nice, "seed": self.seed, "keep_versions": self.keep_versions,
            },
        }  # fmt: skip


@dataclass(slots=True)
class Week:
    """Everybody who takes part, and what has happened so far.

    Args:
        plan: of it.
        folder: holds the registry (``models``) and the server's state (``state``).
        publish: sends parts of days as fast as it goes.
        registry: open.
        server: follows it.
        listener: hears the labels.
        say: tells people.
        streams: what the devices have stored, by day.
        given: the names, by id.
        most: the largest sizes on disk that were seen, MiB.
        spec: windows of the model in production.
        frozen: ids of the model that was in production when names were given.
    """

    plan: WeekPlan
    folder: Path
    publish: Callable[[Sequence[BurstSource]], None]
    registry: Registry
    server: Server
    listener: weekwatch.DayListener
    say: Say
    streams: dict[int, list[DayStream]] = field(default_factory=dict)
    given: dict[int, str] = field(default_factory=dict)
    most: dict[str, float] = field(default_factory=dict)
    spec: WindowSpec = field(default_factory=partial(WindowSpec, 128, 64, 128))
    frozen: Catalogue | None = None

    @property
    def state(self) -> Path:
        """State folder of the server."""
        return self.folder / "state"


def run(plan: WeekPlan, broker: str | None, say: Say) -> dict[str, Any]:
    """Let the week pass.

    Raises:
        BrokerError: if the broker cannot be used, a process ends, or nothing happens for days.
        DiscStreamError: if the recordings cannot be read.
    """
    say("reading the recordings")
    people = weekfleet.people_of(plan.dataset, plan.data, plan.devices, plan.placement, plan.seed)
    table = weekfleet.timetable(len(people), plan.days, plan.presence, plan.seed)
    week_us = (time.time_ns() // 1000 // weekfleet.DAY_US - plan.days) * weekfleet.DAY_US
    with _week(plan, broker, say) as week:
        decisions = weekwatch.Decisions(week.state)
        days = []
        for day, present in enumerate(table, start=1):
            begun = [stream_of(people[one], day, plan, week_us) for one in present]
            week.streams[day] = begun
            days.append({"day": day, "devices": len(present), **_live_through(week, day, decisions)})
        code = week.server.stop()
        windows = {day: _windows(week, day) for day in week.streams}
        limits = _limits(week, days)
    for one in days:
        one["windows"] = windows[one["day"]]  # once more: nothing came late or twice
    total = {
        name: sum(one[name] for one in windows.values())
        for name in ("expected", "lost", "doubled", "deferred")
    }
    return {
        "schema": "disc-stream.week/1",
        "plan": {**asdict(plan), "data": None, "placement": plan.placement.value},
        "days": days,
        "named": week.given,
        "windows": total,
        "limits": limits,
        "exit_code": code,
    }


def stream_of(person: Person, day: int, plan: WeekPlan, week_us: int) -> DayStream:
    """What a person's device stores on a day of the plan."""
    return weekfleet.stream_of(person, day, round(plan.motion_s * FS), week_us)


@contextmanager
def _week(plan: WeekPlan, broker: str | None, say: Say) -> Iterator[Week]:
    with broker_of(broker) as url, tempfile.TemporaryDirectory(prefix="disc-stream-week-") as place:
        folder, prefix = Path(place), f"ds/week-{int(time.time())}"
        with Registry.create(folder / "models") as registry:
            load = Load(plan.devices, fs=FS, page=True, viewers=1)
            listener = weekwatch.DayListener(url, prefix)
            server = Server(url, prefix, load, folder, plan.server_settings(registry.path))
            sending = Sending(samples=round(FS), speed=0)
            publisher = Publisher(Broker.parse(url), prefix=prefix, sending=sending)

            def publish(parts: Sequence[BurstSource]) -> None:
                done = publisher.run(parts)
                if done.lost or done.invalid:
                    raise BrokerError(f"{done.lost} messages were not confirmed, {done.invalid} not sent")

            try:
                yield Week(plan, folder, publish, registry, server, listener, say)
            finally:
                if server.process.poll() is None:
                    server.stop()
                listener.link.close()


def _live_through(week: Week, day: int, decisions: weekwatch.Decisions) -> dict[str, Any]:
    """One day; what there is to say of it."""
    plan, began, before = week.plan, time.monotonic(), len(decisions.ended())
    for part in range(plan.bursts):
        week.say(f"day {day} of {plan.days}: part {part + 1} of {plan.bursts} is sent")
        week.publish([BurstSource(one, part, plan.bursts) for one in week.streams[day]])
        _pass(week, began + (part + 1) * plan.day_s / (2 * plan.bursts))
    _await(week, f"day {day}: labels and retraining", lambda: _is_over(week, day, before, decisions))
    _pass(week, began + plan.day_s)
    _await(week, f"day {day}: another retraining", lambda: _is_over(week, day, before, decisions))
    seen = _seen(week, day)
    if day == plan.name_on:
        week.given = weekwatch.give_names(week.registry, seen)
        current = week.registry.version("current")
        week.frozen = week.registry.catalogue_of(current.version)
        shutil.copytree(current.path, week.folder / _FROZEN)
    names = _judged(week, seen)
    windows = sum(counts.total() for counts in seen.values())
    found = {
        "seconds": round(time.monotonic() - began, 1),
        "retrainings": [_told(one) for one in decisions.new()],
        "serving": week.listener.serving,
        "names": names,
        "named_rightly": weekwatch.named_share(names, windows),
        "never_retrained": _had_it_stayed(week, day),
        "disk_mib": weekwatch.disk_of(week.state, week.registry.path),
        "versions": sum(info.pruned_us is None for info in week.registry.versions()),
        "rss_mib": round(week.server.rss_bytes() / _MIB, 1),
        "dead_letters": dict(week.server.rejected),
    }
    right = sum(one["right"] is True and one["alive"] for one in names)
    week.say(f"day {day}: {right} of {len(names)} names right, {found['rss_mib']} MiB")
    return found


def _judged(week: Week, seen: Mapping[int, Counter[int]]) -> list[dict[str, Any]]:
    return weekwatch.judge_names(week.given, week.registry.clusters.list(), seen)


def _had_it_stayed(week: Week, day: int) -> dict[str, Any] | None:
    """The same, had the model that was named gone on; None before there is one."""
    if week.frozen is None:
        return None
    heard = weekwatch.label_offline(week.folder / _FROZEN, week.frozen, week.streams[day])
    seen = weekwatch.activities(heard, week.streams[day], week.spec)
    names = _judged(week, seen)
    windows = sum(counts.total() for counts in seen.values())
    return {"names": names, "named_rightly": weekwatch.named_share(names, windows)}


def _told(ended: Mapping[str, Any]) -> dict[str, Any]:
    names = ("code", "outcome", "number", "windows", "devices", "rejected", "error", "peak_mib")
    return {name: ended[name] for name in names if name in ended}


def _is_over(week: Week, day: int, before: int, decisions: weekwatch.Decisions) -> bool:
    """Every window has its label, and a retraining has ended on this day, and serves."""
    if len(decisions.ended()) <= before or decisions.runs:
        return False
    current = week.registry.current()
    if current is not None:
        if week.listener.serving != current.version:
            return False
        week.spec = week.registry.bundle(current.version).manifest.window.spec()
    elif decisions.ended():
        raise BrokerError(f"there is no first model: {decisions.ended()[-1]}")
    return week.listener.count(day) >= weekwatch.windows_of(week.streams[day], week.spec)


def _await(week: Week, what: str, done: Callable[[], bool]) -> None:
    week.say(what)
    deadline = time.monotonic() + max(_LEAST_PATIENCE_S, _PATIENCE * week.plan.day_s)
    while not done():
        _look(week)
        if time.monotonic() > deadline:
            raise BrokerError(f"{what}: nothing happens; the server's counters are {week.server.counters}")


def _pass(week: Week, until: float) -> None:
    """Let time pass, and look at the disk."""
    while time.monotonic() < until:
        _look(week)


def _look(week: Week) -> None:
    if week.server.process.poll() is not None:
        raise BrokerError(f"the server has ended with code {week.server.process.returncode}")
    for name, size in weekwatch.disk_of(week.state, week.registry.path).items():
        week.most[name] = max(week.most.get(name, 0.0), size)
    threading.Event().wait(_LOOK_S)


def _seen(week: Week, day: int) -> dict[int, Counter[int]]:
    return dict(weekwatch.activities(week.listener.of(day), week.streams[day], week.spec))


def _windows(week: Week, day: int) -> dict[str, Any]:
    return weekwatch.describe_day(week.listener.of(day), week.streams[day], week.spec)


def _limits(week: Week, days: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What was to stay bounded, and whether it has."""
    plan = week.plan
    base = days[min(plan.name_on, len(days)) - 1]["rss_mib"]
    return {
        "spool_mib": round(plan.keep_bytes / _MIB, 2),
        "sent_mib": round(plan.devices * plan.presence * plan.motion_s * FS * _BYTES * plan.days / _MIB, 2),
        "keep_versions": plan.keep_versions,
        "most_mib": week.most,
        "rss_growth": round(days[-1]["rss_mib"] / base - 1, 4) if base else None,
    }
