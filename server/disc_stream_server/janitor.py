"""Removes what has been kept long enough, on a thread of its own."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from pathlib import Path

from disc_stream.clock import Clock
from disc_stream.errors import StorageError
from disc_stream_server.memory import give_back_memory
from disc_stream_server.storage.retention import (
    Retention,
    trim_dead_letters,
    trim_episodes,
    trim_labels,
)
from disc_stream_server.storage.spool import SpoolReader

log = logging.getLogger(__name__)

SPOOL = "spool"
"""Name of the spool's folder in the state folder."""

EVENTS_S = 7 * 86_400.0
"""So long events of episodes are kept, for those who follow them."""

_INTERVAL_S = 60.0
_EPISODES_S = 3_600.0


class Janitor:
    """Applies the retention rules once a minute.

    Args:
        state: the state folder.
        retention: the rules.
        clock: time.
        done: position up to which everything is labelled; nothing after it is removed.
    """

    def __init__(self, state: Path, retention: Retention, clock: Clock, *, done: Callable[[], int]) -> None:
        self._state, self._retention, self._clock, self._done = state, retention, clock, done
        self._episodes_at = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="janitor", daemon=True)

    def start(self) -> None:
        """Work in the background."""
        self._thread.start()

    def stop(self) -> None:
        """End; may be called without a start."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(5.0)

    def _tidy(self) -> None:
        """Remove old messages, and the labels of those that are gone."""
        self._retention.apply(self._state / SPOOL, self._done(), self._clock.unix_us())
        reader = SpoolReader(self._state / SPOOL)
        try:
            oldest = reader.first
        finally:
            reader.close()
        if oldest:
            trim_labels(self._state, oldest)
        if not math.isinf(age_s := self._retention.max_dead_age_s):
            trim_dead_letters(self._state, self._clock.unix_us() - round(age_s * 1e6))
        if self._clock.monotonic() >= self._episodes_at:
            self._episodes_at = self._clock.monotonic() + _EPISODES_S
            now_us, age_s = self._clock.unix_us(), self._retention.max_episode_age_s
            before_us = -(2**62) if math.isinf(age_s) else now_us - round(age_s * 1e6)
            trim_episodes(self._state, before_us, now_us - round(EVENTS_S * 1e6))
        give_back_memory()

    def _run(self) -> None:
        while not self._stopping.wait(_INTERVAL_S):
            try:
                self._tidy()
            except StorageError as error:
                log.warning("the spool could not be tidied: %s", error)
            except Exception:
                log.exception("the spool could not be tidied")
