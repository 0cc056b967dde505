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
from disc_stream.types import Channel, WindowSpec
from disc_stream.wire.topics import Topics
from disc_stream_server.intake import Intake
from disc_stream_server.metas import MetaBook
from disc_stream_server.observers import Observers
from disc_stream_server.rejections import Rejections
from disc_stream_server.sessions import Rules, Sessions
from disc_stream_server.shards import ReadyInput
from disc_stream_server.stages import Stages
from disc_stream_server.storage.queries import StateReader
from disc_stream_server.storage.spool import SpoolReader
from disc_stream_server.storage.state import StoredLabel

_ROWS = 1_024
_LABELS = 4_096
_MOST_WAITING = 500_000  # labels whose window has not come up; older ones' rows are gone
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


def si_channels(manifest: Manifest) -> tuple[Channel, ...]:
    """The model's channels, in SI units."""
    return tuple(Channel(c.name, si_unit(c.unit)) for c in manifest.channels)


class Replay:
    """Reads a state folder from its oldest message to its newest; a server may be running there.

    Args:
        state: the state folder.
        manifest: of a model: it says which channels, rate and windows.
        prefix: of the topics.
        spool: name of the spool's folder in the state folder.
        rules: as the server's.
        model: version of the model whose labels are wanted; None for the newest label of each window.
    """

    def __init__(
        self,
        state: Path,
        manifest: Manifest,
        *,
        prefix: str,
        spool: str = "spool",
        rules: Rules | None = None,
        model: str | None = None,
    ) -> None:
        self._reader = SpoolReader(state / spool)
        self._store = StateReader(state)
        self._model = model
        self._labels: dict[tuple[str, int, int], StoredLabel] = {}
        self._labels_at = 0
        window = manifest.window
        self._sessions = Sessions(
            si_channels(manifest),
            manifest.fs,
            WindowSpec(window.samples, window.hop, window.samples),
            n_clusters=1,
            rules=rules or Rules(reorder=32),
            align=self._align,
        )
        self._fs, self._hop = manifest.fs, window.hop
        clock = SystemClock()
        self._intake = Intake(
            Topics(prefix),
            self._sessions,
            MetaBook(1_000_000),
            rejections=Rejections(clock),
            observers=Observers(()),
            stages=Stages(),
            max_payload_bytes=_KEEP_ALL,
        )
        self._starts = self._first_labels()

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
        while rows := self._reader.read(position, _ROWS):
            position = rows[-1].position
            self._load_labels(position)
            yield from self._labelled(self._intake.take(rows))
            self._intake.dead_letters.clear()
            progress(position, last)
        rest: list[ReadyInput] = []
        self._intake.tick(2**62, rest)
        self._load_labels(2**62)
        yield from self._labelled(rest)

    def close(self) -> None:
        """Close all files."""
        self._reader.close()
        self._store.close()

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
        while len(self._labels) > _MOST_WAITING:
            del self._labels[next(iter(self._labels))]

    # -- where the first messages of a boot are gone, the windows go on where the labels say -------------

    def _first_labels(self) -> dict[tuple[str, int], int]:
        return self._store.first_windows(self._reader.first)

    def _align(self, device: str, boot: int, t0_us: int) -> int:
        """Samples to pass over so that the first window begins where the server's did."""
        start = self._starts.get((device, boot))
        if start is None:
            return 0
        return round((start - t0_us) * self._fs / 1e6) % self._hop
