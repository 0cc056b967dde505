"""Packed little-endian: a 24-byte header, then the samples, row-major. Meant for C and MicroPython.

======  ====  =========  ==================================================
offset  size  type       field
======  ====  =========  ==================================================
0       1     uint8      magic, 0xD5
1       1     uint8      version 1 in the high four bits, sample type in the
                         low: 0 int16, 1 int32, 2 float32
2       1     uint8      number of channels, 1..255
3       1     uint8      reserved, 0
4       4     float32    fs in Hz
8       4     uint32     boot
12      4     uint32     seq
16      8     uint64     t0 in microseconds of the device's clock
24      …     samples    n_samples x n_channels; n_samples follows from the length
======  ====  =========  ==================================================

Names, units and scales always come from the device's retained ``meta``.
"""

from __future__ import annotations

import struct

import numpy as np

from disc_stream.errors import PayloadError
from disc_stream.types import SampleBatch
from disc_stream.wire.codecs.fields import Fields

MAGIC = 0xD5
VERSION = 1
HEADER = struct.Struct("<BBBBfIIQ")
_SIZE = HEADER.size
_TYPES = (np.dtype("<i2"), np.dtype("<i4"), np.dtype("<f4"))
_ITEM_SIZES = tuple(dtype.itemsize for dtype in _TYPES)
_MAX_CHANNELS = 255  # one byte


def encode(batch: SampleBatch) -> bytes:
    """The batch as header and samples.

    Raises:
        PayloadError: with reason ``range`` if it has more channels than one byte can count.
    """
    n_channels = batch.samples.shape[1]
    if n_channels > _MAX_CHANNELS:
        raise PayloadError("range", f"packed messages hold at most 255 channels, got {n_channels}")
    kind = next(i for i, dtype in enumerate(_TYPES) if dtype == batch.samples.dtype)
    head = HEADER.pack(
        MAGIC, VERSION << 4 | kind, n_channels, 0, batch.fs, batch.boot, batch.seq, batch.t0_us
    )
    return head + batch.samples.astype(_TYPES[kind], copy=False).tobytes()


def decode(payload: bytes) -> Fields:
    """Read header and samples.

    Raises:
        PayloadError: with reason ``truncated``, ``version``, ``malformed`` or ``range``.
    """
    if len(payload) < _SIZE:
        raise PayloadError("truncated", f"a packed header has {_SIZE} bytes, got {len(payload)}")
    magic, version_type, n_channels, reserved, fs, boot, seq, t0 = HEADER.unpack_from(payload)
    version, kind = version_type >> 4, version_type & 0x0F
    if magic != MAGIC or reserved != 0:
        raise PayloadError("malformed", "not a packed header: magic must be 0xD5 and the reserved byte 0")
    if version != VERSION or kind >= len(_TYPES):
        raise PayloadError("version", f"packed version {version} with sample type {kind} is not known")
    if n_channels == 0:
        raise PayloadError("range", "a packed message needs at least one channel")
    n_bytes = len(payload) - _SIZE
    if n_bytes % (_ITEM_SIZES[kind] * n_channels):
        raise PayloadError(
            "truncated", f"{n_bytes} bytes of samples are not whole rows of {n_channels} {_TYPES[kind].name}"
        )
    # Arguments by position: numpy takes three times as long over named ones.
    samples = np.frombuffer(payload, _TYPES[kind], -1, _SIZE).reshape(-1, n_channels)
    return Fields(boot, seq, t0, fs, None, samples, True)
