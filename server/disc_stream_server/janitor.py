"""Removes what has been kept long enough, on a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from disc_stream.clock import Clock
from disc_stream.errors import StorageError
from disc_stream_server.storage.retention import Retention

log = logging.getLogger(__name__)

_INTERVAL_S = 60.0


class Janitor:
    """Applies the retention rules once a minute.

    Args:
        spool: folder of the spool.
        retention: the rules.
        clock: time.
        done: position up to which everything is labelled; nothing after it is removed.
    """

    def __init__(self, spool: Path, retention: Retention, clock: Clock, *, done: Callable[[], int]) -> None:
        self._spool, self._retention, self._clock, self._done = spool, retention, clock, done
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

    def _run(self) -> None:
        while not self._stopping.wait(_INTERVAL_S):
            try:
                self._retention.apply(self._spool, self._done(), self._clock.unix_us())
            except StorageError as error:
                log.warning("the spool could not be tidied: %s", error)
            except Exception:
                log.exception("the spool could not be tidied")
