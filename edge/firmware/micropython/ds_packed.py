"""The packed encoding of batches (docs/reference/wire.md). Nothing is allocated for a sample of counts."""

import struct

INT16 = 0
INT32 = 1
FLOAT32 = 2
HEADER = 24
MAX_ROWS = 65536
MAX_PAYLOAD = 262144


class Batch:
    """One batch at a time, written into the same memory again and again.

    Args:
        channels: values of a sample, 1 to 255.
        rows: samples that make a full batch.
        fs: sampling rate in Hz.
        kind: INT16 or INT32 for counts, FLOAT32 for physical values.
    """

    def __init__(self, channels, rows, fs, kind=INT16):
        if kind not in (INT16, INT32, FLOAT32):
            raise ValueError("kind is INT16, INT32 or FLOAT32")
        if not 1 <= channels <= 255 or not 1 <= rows <= MAX_ROWS:
            raise ValueError("a batch has 1 to 255 channels and 1 to 65536 rows")
        if not 0 < fs <= 10000:
            raise ValueError("fs is above 0 and at most 10000 Hz")
        self.channels = channels
        self.rows = rows
        self.width = 2 if kind == INT16 else 4
        self._kind = kind
        self._end = HEADER + rows * channels * self.width
        if self._end > MAX_PAYLOAD:
            raise ValueError("a batch has at most 262144 bytes: take fewer rows")
        self._buffer = bytearray(self._end)
        self._view = memoryview(self._buffer)
        self._at = HEADER
        struct.pack_into("<BBBBf", self._buffer, 0, 0xD5, 0x10 | kind, channels, 0, fs)

    def begin(self, boot, seq, t0_us):
        """Begin the batch with this number; ``t0_us`` is the device's clock at its first sample."""
        struct.pack_into("<IIQ", self._buffer, 8, boot, seq, t0_us)
        self._at = HEADER

    def add(self, values):
        """Take one sample, a value per channel. True once the batch is full: `payload` has it then.

        Counts beyond the type's range become its ends, as those of a sensor do.
        """
        if len(values) != self.channels:
            raise ValueError("a sample has one value per channel")
        if self._at == self._end:
            raise ValueError("the batch is full: begin the next one")
        buffer = self._buffer
        at = self._at
        kind = self._kind
        for i in range(self.channels):
            value = values[i]
            if kind == INT16:
                if value > 32767:
                    value = 32767
                elif value < -32768:
                    value = -32768
                buffer[at] = value & 255
                buffer[at + 1] = (value >> 8) & 255
                at += 2
            else:
                if kind == FLOAT32:
                    struct.pack_into("<f", buffer, at, value)
                else:
                    struct.pack_into("<i", buffer, at, value)
                at += 4
        self._at = at
        return at == self._end

    @property
    def empty(self):
        """Whether it has no sample."""
        return self._at == HEADER

    @property
    def payload(self):
        """The bytes of what it has; valid until the next `begin`."""
        return self._view if self._at == self._end else self._view[: self._at]
