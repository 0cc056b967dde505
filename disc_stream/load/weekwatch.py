"""What is seen of a week in fast motion: labels as a subscriber hears them, names, disk and memory."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from disc_stream.artifacts.catalogue import Catalogue
from disc_stream.artifacts.model import Model
from disc_stream.data.synthetic import LABEL_NAMES
from disc_stream.data.types import UNLABELLED
from disc_stream.load.scene import hear
from disc_stream.load.weekfleet import FS, BurstSource, DayStream
from disc_stream.registry import Author, Cluster, Registry
from disc_stream.stream.pipeline import Pipeline
from disc_stream.types import NOT_WORN, UNKNOWN, WindowSpec
from disc_stream.wire.label import decode_label
from disc_stream.wire.mqtt import Message
from disc_stream_server.janitor import SPOOL
from disc_stream_server.storage.forget import DECISIONS, RETRAINING

_WHO = "disc-stream benchmark"
_FEW = 20  # windows of a cluster, of which fewer say nothing of it


@dataclass(slots=True)
class Window:
    """The labels of one window.

    Args:
        t0_us: device clock at its first sample.
        label: id that the last of them says.
        models: of all of them.
        deferred: whether one was.
    """

    t0_us: int
    label: int
    models: list[str] = field(default_factory=list)
    deferred: bool = False


class DayListener:
    """Hears all labels of a fleet whose boots are its days.

    Args:
        broker: URL.
        prefix: of the topics.
    """

    def __init__(self, broker: str, prefix: str) -> None:
        self._days: dict[int, dict[tuple[str, int], Window]] = {}
        self.serving = ""
        """Version that the server says it serves."""
        self._lock = threading.Lock()
        self.link = hear(broker, prefix, self._take)

    def _take(self, message: Message) -> None:
        if message.topic.endswith("/$server/model"):
            self.serving = json.loads(message.payload)["version"]
            return
        if message.retained:
            return
        label = decode_label(message.payload)
        with self._lock:
            day = self._days.setdefault(label.boot, {})
            window = day.setdefault((label.device, label.window), Window(label.t0_us, 0))
            window.label = label.best.label
            window.models.append(label.model)
            window.deferred |= label.deferred

    def count(self, day: int) -> int:
        """Windows of a day that have a label."""
        with self._lock:
            return len(self._days.get(day, {}))

    def of(self, day: int) -> dict[tuple[str, int], Window]:
        """Windows of a day by device and number."""
        with self._lock:
            return dict(self._days.get(day, {}))


def windows_of(streams: Sequence[DayStream], spec: WindowSpec) -> int:
    """Windows that a day's streams have, each being labelled once its input is there."""
    return sum(max(0, (len(one.samples) - spec.input_samples) // spec.hop + 1) for one in streams)


def describe_day(
    heard: Mapping[tuple[str, int], Window], streams: Sequence[DayStream], spec: WindowSpec
) -> dict[str, Any]:
    """Counts of a day's windows."""
    expected = windows_of(streams, spec)
    labels = Counter(one.label for one in heard.values())
    n = max(1, len(heard))
    return {
        "expected": expected,
        "labelled": round(len(heard) / max(1, expected), 6),
        "lost": expected - len(heard),
        "doubled": sum(len(one.models) > 1 for one in heard.values()),
        "unknown": round(labels[UNKNOWN] / n, 4),
        "not_worn": round(labels[NOT_WORN] / n, 4),
        "deferred": sum(one.deferred for one in heard.values()),
        "models": dict(Counter(one.models[-1] for one in heard.values())),
    }


def activities(
    heard: Mapping[tuple[str, int], Window], streams: Sequence[DayStream], spec: WindowSpec
) -> dict[int, Counter[int]]:
    """For each id, how many of a day's windows are truly of which activity."""
    by_device = {one.device: one for one in streams}
    found: dict[int, Counter[int]] = {}
    for (device, _number), window in heard.items():
        true = by_device[device].majority(window.t0_us, spec.samples)
        if true != UNLABELLED:
            found.setdefault(window.label, Counter())[true] += 1
    return found


def give_names(registry: Registry, seen: Mapping[int, Counter[int]]) -> dict[int, str]:
    """Call each cluster by what more than half of its windows are; the others stay nameless.

    Returns:
        The names by id.
    """
    given: dict[int, str] = {}
    for cluster in registry.clusters.list():
        counts = seen.get(cluster.id, Counter())
        if cluster.public_id != cluster.id or counts.total() < _FEW:
            continue
        activity, n = counts.most_common(1)[0]
        if 2 * n > counts.total():
            given[cluster.id] = LABEL_NAMES[activity]
            registry.clusters.name(cluster.id, given[cluster.id], Author(_WHO))
    return given


def judge_names(
    given: Mapping[int, str], clusters: Collection[Cluster], seen: Mapping[int, Counter[int]]
) -> list[dict[str, Any]]:
    """What has become of each name.

    *Alive*: the id is in production and still called so. *Right*: most of the day's windows with it are of
    the activity that the name says; None if hardly any window has it.
    """
    there = {one.id: one for one in clusters}
    judged = []
    for own, name in sorted(given.items()):
        counts = seen.get(own, Counter())
        n = counts.total()
        right = None if n < _FEW else LABEL_NAMES[counts.most_common(1)[0][0]] == name
        judged.append(
            {
                "id": own,
                "name": name,
                "alive": own in there and there[own].name == name,
                "right": right,
                "windows": n,
                "share": round(counts[LABEL_NAMES.index(name)] / n, 4) if n else None,
            }
        )
    return judged


def named_share(judged: Sequence[Mapping[str, Any]], windows: int) -> float:
    """Share of a day's windows whose label carries a name that says what they truly are."""
    right: float = sum(one["windows"] * (one["share"] or 0.0) for one in judged if one["alive"])
    return round(right / max(1, windows), 4)


def label_offline(
    bundle: Path, catalogue: Catalogue, streams: Sequence[DayStream]
) -> dict[tuple[str, int], Window]:
    """The labels that a model gives to a day's streams, of which the server knows nothing.

    Args:
        bundle: folder of the model.
        catalogue: with its public ids.
        streams: of the devices.

    Returns:
        As ``DayListener.of``.
    """
    model = Model.open(bundle, provider="cpu").with_catalogue(catalogue)
    found: dict[tuple[str, int], Window] = {}
    for stream in streams:
        pipeline = Pipeline(model)
        for batch in BurstSource(stream, 0, 1).batches(round(FS)):
            pipeline.accept(batch)
        for label in pipeline.run():
            found[label.device, label.window] = Window(label.t0_us, label.best.label, [label.model])
    return found


# -- the server's disk ------------------------------------------------------------------------------------


def disk_of(state: Path, models: Path) -> dict[str, float]:
    """MiB of the server's folders and files: messages, labels, what retraining keeps, versions."""
    parts = {
        "spool": bytes_of(state / SPOOL),
        "labels": sum(_size(one) for one in state.glob("state.sqlite*")),
        "retraining": bytes_of(state / RETRAINING),
        "registry": bytes_of(models),
    }
    whole = bytes_of(state) + parts["registry"]
    return {name: round(size / 2**20, 2) for name, size in {**parts, "all": whole}.items()}


def bytes_of(folder: Path) -> int:
    """Size of all files below a folder; files may go meanwhile."""
    return sum(_size(one) for one in folder.rglob("*"))


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size if path.is_file() else 0
    except OSError:
        return 0


class Decisions:
    """Reads what the server decides about retraining.

    Args:
        state: the state folder.
    """

    def __init__(self, state: Path) -> None:
        self._path = state / RETRAINING / DECISIONS
        self._told = 0

    def _lines(self) -> list[dict[str, Any]]:
        try:
            text = self._path.read_text(encoding="utf-8")
        except OSError:
            return []
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def ended(self) -> list[dict[str, Any]]:
        """All retrainings that have come to an end so far."""
        return [one for one in self._lines() if one["event"] == "ended"]

    def new(self) -> list[dict[str, Any]]:
        """Those since the last call."""
        every = self.ended()
        some, self._told = every[self._told :], len(every)
        return some

    @property
    def runs(self) -> bool:
        """Whether one was begun and has not ended."""
        lines = [one for one in self._lines() if one["event"] == "ended" or one["retrain"]]
        return bool(lines) and lines[-1]["event"] != "ended"
