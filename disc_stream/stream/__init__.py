"""The streaming core: order → clock → rate → windows → encode → smooth → label, forward only.

::

    rows       | 0 | 1 |   | 3 | 1 | 2 || 0 | 1 |      one device; || is a restart (new boot)
                         (3 waits) dup
    samples    |---|---|------|---|---  -|---|---
    inputs     [ w0 ][ w1 ][ w2 ]       [ w0 ]

No storage, network or page in here: the server, offline labels, exports, the demo and the edge share it. It
is a deterministic function of the rows it is given: they may come one by one or in chunks of any size, and
it may be stopped, saved and restored anywhere between two rows, with the same windows and labels.
"""
