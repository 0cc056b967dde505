"""``disc-stream serve``."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disc_stream.cli.common import (
    DEFAULT_BROKER,
    JsonOption,
    LogFormatOption,
    TrustedKeyOption,
    VerboseOption,
    require_extras,
    say,
    setup_logging,
)
from disc_stream.errors import ConfigError

if TYPE_CHECKING:
    from disc_stream.artifacts.manifest import Manifest
    from disc_stream_server.app import Server


_MAX_LINES = 64  # of the report that may wait for a slow reader


def serve(
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="Folder or zip that `disc-stream export` wrote.")
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option(
            "--models",
            help="Registry of models: the version in production serves, and is followed when it changes.",
        ),
    ] = None,
    trusted_key: TrustedKeyOption = None,
    collect: Annotated[
        bool, typer.Option("--collect", help="Receive and keep everything, without a model and labels.")
    ] = False,
    broker: Annotated[
        str | None,
        typer.Option(
            "--broker",
            envvar="DISC_STREAM_BROKER",
            help="mqtt://host:port or mqtts://…; the password is better put into "
            f"DISC_STREAM_BROKER_PASSWORD. Default: {DEFAULT_BROKER}",
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file with the same settings.")] = None,
    prefix: Annotated[str | None, typer.Option("--prefix", help="Topic prefix. Default: ds/v1")] = None,
    client_id: Annotated[
        str | None,
        typer.Option(
            "--client-id", help="MQTT client id; the broker keeps a queue for it while we are away."
        ),
    ] = None,
    http: Annotated[
        str | None, typer.Option("--http", help="HOST:PORT of the live page. Default: 127.0.0.1:8765")
    ] = None,
    no_http: Annotated[bool, typer.Option("--no-http", help="No live page.")] = False,
    http_token: Annotated[
        Path | None,
        typer.Option(
            "--http-token",
            help="File with a secret that viewers of the page must know, for another --http than loopback.",
        ),
    ] = None,
    http_public: Annotated[
        bool, typer.Option("--http-public", help="Show the page to every machine, without a token.")
    ] = False,
    http_host: Annotated[
        list[str] | None,
        typer.Option("--http-host", help="A name under which the page answers, of a proxy say; repeatable."),
    ] = None,
    metrics_bind: Annotated[
        str | None,
        typer.Option(
            "--metrics-bind",
            help="HOST:PORT of /metrics for Prometheus alone, without a token. The live page has it, too.",
        ),
    ] = None,
    max_batch: Annotated[
        int | None, typer.Option("--max-batch", help="Windows encoded at once. Default: 256")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            help="Folder of everything that must survive a crash. Default: in ~/.local/state/disc-stream",
        ),
    ] = None,
    bridge_s: Annotated[
        float | None,
        typer.Option("--bridge-s", help="Fill gaps up to so many seconds by straight lines. Default: 0"),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", help="Soft labels in each message. Default: 3")
    ] = None,
    adapt: Annotated[
        bool | None,
        typer.Option(
            "--adapt/--no-adapt",
            help="Let the model's centroids follow each device, within bounds. "
            "Default: where the model can, but for guided DISC.",
        ),
    ] = None,
    provider: Annotated[
        str | None,
        typer.Option("--provider", help="auto, cpu, cuda, openvino or openvino-bf16. Default: auto"),
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", help="Threads of the encoder. Default: all processors")
    ] = None,
    memory_mb: Annotated[
        int | None,
        typer.Option(
            "--memory-mb",
            metavar="MIB",
            help="Memory of both processes, which all queues together respect. Default: 1024",
        ),
    ] = None,
    retrain_every_h: Annotated[
        float | None, typer.Option("--retrain-every-h", help="Retrain every so many hours.")
    ] = None,
    retrain_at: Annotated[
        str | None,
        typer.Option("--retrain-at", help="At this time of day (UTC, HH:MM), with --retrain-every-h."),
    ] = None,
    retrain_windows: Annotated[
        int | None, typer.Option("--retrain-windows", help="Retrain after so many new windows.")
    ] = None,
    retrain_devices: Annotated[
        int | None, typer.Option("--retrain-devices", help="Retrain after so many new devices.")
    ] = None,
    retrain_drift: Annotated[
        bool, typer.Option("--retrain-drift", help="Retrain when the fleet's motion has changed.")
    ] = False,
    home_assistant: Annotated[
        bool,
        typer.Option(
            "--home-assistant", help="Announce devices to Home Assistant, and tell it what their wearers do."
        ),
    ] = False,
    events: Annotated[
        bool, typer.Option("--events", help="Publish what begins and ends on each device's event topic.")
    ] = False,
    print_config: Annotated[
        bool,
        typer.Option("--print-config", help="Print all settings as a --config file, explained, and end."),
    ] = False,
    log_format: LogFormatOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Label what wearables send to an MQTT broker, live.

    Reads samples from PREFIX/DEVICE/raw, publishes labels (JSON, retained) on
    PREFIX/DEVICE/label and shows them on a live page. SIGTERM or Ctrl-C
    finishes what was received and stops. With --json, stdout gets one JSON
    object a line: ready, status, stopped.

    With --models it serves what a registry has in production. Another version, a
    rollback, a name or a merge takes effect within seconds, between two batches.
    While the registry is empty it only collects, for a first `retrain`.

    With an option such as --retrain-every-h, or `retrain` in the --config file, it
    learns by itself: a first model as soon as there are enough windows, and new
    versions from then on, in a process of their own with the lowest priority.

    With --home-assistant every device becomes one of Home Assistant's, by MQTT
    discovery on the same broker.

    With --collect it needs no model: what it keeps is a first model's training
    data (`disc-stream data export`), and is labelled later, from its beginning,
    by `serve --bundle` on the same --state folder.

    Example: disc-stream serve --bundle bundles/hapt --broker mqtt://broker
    """
    if not collect and not print_config:
        require_extras("disc-stream serve", "cpu")
    from disc_stream.config import load_serve_config

    given: dict[str, Any] = {
        "bundle": bundle, "models": models,
        "trusted_key": trusted_key, "broker": broker, "prefix": prefix,
        "client_id": client_id, "http": http,
        "max_batch": max_batch, "state": state, "bridge_s": bridge_s, "top_k": top_k, "provider": provider,
        "adapt": adapt,
        "threads": threads, "memory_mb": memory_mb, "collect": collect or None, "http_token": http_token,
        "metrics_bind": metrics_bind, "log_format": log_format and log_format.value,
        "http_public": http_public or None, "http_hosts": tuple(http_host) if http_host else None,
    }  # fmt: skip
    options = {name: value for name, value in given.items() if value is not None}
    rules = {
        "every_h": retrain_every_h, "at": retrain_at, "windows": retrain_windows, "devices": retrain_devices,
        "drift": retrain_drift or None,
    }  # fmt: skip
    if any(value is not None for value in rules.values()):
        options["retrain"] = {name: value for name, value in rules.items() if value is not None}
    if events:
        options["events"] = {}
    if home_assistant:
        options["home_assistant"] = {}
    if no_http and http is not None:
        raise ConfigError("--http and --no-http exclude each other", remedy="Give one of them")
    if no_http:
        options["http"] = None
    if print_config:
        from disc_stream.configfile import print_settings

        say(print_settings(config, options))
        return
    settings = load_serve_config(config, options)
    setup_logging(verbose, settings.log_format)
    os.umask(0o077)  # what it keeps is for nobody else; the processes that it starts inherit this
    from disc_stream_server.app import Server

    if as_json:
        report = _JsonReport()
        server = Server(settings, observers=[report])
        server.run(on_ready=lambda: report.ready(server))
        report.stopped()
    else:
        server = Server(settings)
        server.run(on_ready=lambda: _say_ready(server))


class _JsonReport:
    """Prints one line of JSON when the server is ready, and one for each status from then on.

    Lines are written on a thread of their own: a reader that is slow, or has gone, misses some statuses and
    blocks nothing. They go to what stdout was at the start: while another thread opens a model on a GPU, what
    is printed anywhere is caught (``artifacts/runtimes``), and must not be one of these lines.
    """

    def __init__(self) -> None:
        self._out = sys.stdout
        self._is_ready = False
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue(_MAX_LINES)
        self._writer = threading.Thread(target=self._write, name="report", daemon=True)
        self._writer.start()

    def ready(self, server: Server) -> None:
        """The first line."""
        model = server.model
        facts = {
            "model": "" if model is None else model.version,
            "provider": "" if model is None else model.provider,
        }
        self._lines.put({"event": "ready", **facts, "broker": server.broker, "http": server.url})
        self._is_ready = True

    def stopped(self) -> None:
        """The last line."""
        with contextlib.suppress(queue.Full):
            self._lines.put({"event": "stopped"}, timeout=1.0)
            self._lines.put(None, timeout=1.0)
        self._writer.join(2.0)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                say(json.dumps(line, allow_nan=False), file=self._out)
            except (BrokenPipeError, ValueError):
                return

    def on_batch(self, batch: object) -> None:
        """Not reported."""

    def on_label(self, label: object) -> None:
        """Not reported; subscribe to the label topics for them."""

    def on_problem(self, device: object, problem: object) -> None:
        """Not reported; subscribe to the problem topics for them."""

    def on_status(self, status: dict[str, Any]) -> None:
        """One line."""
        if self._is_ready:
            with contextlib.suppress(queue.Full):
                self._lines.put_nowait({"event": "status", **status})


def _say_ready(server: Server) -> None:
    model, page = server.model, f"; live page at {server.url}" if server.url else ""
    where = "URL" if server.broker.startswith("mqtts:") else server.broker  # without ?ca= it would not do
    if model is None and server.config.models is not None:
        from disc_stream.config import default_state

        say(f"collecting what is sent to {server.broker}, without labels{page}")
        say(f"registry {server.config.models} has no version in production yet")
        rules = server.config.retrain
        if rules is None:
            state = server.config.state or default_state(server.config.client_id)
            folders = f"--models {quote(str(server.config.models))} --state {quote(str(state))}"
            say(f"next: disc-stream retrain {folders}, once enough has come")
        else:
            say(f"the first model is learned once about {rules.min_windows:,} windows have come")
        return
    if model is None:
        say(f"collecting what is sent to {server.broker}, without labels{page}")
        say(f"waiting for samples on {server.config.prefix}/DEVICE/raw")
        say("next: disc-stream data export --out FOLDER, once enough has come")
        return
    what = f"{model.manifest.name} {model.version} ({model.provider})"
    say(f"serving {what} on {server.broker}{page}")
    say(f"waiting for samples on {server.config.prefix}/DEVICE/raw")
    say(f"next: disc-stream watch --broker {where}")
    if _fits_synthetic(model.manifest):
        say(f"no device at hand: disc-stream edge publish --synthetic --broker {where}")


def _fits_synthetic(manifest: Manifest) -> bool:
    """Whether synthetic wearables have the channels that the model needs."""
    from disc_stream.data.synthetic import CHANNELS

    return {channel.name for channel in manifest.channels} <= {channel.name for channel in CHANNELS}
