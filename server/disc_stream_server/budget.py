"""How much may be buffered: from one number, the memory of both processes, to the bounds of each queue.

Each setting that bounds a queue is an upper limit. Where all queues together, full, would exceed the memory
that is left beside the processes themselves, all of them are made smaller in proportion, but none smaller
than what the server needs to work.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass

from disc_stream.config import ServeConfig
from disc_stream.errors import ConfigError

BASE_BYTES = 160 * 2**20
"""Both processes with nothing buffered, the live page on and a small model (139 MiB were measured)."""

FLOW_BYTES = 32 * 2**20
"""On its way whatever the settings: pieces read from the socket, groups being committed, rows of a turn."""

DEVICE_BYTES = 16 * 2**10
"""What a device in memory takes, about: session, description, smoothing, its row on the page."""

LABEL_BYTES = 1_024
"""What a label takes that waits for the broker, about."""

PACKED_LABEL_BYTES = 512
"""What a label takes that waits for a checkpoint, at most, with up to 90 clusters; see ``PendingLabels``."""

MESSAGE_BYTES = 1_024
"""What a message takes beside its payload, about."""

WINDOW_COPIES = 4
"""Of two queues, the live lane's and that of one which catches up, each with a copy in a checkpoint."""

BURST_SHARE = 16
"""A device may send so great a part of ``queue_bytes`` at once."""

UNCONFIRMED, UNWRITTEN = 20_000, 200_000
"""Labels that may wait for the broker's confirmation, and for a checkpoint."""

LETTER_BYTES = 16 * 2**20
"""Messages that could not be used and wait for a checkpoint."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of everything that is buffered.

    Args:
        receive_maximum: messages that the broker may have in flight to us.
        queue_bytes: windows that wait for the encoder.
        unconfirmed: labels that wait for the broker.
        unwritten: labels that wait for a checkpoint.
        letter_bytes: messages that could not be used, and wait for a checkpoint.
        max_devices: devices in memory.
    """

    receive_maximum: int
    queue_bytes: int
    unconfirmed: int
    unwritten: int
    letter_bytes: int
    max_devices: int

    def need(self, max_payload_bytes: int) -> int:
        """Bytes that all queues take when they are full."""
        return (
            self.receive_maximum * (max_payload_bytes + MESSAGE_BYTES)
            + WINDOW_COPIES * self.queue_bytes
            + LABEL_BYTES * self.unconfirmed
            + PACKED_LABEL_BYTES * self.unwritten
            + self.letter_bytes
            + DEVICE_BYTES * self.max_devices
        )


_LEAST = Bounds(16, 2**20, 1_000, 8_000, 2**20, 256)


def bounds(config: ServeConfig) -> Bounds:
    """What the settings allow and the memory has room for.

    Raises:
        ConfigError: if the memory is too small for a server that works.
    """
    wanted = Bounds(
        config.receive_maximum, config.queue_bytes, UNCONFIRMED, UNWRITTEN, LETTER_BYTES, config.max_devices
    )
    least = _smaller(_LEAST, wanted)
    room = config.memory_mb * 2**20 - BASE_BYTES - FLOW_BYTES
    payload = config.max_payload_bytes
    needed, unavoidable = wanted.need(payload), least.need(payload)
    if unavoidable > room:
        smallest = -(-(BASE_BYTES + FLOW_BYTES + unavoidable) // 2**20)
        raise ConfigError(
            f"{config.memory_mb} MiB of memory are too few: the processes themselves take "
            f"{BASE_BYTES >> 20}, and the smallest queues for messages of {payload:,} bytes "
            f"{(FLOW_BYTES + unavoidable) >> 20}",
            remedy=f"Give --memory-mb {smallest} or more, or lower max_payload_bytes",
        )
    if needed <= room:
        return wanted
    # Between the least and what is wanted, as far as there is room: every part of it grows alike.
    share = (room - unavoidable) / (needed - unavoidable)
    return Bounds(
        *(int(low + share * (high - low)) for low, high in zip(astuple(least), astuple(wanted), strict=True))
    )


def _smaller(one: Bounds, other: Bounds) -> Bounds:
    return Bounds(*(min(pair) for pair in zip(astuple(one), astuple(other), strict=True)))
