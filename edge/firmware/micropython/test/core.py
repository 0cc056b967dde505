"""What can be tested without a network: core.py FILE-OF-CASES prints what came of them, as JSON."""

import gc
import json
import sys

sys.path.insert(0, __file__.rsplit("/", 2)[0] if __file__.count("/") > 1 else "..")

import ds_outbox
import ds_packed


def encoded(case):
    channels, rows, fs, kind, boot, seq, t0, samples = case
    batch = ds_packed.Batch(channels, rows, fs, kind)
    batch.begin(boot, seq, t0)
    for sample in samples:
        batch.add(sample)
    return bytes(batch.payload).hex()


def saturated():
    batch = ds_packed.Batch(2, 1, 50)
    batch.begin(1, 0, 0)
    batch.add((99999, -99999))
    at = batch.payload
    return [at[24] | at[25] << 8, (at[26] | at[27] << 8) - 65536]


def allocated():
    """Bytes of heap that 1,000 samples take."""
    batch = ds_packed.Batch(6, 1000, 50)
    batch.begin(1, 0, 0)
    values = [1, -2, 300, -400, 5000, -6000]
    batch.add(values)
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    for _ in range(999):
        batch.add(values)
    after = gc.mem_alloc()
    gc.enable()
    return after - before


def ring():
    ring = ds_outbox.Ring(4, 8)
    for k in range(9):
        ring.put(bytes([k]))
        if k == 3:
            ring.peek()
    return [[ring.at(k)[0] for k in range(ring.count)], ring.lost]


print(
    json.dumps(
        {
            "hex": [encoded(case) for case in json.load(open(sys.argv[1]))],
            "saturated": saturated(),
            "allocated": allocated(),
            "ring": ring(),
        }
    )
)
