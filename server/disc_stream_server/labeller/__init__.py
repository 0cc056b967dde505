"""Labels what is in the spool.

::

    spool ──▶ live lane: decode ─▶ sessions ─▶ encode ─▶ smooth ─▶ label ─▶ publish ─▶ checkpoint
      │                                          ▲
      └─────▶ backfill lane: the same stages over rows whose windows were deferred

A lane is a place in the spool together with everything that the parts know there. Each part owns its state:
``capture`` gives what has changed, ``committed`` says that it is on disk, ``forget`` drops a device.
"""
