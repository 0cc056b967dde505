"""Stretches of one recording in a row: one device, whose clock tells how long nothing came between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from disc_stream.data.types import Recording
from disc_stream.types import SampleBatch

_UNKNOWN_US = 1_000_000  # between two stretches, where a clock was put back


@dataclass(frozen=True, slots=True)
class Series:
    """One recording.

    Args:
        name: of the whole recording.
        parts: its uninterrupted stretches, in order; one where it has no gaps.
    """

    name: str
    parts: tuple[Recording, ...]

    @property
    def seconds(self) -> float:
        """Duration of its samples."""
        return sum(part.seconds for part in self.parts)

    @property
    def n_samples(self) -> int:
        """Samples of all stretches."""
        return sum(len(part.samples) for part in self.parts)

    def starts_us(self) -> list[int]:
        """Microseconds from the beginning to each stretch, by the recording's clock.

        Where that was put back, how long passed is not known: the next stretch begins a second later.
        """
        starts: list[int] = []
        offset = end = 0
        for part in self.parts:
            if not starts:
                offset = -part.start_us
            elif part.start_us + offset < end:
                offset = end + _UNKNOWN_US - part.start_us
            starts.append(part.start_us + offset)
            end = starts[-1] + part.time_us(len(part.samples)) - part.start_us
        return starts

    def batches(self, device: str, boot: int, samples: int | Callable[[], int]) -> Iterator[SampleBatch]:
        """The recording as its device would send it: where something is missing, a number is, too.

        Args:
            device: device id.
            boot: id of the boot.
            samples: of each batch; a function is asked at the beginning of each.
        """
        seq = 0
        for part, begin_us in zip(self.parts, self.starts_us(), strict=True):
            start = 0
            while start < len(part.samples):
                end = start + (samples if isinstance(samples, int) else samples())
                yield SampleBatch(
                    device=device,
                    boot=boot,
                    seq=seq,
                    t0_us=begin_us + part.time_us(start) - part.start_us,
                    fs=part.fs,
                    channels=part.channels,
                    samples=part.samples[start:end],
                )
                start = end
                seq += 1
            seq += 1


def as_series(recording: Recording | Series) -> Series:
    """A recording, or one stretch, as a series."""
    return recording if isinstance(recording, Series) else Series(recording.name, (recording,))


def group_series(recordings: Sequence[Recording]) -> list[Series]:
    """The recordings that some stretches are of, in order; a stretch by itself is one, too."""
    found: list[Series] = []
    for key, members in groupby(recordings, key=lambda r: (r.part_of, "" if r.part_of else r.name)):
        parts = tuple(members)
        found.append(Series(parts[0].name if len(parts) == 1 else key[0] or parts[0].name, parts))
    return found
