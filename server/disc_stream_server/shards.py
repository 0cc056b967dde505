"""Who keeps the state of a device.

State, position and deferred stretches are kept per virtual shard. One process owns all of them now; several
would own some each, and take them over with their state and position.
"""

from __future__ import annotations

import zlib

N_VIRTUAL_SHARDS = 256


def virtual_shard(device: str) -> int:
    """Number of a device's shard, the same in every process (unlike ``hash``)."""
    return zlib.crc32(device.encode()) % N_VIRTUAL_SHARDS
