"""What the stream is told and what it counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class StreamCounts:
    """What happened to batches.

    Args:
        boots: first batches of a boot, a device's first included.
        gaps: places where batches are missing.
        missing: number of batches missing there.
        duplicates: batches that came again.
        late: batches that came after what follows them; their place counts as a gap.
        reordered: batches that waited for one before them.
        stray: batches with a number far from all others of their device, or of another boot that did not
            go on; they are dropped.
        breaks: places where the device's clock says that samples are missing, though no batch is.
        bridged: gaps that were filled by interpolation.
        contested: batches without windows because their times contradict the declared rate.
        joined: batches made of separate messages of several sensors.
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
    contested: int = 0
    joined: int = 0
    clock_faults: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rules:
    """What shapes windows where batches are missing or a device starts anew.

    Args:
        reorder: batches of a device that may wait for a missing one; 0 takes every hole for a gap at once.
        reorder_s: longest wait, in seconds of the watermark.
        bridge_s: gaps up to this long are filled by straight lines and marked; 0 for none.
        idle_s: devices silent for so long leave the memory, in seconds of the watermark.
    """

    reorder: int = 0
    reorder_s: float = 5.0
    bridge_s: float = 0.0
    idle_s: float = 300.0

    @property
    def reorder_us(self) -> int:
        """``reorder_s`` in microseconds."""
        return round(self.reorder_s * 1e6)


STRICT = Rules()

Align = Callable[[str, int, int], int]
"""(device, boot, t0_us) to the number of samples to pass over when a boot is joined at that device time."""
