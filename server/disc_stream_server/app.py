"""The server, put together: bundle, encoder, service and, if wanted, the live page."""

from __future__ import annotations

import importlib.util
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
    MissingExtraError,
    TopicError,
)
from disc_stream.wire.broker import Broker
from disc_stream.wire.topics import Topics
from disc_stream_server.announcements import Announcements
from disc_stream_server.api.parts import Parts
from disc_stream_server.brokerconfig.plan import RESERVED, SERVER
from disc_stream_server.following import Follower, first_model
from disc_stream_server.labeller.swap import serving_version
from disc_stream_server.memory import collect_seldom
from disc_stream_server.observers import Observer, Observers, Page
from disc_stream_server.openfiles import raise_file_limit
from disc_stream_server.retraining.supervisor import Supervisor, require_retraining
from disc_stream_server.service import Service
from disc_stream_server.storage.queries import FILE, StateReader

if TYPE_CHECKING:
    from disc_stream_server.api.app import Api

log = logging.getLogger(__name__)

_SIGNAL_S = 0.5
"""So long at most a signal goes unnoticed that came while the main thread, which runs its handler, slept."""


class Server:
    """Labels what wearables send to a broker, until it is stopped.

    Args:
        config: settings.
        observers: are told of batches, labels and status; see ``Observer``.
        clock: time.

    Raises:
        InputNotFoundError: if the bundle is not there.
        BundleError: if it is broken or its graph does not run.
        MissingExtraError: if onnxruntime, with ``config.http`` the web server, or with ``config.retrain``
            what a retraining needs is not installed.
        ConfigError: if a setting cannot be used here.
    """

    def __init__(
        self, config: ServeConfig, *, observers: Sequence[Observer] = (), clock: Clock | None = None
    ) -> None:
        self.config = config
        clock = clock or SystemClock()
        self._check_addresses()
        raise_file_limit()
        self.model = first_model(config, lambda: _labelled_by(config))
        """What the server began with; None where data is only collected."""
        self._page, self._api = _make_page(config, self._parts(), clock)
        everyone: list[Observer] = [Announcements(clock), *observers]
        everyone += [one for one in (self._api, self._page) if one is not None]
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

    def _parts(self) -> Parts:
        """What the API is given of the server; asked once it runs."""
        retrains = self.config.retrain is not None
        return Parts(
            ready=self.waits_for,
            model=self.model,
            ask_retraining=self._ask_retraining if retrains else None,
            retraining=self._retraining_facts,
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
        if self.config.http is not None:
            parse_address(self.config.http)

    @property
    def broker(self) -> str:
        """Address of the broker, without credentials."""
        return str(Broker.parse(self.config.broker))

    @property
    def url(self) -> str | None:
        """Address of the live page, None without one."""
        return self._page.url if self._page is not None else None

    def waits_for(self) -> str | None:
        """What keeps messages from becoming labels now; None if nothing does. From any thread."""
        return self._service.waits_for()

    def start(self) -> None:
        """Take the port, connect to the broker, and work in the background.

        Raises:
            PortInUseError: if the port of the live page is taken.
            BrokerError: if the broker cannot be reached or refuses.
        """
        if self._page is not None and self._api is not None:
            self._api.open()
            self._page.start()
        self._is_starting = True
        try:
            self._service.start()
        except BaseException:
            self._stop_page()
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
        self._stop_page()
        return finished

    def _stop_page(self) -> None:
        if self._page is not None:
            self._page.stop()
        if self._api is not None:
            self._api.release()

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


def _make_page(config: ServeConfig, parts: Parts, clock: Clock) -> tuple[Page | None, Api | None]:
    """The live page and the API, if they are wanted; their libraries are an extra."""
    if config.http is None:
        return None, None
    host, port = parse_address(config.http)
    if any(importlib.util.find_spec(module) is None for module in ("fastapi", "starlette", "uvicorn")):
        error = MissingExtraError("server", "the live page")
        error.remedy = f"{error.remedy}, or use --no-http"
        raise error
    from disc_stream_server.api.app import Api
    from disc_stream_server.api.auth.tokens import has_good_token
    from disc_stream_server.dashboard import Dashboard, PageAccess, read_token

    state = config.state or default_state(config.client_id)
    token = None if config.http_token is None else read_token(config.http_token)
    tokens = has_good_token(state, clock.unix_us())
    access = PageAccess(host, port, config.http_hosts, token, config.http_public, tokens)
    api = Api(config, state, access, parts, clock)
    page = Dashboard(access, broker=str(Broker.parse(config.broker)), prefix=config.prefix, ready=parts.ready)
    page.mount(api)
    return page, api


def parse_address(text: str) -> tuple[str, int]:
    """Read HOST:PORT; the host may be an IPv6 address in brackets.

    Raises:
        ConfigError: if it is not of that form.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(f"address {text!r} is not HOST:PORT", remedy="Use for example 127.0.0.1:8765")
    return host.removeprefix("[").removesuffix("]"), int(port)


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
