"""What makes an episode."""

from __future__ import annotations

from dataclasses import dataclass

DWELL_S, HYSTERESIS, JOIN_S = 10.0, 0.5, 60.0


@dataclass(frozen=True, slots=True)
class EpisodeRules:
    """What makes an episode.

    Args:
        dwell_s: an activity begins once it has so many seconds to its credit: those of its windows less those
            of the windows of what went on before. So no episode is shorter, but where the data is.
        hysteresis: a window speaks against what goes on only if its probability is at least so much. What is
            unknown or not worn always does.
        join_s: a gap in the data of up to so many seconds ends no episode.
    """

    dwell_s: float = DWELL_S
    hysteresis: float = HYSTERESIS
    join_s: float = JOIN_S

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: if one is negative, or no number, or the hysteresis is above 1.
        """
        if not (0 <= self.dwell_s < 1e6 and 0 <= self.join_s < 1e6 and 0 <= self.hysteresis <= 1):
            raise ValueError(f"not usable: {self}")

    @property
    def dwell_us(self) -> int:
        """In microseconds."""
        return round(self.dwell_s * 1e6)

    @property
    def join_us(self) -> int:
        """In microseconds."""
        return round(self.join_s * 1e6)


RULES = EpisodeRules()
"""Those that hold unless somebody sets others."""
