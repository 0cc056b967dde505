"""What a publisher takes of the heap: heap.py CHANNELS ROWS FS SLOTS prints two numbers as JSON."""

import gc
import json
import sys

sys.path.insert(0, __file__.rsplit("/", 2)[0] if __file__.count("/") > 1 else "..")


def alloc():
    gc.collect()
    return gc.mem_alloc()


channels, rows, fs, slots = (int(word) for word in sys.argv[1:])
before = alloc()
import ds_outbox  # noqa: E402
import ds_publisher  # noqa: E402

code = alloc() - before
names = ["c%d" % k for k in range(channels)]
size = ds_publisher.batch_size(channels, rows)
outbox = ds_outbox.Ring(slots, size)
held = ds_publisher.Publisher("watch-1", names, "g", fs, outbox, 1, scale=0.001, rows=rows, host="a", port=1)
print(json.dumps({"code": code, "data": alloc() - before - code, "ring": slots * size}))
