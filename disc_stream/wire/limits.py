"""What a message may contain at most (docs/reference/wire.md lists the same numbers)."""

from __future__ import annotations

MAX_FS = 10_000.0  # Hz
MAX_CHANNELS = 256
MAX_SAMPLES = 65_536
MAX_UINT32 = 2**32 - 1
MAX_T0_US = 2**63 - 1
MAX_NAME = 64  # characters of a channel name
MAX_UNIT = 16
MAX_TEXT = 200  # characters of placement, model and firmware
# Magnitudes that keep count x scale far inside float32.
MIN_SCALE, MAX_SCALE = 1e-12, 1e6
MAX_VALUE = 1e12

MAX_PACKET_BYTES = 2**20 + 2**17
"""The largest packet that a broker may send us: a payload of 1 MiB, and what else is in a packet."""
HEADER_BYTES = 2**17
"""What a packet has besides its payload, at most: topic and content type, each up to 64 KiB."""
