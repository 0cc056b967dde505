"""The product in the demo: a server that keeps what it receives and follows a registry, as `serve` does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from disc_stream.config import RetrainConfig, ServeConfig
from disc_stream.errors import BrokerError, TopicError
from disc_stream.localbroker.ports import HOST
from disc_stream.localbroker.start import LocalBroker
from disc_stream.registry import Registry
from disc_stream.types import Label, Problem, SampleBatch
from disc_stream.wire.broker import Broker
from disc_stream.wire.topics import DEFAULT_PREFIX, Kind, Topics
from disc_stream_server.api.parts import PageWords
from disc_stream_server.app import Server
from disc_stream_server.janitor import SPOOL
from disc_stream_server.observers import Observer
from disc_stream_server.storage.spool import SpoolReader

_ROWS = 1_024
_POLL_S = 0.1
_STALLED_S = 30.0
_NOTHING_IS_STALE_S = 3_600.0  # what was collected while there was no model is labelled first, in order
_ONLY_BY_HAND = 2**62  # new windows; the first model is the demo's own work
_NOBODY_WAITS = 1e9  # messages and bytes a second: the fleet's past comes at once, and all of it is wanted


class DemoService:
    """A server with its registry and its state in one folder; start it once, stop it once.

    Args:
        local: the broker.
        folder: empty; lasts at least as long as the server.
        observers: of the server.
        page: its live page with the API; None for none.
        retrain: how it retrains when somebody asks for it on the page; None for not at all.

    Attributes:
        models: folder of the registry.
        state: state folder of the server.
    """

    def __init__(
        self,
        local: LocalBroker,
        folder: Path,
        observers: Sequence[Observer],
        *,
        page: PageWords | None = None,
        retrain: dict[str, Any] | None = None,
    ) -> None:
        self.models, self.state = folder / "models", folder / "state"
        self._local = local
        Registry.create(self.models).close()
        self._status = _LastStatus()
        config = ServeConfig(
            models=self.models, follow_s=0.25, broker=local.url, client_id="disc-stream-demo",
            http=None if page is None else f"{HOST}:0",
            retrain=None if page is None or retrain is None else _by_hand(retrain),
            status_interval_s=0.5, state=self.state, device_messages_s=_NOBODY_WAITS,
            device_bytes_s=_NOBODY_WAITS, stale_s=_NOTHING_IS_STALE_S,
        )  # fmt: skip
        self._server = Server(config, observers=[self._status, *observers], words=page)

    @property
    def broker(self) -> Broker:
        """Where the fleet publishes."""
        return Broker.parse(self._local.url)

    @property
    def url(self) -> str | None:
        """Where the page is; None without one."""
        return self._server.url

    def start(self) -> None:
        """Receive; label as soon as the registry has a version in production."""
        self._server.start()

    def stop(self) -> None:
        """Label what has come, and end."""
        self._server.stop()

    def check(self) -> None:
        """Raise what has made a part of the service end.

        Raises:
            DiscStreamError: if one has.
        """
        self._server.wait(0)
        if (reason := self._local.why_dead()) is not None:
            raise BrokerError(f"the demo's broker has ended: {reason}", remedy="Start the demo again")

    def await_spooled(
        self, total: Callable[[], int | None], progress: Callable[[int], None], stop: threading.Event
    ) -> None:
        """Wait until so many messages with samples are in the spool.

        Args:
            total: how many; None as long as that is not known.
            progress: is told how many there are.
            stop: ends the waiting.

        Raises:
            BrokerError: if they do not come.
        """
        counter, patience = _SpooledMessages(self.state / SPOOL), _Patience()
        try:
            while not stop.is_set():
                self.check()
                wanted, there = total(), counter.count()
                progress(there)
                if wanted is not None and there >= wanted:
                    return
                if patience.is_over(there if wanted is not None else None):
                    raise BrokerError(f"only {there} of {wanted} messages arrived through the broker")
                stop.wait(_POLL_S)
        finally:
            counter.close()

    def await_labelled(
        self, version: str, progress: Callable[[int], None], stop: threading.Event
    ) -> dict[str, Any]:
        """Wait until this version serves and everything in the spool is labelled.

        Args:
            version: of the registry, in production.
            progress: is told how many labels there are.
            stop: ends the waiting.

        Returns:
            The counters of the server.

        Raises:
            BrokerError: if it does not get on.
        """
        patience = _Patience()
        while not stop.is_set():
            self.check()
            status = self._status.last
            counters: dict[str, Any] = status.get("counters", {})
            progress(counters.get("labels", 0))
            if status.get("model") == version and not any(
                counters.get(name, 0) for name in ("queue", "deferred", "windows_waiting")
            ):
                return counters
            if patience.is_over((counters.get("labels"), counters.get("queue"), counters.get("deferred"))):
                waits = status.get("waits_for") or "the labels of what was collected do not come"
                raise BrokerError(f"the server does not get on: {waits}")
            stop.wait(_POLL_S)
        return {}


def _by_hand(settings: dict[str, Any]) -> RetrainConfig:
    return RetrainConfig(min_windows=_ONLY_BY_HAND, gpu="none", **settings)


class _LastStatus:
    """An observer that keeps the last status."""

    def __init__(self) -> None:
        self.last: dict[str, Any] = {}

    def on_batch(self, batch: SampleBatch) -> None:
        """Nothing."""

    def on_label(self, label: Label) -> None:
        """Nothing."""

    def on_problem(self, device: str, problem: Problem | None) -> None:
        """Nothing."""

    def on_status(self, status: dict[str, Any]) -> None:
        """Kept."""
        self.last = status


class _SpooledMessages:
    """Counts the messages with samples that the spool has, as they come."""

    def __init__(self, spool: Path) -> None:
        self._reader, self._topics = SpoolReader(spool), Topics(DEFAULT_PREFIX)
        self._position = self._count = 0

    def count(self) -> int:
        """How many there are now."""
        while rows := self._reader.read(self._position, _ROWS):
            self._position = rows[-1].position
            self._count += sum(self._is_raw(row.topic) for row in rows)
        return self._count

    def _is_raw(self, topic: str) -> bool:
        try:
            return self._topics.parse(topic)[1] is Kind.RAW
        except TopicError:  # the server's own rows
            return False

    def close(self) -> None:
        self._reader.close()


class _Patience:
    """Is over when something has stayed the same for too long."""

    def __init__(self) -> None:
        self._last: object = None
        self._since = time.monotonic()

    def is_over(self, now: object) -> bool:
        """Whether it is, given what may change; None for nothing that could be waited for yet."""
        if now is None or now != self._last:
            self._last, self._since = now, time.monotonic()
        return time.monotonic() - self._since > _STALLED_S
