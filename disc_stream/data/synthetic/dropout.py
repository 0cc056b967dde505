"""Loss of messages on the radio link."""

from __future__ import annotations

import numpy as np


class MessageLoss:
    """Bursty loss: a link that is either good (all arrives) or bad (nothing does).

    The two-state chain of Gilbert 1960 (doi:10.1002/j.1538-7305.1960.tb03959.x).

    Args:
        rate: share of messages that are lost in the long run, 0 <= rate < 1.
        burst: mean number of messages lost in a row.
        seed: same seed, same losses.

    Raises:
        ValueError: if the rate or the burst is out of range.
    """

    def __init__(self, rate: float, *, burst: float = 4.0, seed: int = 0) -> None:
        if not 0.0 <= rate < 1.0 or burst < 1.0:
            raise ValueError(f"rate must be in [0, 1) and burst at least 1, got {rate} and {burst}")
        self._rng = np.random.default_rng(seed)
        self._recover = 1.0 / burst
        self._fail = min(1.0, rate * self._recover / (1.0 - rate))
        self._bad = False

    def loses_next(self) -> bool:
        """Whether the next message is lost."""
        change = self._recover if self._bad else self._fail
        if self._rng.random() < change:
            self._bad = not self._bad
        return self._bad
