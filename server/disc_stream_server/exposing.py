"""What a server shows over HTTP: the live page with the API, and metrics for Prometheus."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from disc_stream.clock import Clock
from disc_stream.config import ServeConfig, default_state
from disc_stream.errors import ConfigError, MissingExtraError
from disc_stream.wire.broker import Broker
from disc_stream.wire.secrecy import is_loopback
from disc_stream_server.api.parts import PageWords, Parts
from disc_stream_server.metrics.devices import DeviceBook
from disc_stream_server.metrics.snapshot import DeviceFacts, Exposition, Metrics, Snapshot
from disc_stream_server.observers import Observer, Page

if TYPE_CHECKING:
    from disc_stream_server.api.app import Api

_WEB = ("fastapi", "starlette", "uvicorn", "prometheus_client")


class Source(Protocol):
    """What is shown of: a server."""

    def waits_for(self) -> str | None:
        """What keeps messages from becoming labels; None if nothing does."""
        ...

    def snapshot(self) -> Snapshot | None:
        """As of the last status."""
        ...


class Port(Protocol):
    """A port that is served on."""

    def start(self) -> None:
        """Take it."""
        ...

    def stop(self) -> None:
        """Free it."""
        ...


class Exposure:
    """Everything that listens for HTTP requests; its observers go among those of the server.

    Args:
        config: settings.
        source: what is shown.
        parts: of the server, for the API.
        clock: time.
        words: what is added to the page.

    Raises:
        ConfigError: if a setting cannot be used.
        MissingExtraError: if what it needs is not installed.
    """

    def __init__(
        self, config: ServeConfig, source: Source, parts: Parts, clock: Clock, words: PageWords | None = None
    ) -> None:
        check_addresses(config)
        self._source = source
        self._book = DeviceBook(config.metrics_devices, clock) if config.metrics_devices else None
        self.page, self._api = _make_page(config, parts, self.metrics, clock, words or PageWords())
        """The live page; None without one."""
        ports: Sequence[Port | None] = (self.page, _make_port(config, self.metrics))
        self._ports = [port for port in ports if port is not None]

    @property
    def observers(self) -> list[Observer]:
        """To be told of what happens."""
        return [one for one in (self._api, self.page, self._book) if one is not None]

    @property
    def metrics_url(self) -> str | None:
        """What Prometheus scrapes on an address of its own; None without one."""
        return next((str(port.url) for port in self._ports if port is not self.page), None)  # type: ignore[attr-defined]

    def metrics(self, accept: str) -> Exposition:
        """The answer to a scrape; from any thread."""
        from disc_stream_server.metrics.rendering import render_metrics

        snapshot = self._source.snapshot()
        if snapshot is not None:
            devices: Mapping[str, DeviceFacts] = {} if self._book is None else self._book.shown()
            snapshot = replace(snapshot, ready=self._source.waits_for() is None, devices=devices)
        return render_metrics(snapshot, accept)

    def start(self) -> None:
        """Take all ports.

        Raises:
            PortInUseError: if one is taken.
            ConfigError: if an address cannot be used.
        """
        if self._api is not None:
            self._api.open()
        try:
            for port in self._ports:
                port.start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Free them. May be called twice."""
        for port in self._ports:
            port.stop()
        if self._api is not None:
            self._api.release()


def check_addresses(config: ServeConfig) -> None:
    """Refuse what is quickly seen to be wrong.

    Raises:
        ConfigError: naming it.
    """
    for address in filter(None, (config.http, config.metrics_bind)):
        parse_address(address)
    if (
        config.metrics_bind
        and config.metrics_devices
        and not is_loopback(parse_address(config.metrics_bind)[0])
    ):
        raise ConfigError(
            f"metrics that name devices would be open to everybody who reaches {config.metrics_bind}",
            remedy="Leave out metrics_devices, bind to 127.0.0.1, or scrape the live page with its token",
        )


def parse_address(text: str) -> tuple[str, int]:
    """Read HOST:PORT; the host may be an IPv6 address in brackets.

    Raises:
        ConfigError: if it is not of that form.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(f"address {text!r} is not HOST:PORT", remedy="Use for example 127.0.0.1:8765")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _make_page(
    config: ServeConfig, parts: Parts, metrics: Metrics, clock: Clock, words: PageWords
) -> tuple[Page | None, Api | None]:
    """The live page and the API, if they are wanted; their libraries are an extra."""
    if config.http is None:
        return None, None
    host, port = parse_address(config.http)
    _require_web("the live page", "--no-http")
    from disc_stream_server.api.app import Api
    from disc_stream_server.api.auth.tokens import has_good_token
    from disc_stream_server.dashboard import Dashboard, PageAccess, PageInfo, read_token

    state = config.state or default_state(config.client_id)
    token = None if config.http_token is None else read_token(config.http_token)
    tokens = has_good_token(state, clock.unix_us())
    access = PageAccess(host, port, config.http_hosts, token, config.http_public, tokens)
    api = Api(config, state, access, parts, clock)
    info = PageInfo(str(Broker.parse(config.broker)), config.prefix, words.notice)
    page = Dashboard(access, info=info, ready=parts.ready, annotate=words.annotate, listener=words.listener)
    page.serve_metrics(metrics)
    page.mount(api)
    return page, api


def _make_port(config: ServeConfig, metrics: Metrics) -> Port | None:
    """The address of metrics alone, if one is wanted."""
    if config.metrics_bind is None:
        return None
    _require_web("the address of metrics", "no --metrics-bind")
    from disc_stream_server.dashboard.metricsport import MetricsPort

    return MetricsPort(*parse_address(config.metrics_bind), metrics)


def _require_web(needed_for: str, otherwise: str) -> None:
    if any(importlib.util.find_spec(module) is None for module in _WEB):
        error = MissingExtraError("server", needed_for)
        error.remedy = f"{error.remedy}, or use {otherwise}"
        raise error
