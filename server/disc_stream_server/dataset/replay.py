"""From the spool and the label table back to labelled windows, by the server's own sessions.

Whole windows, in SI units and at the model's rate. A window's label is found by (device, boot, window start).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from disc_stream.artifacts.manifest import Manifest
from disc_stream.clock import SystemClock
from disc_stream.signal.units import si_unit
from disc_stream.stream.sessions import Sessions, StreamSpec
from disc_stream.stream.values import ReadyInput
from disc_stream.types import Channel, WindowSpec
from disc_stream.wire.topics import Topics
from disc_stream_server.intake import Intake, Watchers
from disc_stream_server.janitor import SPOOL
from disc_stream_server.metas import MetaBook
from disc_stream_server.observers import Observers
from disc_stream_server.rejections import Rejections
from disc_stream_server.stages import Stages
from disc_stream_server.storage.queries import StateReader
from disc_stream_server.storage.rows import Row
from disc_stream_server.storage.spool import SpoolReader
from disc_stream_server.storage.state import StoredLabel
from disc_stream_server.stream_rules import read_rules

_ROWS = 1_024
_LABELS = 4_096
_MAX_WAITING = 500_000  # labels whose window has not come up; older ones' rows are gone
_KEEP_ALL = 10**9  # bytes per payload: nothing is refused here that the server has taken

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class LabelledWindow:
    """A whole window and its label.

    Args:
        window: samples (T, C) float32 in SI units.
        label: None if it has none: it was not labelled, or by another model than those asked for.
    """

    window: ReadyInput
    label: StoredLabel | None


def whole_windows(manifest: Manifest) -> StreamSpec:
    """The windows of a model in full, in SI units."""
    channels = tuple(Channel(c.name, si_unit(c.unit)) for c in manifest.channels)
    window = manifest.window
    return StreamSpec(channels, manifest.fs, WindowSpec(window.samples, window.hop, window.samples))


class Replay:
    """Reads a state folder from its oldest message to its newest; a server may be running there.

    Windows are cut by the rules of the server, as the state folder tells them, so every label finds its
    window.

    Args:
        state: the state folder.
        spec: which channels, rate and windows are wanted; ``whole_windows`` makes it of a model.
        prefix: of the topics.
        model: version of the model whose labels are wanted; None for the newest label of each window.
    """

    def __init__(self, state: Path, spec: StreamSpec, *, prefix: str, model: str | None = None) -> None:
        self._reader = SpoolReader(state / SPOOL)
        self._store = StateReader(state)
        self._model = model
        self._labels: dict[tuple[str, int, int], StoredLabel] = {}
        self._labels_at = 0
        self._rules = read_rules(self._store)
        self._fs, self._hop = spec.fs, spec.window.hop
        self._sessions = Sessions(spec, rules=self._rules[0].rules, align=self._align)
        clock = SystemClock()
        watchers = Watchers(Rejections(clock, silent=True), Observers(()), Stages())
        self._intake = Intake(Topics(prefix), self._sessions, MetaBook(1_000_000), watchers, _KEEP_ALL)
        self._starts = self._store.first_windows(self._reader.first)

    @property
    def position(self) -> int:
        """Rows up to here are labelled."""
        return self._store.position

    def windows(self, progress: Progress = lambda _done, _total: None) -> Iterator[LabelledWindow]:
        """All windows, those of a device in order.

        Args:
            progress: told of the position reached, and of the last one.
        """
        position, last = 0, self._reader.head
        while rows := self._read(position):
            position = rows[-1].position
            self._load_labels(position)
            yield from self._labelled(self._intake.take(rows))
            self._intake.dead_letters.clear()
            progress(position, last)
        rest = self._intake.finish()
        self._load_labels(2**62)
        yield from self._labelled(rest)

    def close(self) -> None:
        """Close all files."""
        self._reader.close()
        self._store.close()

    def _read(self, position: int) -> list[Row]:
        """The next rows, all under the same rules."""
        rows = self._reader.read(position, _ROWS)
        while rows and len(self._rules) > 1 and self._rules[1].after < rows[0].position:
            before = self._rules.pop(0)
            self._sessions.change_rules(self._rules[0].rules)
            if self._rules[0].model != before.model:
                self._sessions.break_grids()
        if len(self._rules) > 1:
            rows = [row for row in rows if row.position <= self._rules[1].after]
        return rows

    def _labelled(self, ready: Sequence[ReadyInput]) -> Iterator[LabelledWindow]:
        for one in ready:
            yield LabelledWindow(one, self._labels.pop((one.device, one.boot, one.t0_us), None))

    def _load_labels(self, position: int) -> None:
        """Labels of the rows up to a position; a later one of the same window replaces it."""
        while self._labels_at < position:
            labels = self._store.labels(after=self._labels_at, limit=_LABELS)
            if not labels:
                break
            last = labels[-1].position
            if len(labels) == _LABELS and labels[0].position < last:  # the last row may have more of them
                labels = [label for label in labels if label.position < last]
            for label in labels:
                if self._model is None or label.model == self._model:
                    self._labels[label.device, label.boot, label.t0_us] = label
            self._labels_at = labels[-1].position
        while len(self._labels) > _MAX_WAITING:
            del self._labels[next(iter(self._labels))]

    # -- where the first messages of a boot are gone, the windows go on where the labels say -------------

    def _align(self, device: str, boot: int, t0_us: int) -> int:
        """Samples to pass over so that the first window begins where the server's did."""
        start = self._starts.get((device, boot))
        if start is None:
            return 0
        return round((start - t0_us) * self._fs / 1e6) % self._hop
