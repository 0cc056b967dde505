"""Events, put together: one thread that fills the journal and publishes, one for each webhook."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from disc_stream.clock import Clock
from disc_stream.config import EventsConfig, ServeConfig
from disc_stream.errors import StorageError
from disc_stream.mappings.cloudevents import source_of
from disc_stream.sparselog import SparseLog
from disc_stream.types import Label, Problem, SampleBatch
from disc_stream.wire.broker import Broker
from disc_stream.wire.mqtt import LinkListener, Message, MqttLink
from disc_stream.wire.topics import Kind, Topics
from disc_stream_server.events.feed import EpisodeFeed, PresenceFeed
from disc_stream_server.events.publisher import NAME, Publisher
from disc_stream_server.events.webhook import Webhook
from disc_stream_server.storage.history import History
from disc_stream_server.storage.historyrecords import EpisodeEvent
from disc_stream_server.storage.journal import Journal

log = logging.getLogger(__name__)

_LOOK_S = 1.0  # at the episodes, which also tell when there is something
_TRIM_S = 3_600.0
_STOP_S = 2.0


@dataclass(frozen=True, slots=True)
class _Open:
    """What there is once the state folder is open."""

    history: History
    journal: Journal
    episodes: EpisodeFeed
    presence: PresenceFeed
    publisher: Publisher | None


class Events:
    """An observer that lets others know what happens, without keeping the labelling thread.

    Args:
        config: of the server.
        wanted: where events go.
        clock: time.

    Raises:
        ConfigError: if a webhook cannot be used.
        InputNotFoundError: if a secret is not there.
    """

    def __init__(self, config: ServeConfig, wanted: EventsConfig, clock: Clock) -> None:
        self._models, self._wants_mqtt = config.models, wanted.mqtt
        self._clock, self._keep_us = clock, round(wanted.keep_days * 86_400e6)
        self._topics = Topics(config.prefix)
        self._link = MqttLink(
            Broker.parse(config.broker),
            f"{config.client_id}-events",
            LinkListener(on_message=self._heard, on_up=self._wake),
        )
        self._link.subscribe(self._topics.all_of(Kind.STATUS))
        self._open: _Open | None = None
        source = source_of(config.client_id)
        self.webhooks = [Webhook(one, source, clock) for one in wanted.webhooks]
        self._log = SparseLog(log)
        self._trim_at = 0.0
        self._turn, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="events", daemon=True)

    def start(self, state: Path) -> None:
        """Connect, and work in the background.

        Args:
            state: the state folder, in which the server's own database is already.

        Raises:
            BrokerError: if the broker cannot be reached or refuses.
            StorageError: if the state folder cannot be used.
        """
        history, journal = History(state, self._models), Journal(state)
        self._open = _Open(
            history,
            journal,
            EpisodeFeed(history, journal),
            PresenceFeed(self._topics, journal, self._clock),
            Publisher(self._link, self._topics, journal) if self._wants_mqtt else None,
        )
        for webhook in self.webhooks:
            webhook.open(journal)
        journal.keep_sinks({NAME, *(webhook.name for webhook in self.webhooks)})
        self._link.connect()
        self._thread.start()
        for webhook in self.webhooks:
            webhook.start()

    def stop(self) -> None:
        """Tell what is on disk, as far as that goes quickly; the rest is told after the next start."""
        self._ended.set()
        self._turn.set()
        if self._thread.ident is not None:
            self._thread.join()
        for webhook in self.webhooks:
            webhook.stop(_STOP_S)
        self._link.close()
        if self._open is not None:
            self._open.history.close()
            self._open.journal.close()

    # -- on the labelling thread ------------------------------------------------------------------------

    def on_batch(self, batch: SampleBatch) -> None:
        """Nothing."""

    def on_label(self, label: Label) -> None:
        """Nothing: episodes are made of labels."""

    def on_status(self, status: dict[str, Any]) -> None:
        """Nothing."""

    def on_problem(self, device: str, problem: Problem | None) -> None:
        """Nothing: the device's problem topic says it."""

    def on_episode(self, event: EpisodeEvent) -> None:  # noqa: ARG002 - it is read from the disk
        """There is something on disk."""
        self._turn.set()

    def on_forget(self, device: str) -> None:
        """A device was erased; ``data forget`` has emptied the file, too."""
        if self._open is not None:
            self._open.presence.forget(device)
            self._open.journal.forget(device)

    # -- on other threads ---------------------------------------------------------------------------------

    def _heard(self, message: Message) -> None:
        if self._open is not None and self._open.presence.hear(message):
            self._turn.set()

    def _wake(self) -> None:
        self._turn.set()

    def _work(self) -> None:
        while not self._ended.is_set():
            self._turn.clear()
            try:
                on_the_way = self.step()
            except StorageError as error:
                self._log.error("events", "storage", "events cannot be told now: %s", error)
                on_the_way = False
            except Exception:  # noqa: BLE001 - it is logged
                self._log.error("events", "failed", "telling events failed; it is tried again", exc_info=True)
                on_the_way = False
            self._turn.wait(0.02 if on_the_way else _LOOK_S)
        self._last()

    def step(self) -> bool:
        """Take what has come, and tell it; whether confirmations are on their way.

        Raises:
            StorageError: if the disk does not take part.
        """
        parts = self._open
        if parts is None:
            return False
        if parts.episodes.step() + parts.presence.step():
            for webhook in self.webhooks:
                webhook.wake()
        if self._clock.monotonic() >= self._trim_at:
            self._trim_at = self._clock.monotonic() + _TRIM_S
            if lost := parts.journal.trim(self._clock.unix_us() - self._keep_us):
                log.warning("%d events were removed for their age before everybody had got them", lost)
        return parts.publisher is not None and parts.publisher.step()

    def _last(self) -> None:
        """The last checkpoint's events; what the broker does not confirm at once comes again."""
        try:
            self.step()
            if self._link.flush(_STOP_S, reconnect=False):
                self.step()  # notes what is confirmed
        except StorageError as error:
            log.warning("events wait for the next start: %s", error)
