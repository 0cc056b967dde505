"""Episodes: what a device's labels say, as people say it: this activity from then to then.

::

    labels of windows ──▶ Fold ──▶ Ended, Began ──▶ spans          in the order of time
    a label that comes late ──▶ replay: the fold once more, from the last point that it cannot have changed

Pure: no storage, no clock. A window is its start and end in UTC microseconds, a state (a cluster, or unknown,
or not worn) and a probability.
"""

from __future__ import annotations

from disc_stream.episodes.fold import Began, Ended, Fields, Fold, Span, Step, Window
from disc_stream.episodes.replay import Replay, Restart, derive, replay, restart_before
from disc_stream.episodes.rules import RULES, EpisodeRules

__all__ = [
    "RULES",
    "Began",
    "Ended",
    "EpisodeRules",
    "Fields",
    "Fold",
    "Replay",
    "Restart",
    "Span",
    "Step",
    "Window",
    "derive",
    "replay",
    "restart_before",
]
