"""What a load test sends."""

from __future__ import annotations

from dataclasses import dataclass

from disc_stream.artifacts.manifest import WindowInfo

WINDOW = WindowInfo(samples=128, hop=64, input_samples=64)
WARM, FIRST_ROUNDS = 0.1, 2
"""Share of the messages, and messages of each device, before the clock starts: with the first of them the
server gets to know the device, and a second one shows its rate."""
MESSAGES, ROUNDS = 100_000, 30
"""Messages in all and of each device, where nobody says how many."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to measure.

    Args:
        devices: number of them.
        fs: sampling rate in Hz.
        samples: per message.
        messages: in total; every device sends the same number.
        publishers: processes.
        encoding: of the payloads.
        receive_maximum: of both subscribers.
        page: whether the server has its live page.
        viewers: browsers that look at it.
    """

    devices: int
    fs: float = 50.0
    samples: int = 50
    messages: int = 100_000
    publishers: int = 2
    encoding: str = "cbor"
    receive_maximum: int = 1_000
    page: bool = True
    viewers: int = 1

    @property
    def rounds(self) -> int:
        """Messages per device."""
        return max(2, round(self.messages / self.devices))

    @property
    def warm(self) -> int:
        """Messages before the clock starts, at most half of all."""
        return max(round(WARM * self.total), min(FIRST_ROUNDS * self.devices, self.total // 2))

    @property
    def total(self) -> int:
        """Messages in all."""
        return self.rounds * self.devices
