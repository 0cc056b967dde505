"""The parts of ``disc-stream phone``, started in order: broker, server, gateway, addresses."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from disc_stream.config import default_state, load_serve_config
from disc_stream.errors import BrokerError, ConfigError
from disc_stream.localbroker.start import LocalBroker, start_broker
from disc_stream.phones.certificate import Made, make_certificate
from disc_stream.phones.gateway import Gateway, Listeners, describe
from disc_stream.phones.listening import Web, own_address
from disc_stream.phones.phone import Phone
from disc_stream.phones.sending import PhoneSender
from disc_stream.phones.web import make_web_app
from disc_stream.phones.websocket import WebSocketSource
from disc_stream.types import Label
from disc_stream.wire.broker import Broker
from disc_stream.wire.secrecy import is_loopback
from disc_stream.wire.topics import Topics, check_device
from disc_stream_edge.outbox import open_outbox
from disc_stream_server.app import Server
from disc_stream_server.brokerconfig.devices import device_url
from disc_stream_server.brokerconfig.mosquitto import is_gateway

_DEFAULT = "mqtt://127.0.0.1:1883"
_MODEL_S = 5.0
_MOST_EVENTS = 10_000

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PhoneSettings:
    """What ``disc-stream phone`` was asked for.

    Args:
        devices: device ids of the phones that get a code.
        broker: where to; None to look for one on this machine, else to start one.
        prefix: topic prefix.
        bind: address that phones reach.
        host: name or address in the codes; None for ``bind``.
        port: of the page, HTTPS.
        push_port: of the address without TLS; None for none.
        sensorservers: ``ws://HOST:PORT`` of phones that run SensorServer.
        serve: settings of the server that is started if there is none, by the names of ``ServeConfig``.
        folder: of the certificate; None for the user's state folder.
        broker_setup: folder of ``disc-stream broker config``, whose authority signs the certificate, and with
            whose credentials phones send where the broker's account is a gateway's.
        outbox: folder for what the broker has not confirmed yet, one below it for each phone; None for
            memory.
        outbox_mb: most megabytes of each phone.
    """

    devices: tuple[str, ...] = ("phone-1",)
    broker: str | None = None
    prefix: str = "ds/v1"
    bind: str = "127.0.0.1"
    host: str | None = None
    port: int = 8766
    push_port: int | None = 8767
    sensorservers: tuple[str, ...] = ()
    serve: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    broker_setup: Path | None = None
    outbox: Path | None = None
    outbox_mb: float = 64.0

    def __post_init__(self) -> None:
        """Check the names.

        Raises:
            TopicError: if one cannot be a device id.
            ConfigError: if two phones have the same, or none is wanted.
        """
        for device in self.devices:
            check_device(device)
        if not self.devices or len(set(self.devices)) < len(self.devices):
            raise ConfigError("every phone needs its own device id", remedy="Check --device")


class PhoneService:
    """Takes phones' data while it is open; use it in a ``with`` statement.

    Args:
        settings: what is wanted.
    """

    def __init__(self, settings: PhoneSettings) -> None:
        self.settings = settings
        self._events: queue.Queue[Event] = queue.Queue(_MOST_EVENTS)
        self._parts = ExitStack()
        self._local: LocalBroker | None = None
        self._server: Server | None = None
        self._gateway: Gateway | None = None
        self.certificate: Made | None = None
        self._page_url = self._push_url = ""

    def __enter__(self) -> Self:
        with ExitStack() as parts:  # ended in reverse order
            self._start(parts)
            self._parts = parts.pop_all()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._parts.close()

    def _start(self, parts: ExitStack) -> None:
        wanted = self.settings
        page, push = self._addresses(parts)
        broker = Broker.parse(self._find_broker(parts))
        listeners = Listeners(self._on_label, self._on_findings, self._on_new)
        sender = partial(phone_sender, wanted, broker)
        gateway = self._gateway = Gateway(broker, Topics(wanted.prefix), wanted.devices, listeners, sender)
        parts.callback(gateway.close)
        gateway.connect()
        self._find_server(parts, gateway)
        app = make_web_app(gateway, self._push_url)
        for web in (page, push):
            if web is not None:
                web.start(app)
        for number, url in enumerate(wanted.sensorservers):
            phone = gateway.add(f"sensorserver-{number + 1}")
            source = WebSocketSource(url, phone, gateway.take)
            parts.callback(source.stop)
            source.start()

    def _addresses(self, parts: ExitStack) -> tuple[Web, Web | None]:
        """Take both ports before anything is started."""
        wanted = self.settings
        host = wanted.host or (own_address() if wanted.bind in ("0.0.0.0", "::") else wanted.bind)  # noqa: S104 - the user's choice
        if host is None:
            raise ConfigError(
                "this machine has no address that a phone could reach", remedy="Give it with --host"
            )
        folder = wanted.folder or default_state("disc-stream-phone") / "page"
        names = [host] if is_loopback(host) else [host, "localhost"]
        self.certificate = make_certificate(folder, names, wanted.broker_setup)
        page = Web(wanted.bind, wanted.port, self.certificate.files)
        parts.callback(page.stop)
        shown = f"[{host}]" if ":" in host else host
        self._page_url = f"https://{shown}:{page.port}"
        if wanted.push_port is None:
            return page, None
        push = Web(wanted.bind, wanted.push_port)
        parts.callback(push.stop)
        self._push_url = f"http://{shown}:{push.port}"
        return page, push

    def _find_broker(self, parts: ExitStack) -> str:
        if self.settings.broker is not None:
            return self.settings.broker
        if _answers(_DEFAULT):
            return _DEFAULT
        self._local = start_broker(None)
        parts.callback(self._local.stop)
        return self._local.url

    def _find_server(self, parts: ExitStack, gateway: Gateway) -> None:
        serve = self.settings.serve
        if self._local is None and gateway.finds_server():
            if given := [name for name, value in serve.items() if value is not None]:
                options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
                raise ConfigError(
                    f"a server is there already for what comes to {gateway.broker}",
                    remedy=f"Leave out {options}, or name another --broker",
                )
            return
        if is_gateway(gateway.broker.username):
            raise ConfigError(
                f"no server has announced itself at {gateway.broker}, and a gateway's account can be none",
                remedy="Start disc-stream serve first",
            )
        if not {"bundle", "models"} & serve.keys():
            serve = {**serve, "collect": True}
        address = self._local.url if self._local is not None else self.settings.broker or _DEFAULT
        own = {
            "broker": address,
            "prefix": self.settings.prefix,
            "client_id": "disc-stream-phone-server",
            "state": default_state("disc-stream-phone"),
        }
        config = load_serve_config(None, {**own, **serve})
        self._server = Server(config)
        parts.callback(self._server.stop)
        self._server.start()
        if "bundle" in serve:
            gateway.model_known.wait(_MODEL_S)

    # -- what happens ---------------------------------------------------------------------------------

    @property
    def gateway(self) -> Gateway:
        """The phones.

        Raises:
            RuntimeError: before the start.
        """
        if self._gateway is None:
            raise RuntimeError("not started")
        return self._gateway

    @property
    def labels_page(self) -> str | None:
        """The live page of the server that was started; None if there was one already."""
        return None if self._server is None else self._server.url

    @property
    def notice(self) -> str | None:
        """The limits of a broker that was started, in words."""
        return None if self._local is None else self._local.notice

    def url(self, phone: Phone) -> str:
        """The page for a phone."""
        return f"{self._page_url}/p/{phone.token}/"

    def push_url(self, phone: Phone, app: str) -> str:
        """Where an app pushes to."""
        return f"{self._push_url or self._page_url}/p/{phone.token}/push/{app}"

    def experiment_url(self, phone: Phone) -> str:
        """What phyphox loads its experiment from."""
        return f"{self._push_url or self._page_url}/p/{phone.token}/phyphox.phyphox"

    def next(self, timeout_s: float) -> Event | None:
        """What has happened; None if nothing did in time.

        Raises:
            DiscStreamError: if broker or server have ended.
        """
        if self._server is not None:
            self._server.wait(0)
        if self._local is not None and (reason := self._local.why_dead()) is not None:
            raise BrokerError(f"the broker has ended: {reason}", remedy="Start disc-stream phone again")
        try:
            return self._events.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def run(self, tell: Callable[[Event], None], ended: Callable[[], bool]) -> None:
        """Tell of events until ``ended``."""
        while not ended():
            event = self.next(0.2)
            if event is not None:
                tell(event)

    def _put(self, event: Event) -> None:
        try:
            self._events.put_nowait(event)
        except queue.Full:
            return  # whoever shows them has stopped; labels are on the broker

    def _on_label(self, phone: Phone, label: Label, first: bool) -> None:
        event: Event = {
            "event": "label", "device": phone.device, "name": label.best.name, "label": label.best.label,
            "confidence": round(label.best.confidence, 4), "first": first, "time": time.time(),
        }  # fmt: skip
        if first:
            event["seconds"] = round(phone.first_label_s or 0.0, 3)
        self._put(event)

    def _on_findings(self, phone: Phone) -> None:
        self._put({"event": "problems", **describe(phone)})

    def _on_new(self, phone: Phone) -> None:
        self._put({"event": "phone", "device": phone.device})


def phone_sender(settings: PhoneSettings, broker: Broker, device: str) -> PhoneSender:
    """What sends the batches of a phone: with its own credential where the broker's account is a gateway's.

    Raises:
        ConfigError: if it has none, or nobody says where they are.
        StorageError: if the outbox cannot be used.
    """
    if is_gateway(broker.username):
        if settings.broker_setup is None:
            raise ConfigError(
                f"{broker.username!r} is a gateway's account: phones send with credentials of their own",
                remedy="Name the folder that has them with --broker-setup",
            )
        broker = Broker.parse(device_url(settings.broker_setup, device))
    outbox = None
    if settings.outbox is not None:
        outbox = open_outbox(settings.outbox / device, settings.outbox_mb, "drop-oldest")
    return PhoneSender(broker, settings.prefix, outbox)


def _answers(url: str) -> bool:
    """Whether something listens at a broker's address."""
    import socket

    broker = Broker.parse(url)
    try:
        with socket.create_connection((broker.host, broker.port), timeout=1.0):
            return True
    except OSError:
        return False
