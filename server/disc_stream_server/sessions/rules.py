"""What sessions are told and what they count."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from disc_stream_server.sessions.device import Waiting


@dataclass(slots=True)
class SessionCounts:
    """What happened to batches.

    Args:
        boots: first batches of a boot, a device's first included.
        gaps: places where batches are missing.
        missing: number of batches missing there.
        duplicates: batches that came again.
        late: batches that came after what follows them; their place counts as a gap.
        reordered: batches that waited for one before them.
        stray: batches with a number far from all others of their device; they are dropped.
        breaks: places where the device's clock says that samples are missing, though no batch is.
        bridged: gaps that were filled by interpolation.
        evicted: devices moved from memory to disk because there were too many.
        restored: devices that came back from disk.
        clock_faults: by name, devices whose clock does what it should not.
    """

    boots: int = 0
    gaps: int = 0
    missing: int = 0
    duplicates: int = 0
    late: int = 0
    reordered: int = 0
    stray: int = 0
    breaks: int = 0
    bridged: int = 0
    evicted: int = 0
    restored: int = 0
    clock_faults: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rules:
    """What to do where batches are missing.

    Args:
        reorder: batches of a device that may wait for a missing one; 0 takes every hole for a gap at once.
        reorder_s: longest wait, in seconds of server time.
        bridge_s: gaps up to this long are filled by straight lines and marked; 0 for none.
        idle_s: devices silent for so long leave the memory, in seconds of server time.
    """

    reorder: int = 0
    reorder_s: float = 5.0
    bridge_s: float = 0.0
    idle_s: float = 300.0


STRICT = Rules()

Align = Callable[[str, int, int], int]


class Archive(Protocol):
    """Where devices are that are not in memory."""

    def session(self, device: str) -> bytes | None:
        """The saved state of a device, None if there is none."""
        ...

    def waiting(self, positions: Sequence[int]) -> Iterable[Waiting]:
        """Batches that waited when a device was saved, by their positions in the spool."""
        ...
