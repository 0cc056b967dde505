"""From the batches of many devices to the encoder's inputs: order, clocks, units, rates, windows.

::

    batches    | 0 | 1 |   | 3 | 1 | 2 || 0 | 1 |      one device; || is a restart (new boot)
                         (3 waits) dup
    samples    |---|---|------|---|---  -|---|---
    inputs     [ w0 ][ w1 ][ w2 ]       [ w0 ]
"""

from disc_stream_server.sessions.rules import Archive, Rules, SessionCounts
from disc_stream_server.sessions.sessions import Sessions

__all__ = ["Archive", "Rules", "SessionCounts", "Sessions"]
