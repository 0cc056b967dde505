"""``disc-stream phone``."""

from __future__ import annotations

import json as jsonlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disc_stream.cli.common import (
    JsonOption,
    PrefixOption,
    TrustedKeyOption,
    VerboseOption,
    require_extras,
    say,
    setup_logging,
)
from disc_stream.errors import ConfigError

if TYPE_CHECKING:
    from disc_stream.phones.phone import Phone
    from disc_stream.phones.run import PhoneService

_SERVER, _NETWORK = "Server", "Network"


def phone(
    device: Annotated[
        list[str] | None,
        typer.Option("--device", help="Device id of a phone; repeatable, one code each. Default: phone-1"),
    ] = None,
    sensorserver: Annotated[
        list[str] | None,
        typer.Option(
            "--sensorserver",
            metavar="URL",
            help="ws://HOST:PORT of a phone that runs SensorServer; repeatable.",
        ),
    ] = None,
    png: Annotated[
        Path | None,
        typer.Option("--png", metavar="DIR", help="Write the codes there: DEVICE.png, DEVICE-phyphox.png."),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", help="Model that labels. Default: none.", rich_help_panel=_SERVER),
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option("--models", help="Registry of models, instead.", rich_help_panel=_SERVER),
    ] = None,
    trusted_key: TrustedKeyOption = None,
    state: Annotated[
        Path | None,
        typer.Option("--state", help="State folder of the server.", rich_help_panel=_SERVER),
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(
            "--http",
            help="HOST:PORT of the server's live page. Default: 127.0.0.1:8765",
            rich_help_panel=_SERVER,
        ),
    ] = None,
    no_http: Annotated[
        bool, typer.Option("--no-http", help="No live page of the server.", rich_help_panel=_SERVER)
    ] = False,
    broker: Annotated[
        str | None,
        typer.Option(
            "--broker",
            envvar="DISC_STREAM_BROKER",
            help="mqtt://host:port. Default: the one on this machine, or one of its own.",
            rich_help_panel=_NETWORK,
        ),
    ] = None,
    prefix: PrefixOption = "ds/v1",
    bind: Annotated[
        str,
        typer.Option(
            "--bind",
            help="Address of this machine that phones reach, or 0.0.0.0 for all.",
            rich_help_panel=_NETWORK,
        ),
    ] = "127.0.0.1",
    host: Annotated[
        str | None,
        typer.Option("--host", help="Name or address in the codes.", rich_help_panel=_NETWORK),
    ] = None,
    port: Annotated[
        int,
        typer.Option("--port", min=0, max=65_535, help="Of the page, HTTPS.", rich_help_panel=_NETWORK),
    ] = 8766,
    push_port: Annotated[
        int,
        typer.Option(
            "--push-port", min=0, max=65_535, help="Of the address for apps, HTTP.", rich_help_panel=_NETWORK
        ),
    ] = 8767,
    no_push: Annotated[
        bool, typer.Option("--no-push", help="No address without TLS.", rich_help_panel=_NETWORK)
    ] = False,
    broker_setup: Annotated[
        Path | None,
        typer.Option(
            "--broker-setup",
            metavar="DIR",
            help="Folder of `disc-stream broker config`: its authority signs the page's certificate, and "
            "with the account of `broker add-gateway`, each phone sends with its own credential.",
            rich_help_panel=_NETWORK,
        ),
    ] = None,
    outbox: Annotated[
        Path | None,
        typer.Option(
            "--outbox",
            metavar="DIR",
            help="Keeps what the broker has not confirmed. Default: in ~/.local/state/disc-stream-phone",
            rich_help_panel=_NETWORK,
        ),
    ] = None,
    outbox_mb: Annotated[
        float,
        typer.Option(
            "--outbox-mb", min=0.1, help="Most megabytes in it of each phone.", rich_help_panel=_NETWORK
        ),
    ] = 64.0,
    duration: Annotated[
        float | None, typer.Option("--duration", metavar="SECONDS", min=0.0, help="End after this long.")
    ] = None,
    json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Label what a phone in your hand measures: scan the code, and press Start.

    Finds a broker and a server on this machine, or starts them, and shows a QR
    code for each phone. The code leads to a page that streams the phone's
    motion; Sensor Logger, phyphox, SensorSpot and SensorServer do so, too.
    What is wrong with the data is said within ten seconds. Without a model
    it collects, for a first `retrain`. Ctrl-C ends it.

    Phones reach this machine only with --bind. The code's address holds a
    secret of its phone; it is another one at each start.

    Example: disc-stream phone --bundle bundles/hapt --bind 192.168.1.20
    """
    require_extras("disc-stream phone", "phone", *(["cpu"] if bundle or models else []))
    import time

    from disc_stream.cli.signals import stop_on_signals
    from disc_stream.config import default_state
    from disc_stream.phones.run import PhoneService, PhoneSettings

    setup_logging(verbose)
    os.umask(0o077)
    if no_http and http is not None:
        raise ConfigError("--http and --no-http exclude each other", remedy="Give one of them")
    given: dict[str, Any] = {
        "bundle": bundle, "models": models, "trusted_key": trusted_key, "state": state, "http": http,
    }  # fmt: skip
    serve = {name: value for name, value in given.items() if value is not None}
    if no_http:
        serve["http"] = None
    settings = PhoneSettings(
        devices=tuple(device or ["phone-1"]), broker=broker, prefix=prefix, bind=bind, host=host, port=port,
        push_port=None if no_push else push_port, sensorservers=tuple(sensorserver or ()), serve=serve,
        broker_setup=broker_setup, outbox=outbox or default_state("disc-stream-phone") / "outbox",
        outbox_mb=outbox_mb,
    )  # fmt: skip
    with stop_on_signals() as stop, PhoneService(settings) as service:
        if png is not None:
            _save_codes(service, png)
        show = _print_json if json else _print_event
        if json:
            _print_json({"event": "ready", **_facts(service)})
        else:
            _say_ready(service)
        end = None if duration is None else time.monotonic() + duration
        service.run(show, lambda: stop.is_set() or (end is not None and time.monotonic() > end))
    if json:
        _print_json({"event": "stopped"})


def _save_codes(service: PhoneService, folder: Path) -> None:
    from disc_stream.phones.codes import save_code

    folder.mkdir(parents=True, exist_ok=True)
    for phone in service.gateway.phones:
        save_code(service.url(phone), folder / f"{phone.device}.png")
        save_code(_for_phyphox(service, phone), folder / f"{phone.device}-phyphox.png")


def _for_phyphox(service: PhoneService, phone: Phone) -> str:
    """The address of the experiment, as a link that opens phyphox."""
    return "phyphox://" + service.experiment_url(phone).partition("://")[2]


def _facts(service: PhoneService) -> dict[str, Any]:
    phones = [
        {
            "device": phone.device,
            "url": service.url(phone),
            "sensorlogger": service.push_url(phone, "sensorlogger"),
            "phyphox": _for_phyphox(service, phone),
        }
        for phone in service.gateway.phones
    ]
    made = service.certificate
    return {
        "broker": str(service.gateway.broker),
        "http": service.labels_page,
        "model": service.gateway.reading.words,
        "fingerprint": None if made is None else made.fingerprint,
        "authority": None if made is None else str(made.authority),
        "phones": phones,
    }


def _say_ready(service: PhoneService) -> None:
    from disc_stream.phones.codes import terminal_code
    from disc_stream.wire.secrecy import is_loopback

    facts, settings = _facts(service), service.settings
    if service.notice:
        say(service.notice)
    for one in facts["phones"]:
        typer.echo(terminal_code(one["url"]))
        say(f"{one['device']}: {one['url']}")
        say(f"  Sensor Logger, HTTP push: {one['sensorlogger']}")
        say(f"  phyphox, open on the phone: {one['phyphox']}")
    say(f"the phone's browser warns of the certificate once; its SHA-256 is {facts['fingerprint']}")
    if is_loopback(settings.bind):
        from disc_stream.phones.listening import own_address

        say(
            f"no phone can reach {settings.bind}; next: disc-stream phone --bind {own_address() or 'ADDRESS'}"
        )
    label = facts["model"] or "collecting without labels: there is no model yet"
    say(
        f"{label}; samples go to {facts['broker']}"
        + (f"; live page at {facts['http']}" if facts["http"] else "")
    )


def _print_json(event: dict[str, Any]) -> None:
    say(jsonlib.dumps(event, allow_nan=False))


def _print_event(event: dict[str, Any]) -> None:
    """One line for people."""
    if event["event"] == "label":
        since = f", {event['seconds']:.1f} s after the first contact" if event["first"] else ""
        say(f"{event['device']}: {event['name']} ({event['confidence']:.2f}){since}")
    elif event["event"] == "phone":
        say(f"{event['device']}: a new phone publishes")
    elif event["problems"]:
        for one in event["problems"]:
            say(f"{event['device']}: {one['words']}. {one['remedy']}.")
    else:
        say(f"{event['device']}: nothing is wrong any more")
