"""Metrics for Prometheus, rendered from what the labelling thread has last said of itself.

::

    labelling thread ── every status ──▶ Snapshot ◀── a scrape, on the thread of whoever serves it

A scrape reads a finished value and asks the labelling thread for nothing, so it cannot hold labelling up. The
names are in ``definitions``, and for people in ``docs/reference/metrics.md``. ``rendering`` alone needs
Prometheus' library, which is in the extra ``server``.
"""
