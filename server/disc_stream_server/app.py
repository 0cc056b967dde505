"""The server, put together: bundle, encoder, service and, if wanted, the live page."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from disc_stream.clock import Clock, SystemClock
from disc_stream.config import ServeConfig, default_state
from disc_stream.errors import (
    BrokerError,
    ConfigError,
    TopicError,
)
from disc_stream.wire.broker import Broker
from disc_stream.wire.topics import Topics
from disc_stream_server.announcements import Announcements
from disc_stream_server.api.parts import PageWords, Parts
from disc_stream_server.brokerconfig.plan import RESERVED, SERVER
from disc_stream_server.events import Events
from disc_stream_server.exposing import Exposure, check_addresses
from disc_stream_server.following import Follower, first_model
from disc_stream_server.homeassistant import HomeAssistant
from disc_stream_server.labeller.swap import serving_version
from disc_stream_server.memory import collect_seldom
from disc_stream_server.metrics.snapshot import Snapshot
from disc_stream_server.observers import Observer, Observers
from disc_stream_server.openfiles import raise_file_limit
from disc_stream_server.retraining.supervisor import Supervisor, require_retraining
from disc_stream_server.service import Service
from disc_stream_server.storage.queries import FILE, StateReader

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)

_SIGNAL_S = 0.5
"""So long at most a signal goes unnoticed that came while the main thread, which runs its handler, slept."""


class Server:
    """Labels what wearables send to a broker, until it is stopped.

    Args:
        config: settings.
        observers: are told of batches, labels and status; see ``Observer``.
        clock: time.
        words: what is added to the live page.

    Raises:
        InputNotFoundError: if the bundle is not there.
        BundleError: if it is broken or its graph does not run.
        MissingExtraError: if onnxruntime, with ``config.http`` the web server, or with ``config.retrain``
            what a retraining needs is not installed.
        ConfigError: if a setting cannot be used here.
    """

    def __init__(
        self,
        config: ServeConfig,
        *,
        observers: Sequence[Observer] = (),
        clock: Clock | None = None,
        words: PageWords | None = None,
    ) -> None:
        self.config = config
        clock = clock or SystemClock()
        self._check_addresses()
        raise_file_limit()
        self.model = first_model(config, lambda: _labelled_by(config))
        """What the server began with; None where data is only collected."""
        self._exposure = Exposure(config, self, self._parts(words), clock, words)
        self._home = _make_home(config, clock)
        self._events = None if config.events is None else Events(config, config.events, clock)
        everyone: list[Observer] = [Announcements(clock), *observers, *self._exposure.observers]
        everyone += [one for one in (self._home, self._events) if one is not None]
        self._service = Service(
            config,
            self.model,
            observers=Observers(everyone),
            clock=clock,
            on_failure=self._fail,
        )
        self._follower = None
        if config.models is not None:
            self._follower = Follower(config, self.model, self._service.offer, clock)
        self.supervisor = self._make_supervisor(clock)
        """Retrains beside the server; None if it is not to."""
        self._ended = threading.Event()
        self._failure: Exception | None = None
        self._stopped = self._is_starting = False

    def _parts(self, words: PageWords | None) -> Parts:
        """What the API is given of the server; asked once it runs."""
        retrains = self.config.retrain is not None
        return Parts(
            ready=self.waits_for,
            model=self.model,
            ask_retraining=self._ask_retraining if retrains else None,
            retraining=self._retraining_facts,
            snapshot=lambda: self._service.snapshot,
            notice="" if words is None else words.notice,
        )

    def _ask_retraining(self, who: str, why: str) -> None:
        if self.supervisor is not None:
            self.supervisor.ask(who, why)

    def _retraining_facts(self) -> Mapping[str, int | str]:
        return {} if self.supervisor is None else self.supervisor.facts()

    def _make_supervisor(self, clock: Clock) -> Supervisor | None:
        if self.config.retrain is None:
            return None
        require_retraining(self.config.retrain)
        supervisor = Supervisor(self.config, self._service.state, clock)
        self._service.report_retraining(supervisor.facts)
        return supervisor

    def _check_addresses(self) -> None:
        """Refuse what is quickly seen to be wrong before anything is loaded."""
        broker = Broker.parse(self.config.broker)
        if broker.username == SERVER and not self.config.client_id.startswith(RESERVED):
            raise ConfigError(
                f"the client id {self.config.client_id!r} could be a device's, and take its session over",
                remedy=f"Let --client-id begin with {RESERVED!r}, which no device id does",
            )
        try:
            Topics(self.config.prefix)
        except TopicError as error:
            raise ConfigError(error.message, remedy=error.remedy) from None
        check_addresses(self.config)

    @property
    def broker(self) -> str:
        """Address of the broker, without credentials."""
        return str(Broker.parse(self.config.broker))

    @property
    def url(self) -> str | None:
        """Address of the live page, None without one."""
        page = self._exposure.page
        return page.url if page is not None else None

    @property
    def metrics_url(self) -> str | None:
        """What Prometheus scrapes on an address of its own, None without one; the page has /metrics, too."""
        return self._exposure.metrics_url

    def waits_for(self) -> str | None:
        """What keeps messages from becoming labels now; None if nothing does. From any thread."""
        return self._service.waits_for()

    def snapshot(self) -> Snapshot | None:
        """What metrics show, as of the last status; None before the first. From any thread."""
        return self._service.snapshot

    def start(self) -> None:
        """Take the port, connect to the broker, and work in the background.

        Raises:
            PortInUseError: if the port of the live page is taken.
            BrokerError: if the broker cannot be reached or refuses.
        """
        self._exposure.start()
        self._is_starting = True
        try:
            self._service.start()
            if self._home is not None:
                self._home.start()
            if self._events is not None:
                self._events.start(self._service.state)
        except BaseException:
            self._stop_others()
            raise
        finally:
            self._is_starting = False
        if self._follower is not None:
            self._follower.start()
        if self.supervisor is not None:
            self.supervisor.start()

    def request_stop(self) -> None:
        """Let ``wait`` return, and a ``start`` that waits for the broker fail; for signal handlers, too."""
        self._ended.set()
        if self._is_starting:  # not here: in a signal handler the thread that is interrupted may hold a lock
            threading.Thread(target=self._service.break_off, daemon=True).start()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until a stop is requested or the service cannot go on; False if time ran out before.

        Raises:
            Exception: what made the service fail.
        """
        ended = self._ended.wait(_SIGNAL_S if timeout_s is None else timeout_s)
        while timeout_s is None and not ended:
            ended = self._ended.wait(_SIGNAL_S)
        if self._failure is not None:
            raise self._failure
        return ended

    def stop(self, deadline_s: float | None = None) -> bool:
        """Finish what has been received, say goodbye, free everything. May be called twice.

        Args:
            deadline_s: default ``config.shutdown_s``.

        Returns:
            Whether everything was finished in time; if not, the broker keeps the rest.
        """
        self._ended.set()
        if self._stopped:
            return True
        self._stopped = True
        if self.supervisor is not None:
            self.supervisor.stop()
        if self._follower is not None:
            self._follower.stop()
        finished = self._service.stop(self.config.shutdown_s if deadline_s is None else deadline_s)
        self._stop_others()
        return finished

    def _stop_others(self) -> None:
        """End what only observes."""
        if self._events is not None:
            self._events.stop()
        if self._home is not None:
            self._home.stop()
        self._exposure.stop()

    def run(self, on_ready: Callable[[], None] | None = None) -> None:
        """Serve until SIGTERM or SIGINT, then stop gracefully.

        Args:
            on_ready: called once labels can come.

        Raises:
            DiscStreamError: as ``start`` and ``wait``.
        """
        with _stop_on_signals(self.request_stop):
            collect_seldom()
            try:
                self.start()
            except BrokerError:
                if not self._ended.is_set():
                    raise
                self.stop()
                return
            try:
                if on_ready is not None:
                    on_ready()
                self.wait()
            finally:
                self.stop()

    def _fail(self, error: Exception) -> None:
        self._failure = error
        self._ended.set()


def _labelled_by(config: ServeConfig) -> str:
    """Version of the model that labels what comes after the last checkpoint; "" if none has labelled yet."""
    state = config.state or default_state(config.client_id)
    if not (state / FILE).exists():
        return ""
    with closing(StateReader(state)) as store:
        return serving_version(store)


def _make_home(config: ServeConfig, clock: Clock) -> HomeAssistant | None:
    """What tells Home Assistant of devices, if that is wanted."""
    wanted = config.home_assistant
    if wanted is None:
        return None
    broker, topics = Broker.parse(config.broker), Topics(config.prefix)
    has_events = config.events is not None and config.events.mqtt
    return HomeAssistant(wanted, broker, f"{config.client_id}-home", topics, clock, has_events=has_events)


@contextmanager
def _stop_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Turn SIGTERM and SIGINT into ``stop``; a second one acts as it did before."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, before[signal.Signals(number)])
        stop()

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
