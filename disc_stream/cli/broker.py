"""``disc-stream broker``: a Mosquitto that refuses everybody without a credential."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from disc_stream.cli.common import JsonOption, print_json, require_extras, say

if TYPE_CHECKING:
    from disc_stream_server.brokerconfig.setup import Written

app = typer.Typer(no_args_is_help=True, help="Set up a secure broker, and let devices in.")


class MosquittoVersion(StrEnum):
    """Forms of the configuration."""

    V2_0 = "2.0"
    V2_1 = "2.1"


ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="Folder that `disc-stream broker config` wrote.")
]
DeviceArgument = Annotated[str, typer.Argument(help="The device's id, as in its topics.")]


@app.command("config")
def config(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the set-up.")],
    host: Annotated[
        list[str] | None,
        typer.Option("--host", help="Name or address of the broker. Default: this machine alone."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", help="Devices with passwords; the next two are taken too. Default: 8883"),
    ] = None,
    certificate_port: Annotated[
        int | None, typer.Option("--certificate-port", help="Devices with certificates. Default: port + 1")
    ] = None,
    service_port: Annotated[
        int | None, typer.Option("--service-port", help="Server, viewers, operators. Default: port + 2")
    ] = None,
    bind: Annotated[
        str | None, typer.Option("--bind", help="Address to listen on. Default: all, with --host.")
    ] = None,
    mosquitto: Annotated[
        MosquittoVersion | None, typer.Option("--mosquitto", help="Version. Default: 2.0")
    ] = None,
    prefix: Annotated[str | None, typer.Option("--prefix", help="Topic prefix. Default: ds/v1")] = None,
    user: Annotated[
        str | None, typer.Option("--user", help="That the broker runs as. Default: mosquitto for root.")
    ] = None,
    queue_bytes: Annotated[
        int | None,
        typer.Option("--queue-bytes", help="Kept for one client that is away. Default: 2000000000"),
    ] = None,
    plugin_dir: Annotated[
        str | None, typer.Option("--plugin-dir", help="Folder of Mosquitto's plugins, for 2.1.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write the configuration again; never authority or passwords.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a complete set-up of Mosquitto: TLS, passwords, access lists, limits.

    With an authority of its own, and one account each for the server, for
    viewers and for operators. Running it again completes what is missing.

    Example: disc-stream broker config --out broker --host broker.example.org
    """
    require_extras("disc-stream broker", "broker")
    from disc_stream_server.brokerconfig.devices import reload_broker
    from disc_stream_server.brokerconfig.setup import write_setup

    done = write_setup(
        out,
        force=force,
        hosts=tuple(host) if host else None,
        port=port,
        certificate_port=certificate_port,
        service_port=service_port,
        bind=bind,
        mosquitto=mosquitto.value if mosquitto else None,
        prefix=prefix,
        user=user,
        queue_bytes=queue_bytes,
        plugin_dir=plugin_dir,
    )
    told = reload_broker(done.layout) if done.written else None
    if as_json:
        _print_set_up(done, told)
        return
    layout, plan = done.layout, done.plan
    say(f"{len(done.written)} files written to {layout.root}, {len(done.kept)} kept as they were")
    say(f"Start the broker:  mosquitto -c {layout.broker / 'mosquitto.conf'}")
    say(f"Serve:             set -a; . {layout.role('server')}; disc-stream serve --bundle BUNDLE")
    say(f"Watch:             set -a; . {layout.role('viewer')}; disc-stream watch")
    say(f"Let a device in:   disc-stream broker add-device DEVICE --config {out}")
    if plan.bind == "127.0.0.1":
        say("It listens on this machine alone; --force --host NAME --bind 0.0.0.0 opens it.")
    if told is not None:
        say(f"The broker (process {told}) was told; other ports and limits need a restart.")


def _print_set_up(done: Written, told: int | None) -> None:
    layout, plan = done.layout, done.plan
    print_json(
        {
            "folder": str(layout.root),
            "configuration": str(layout.broker / "mosquitto.conf"),
            "hosts": list(plan.hosts),
            "ports": {
                "password": plan.port, "certificate": plan.certificate_port, "service": plan.service_port,
            },
            "ca": str(layout.ca),
            "roles": {path.stem: str(path) for path in sorted(layout.roles.glob("*.env"))},
            "written": [str(path) for path in done.written],
            "kept": [str(path) for path in done.kept],
            "reloaded": told,
        }
    )  # fmt: skip


@app.command("add-device")
def add_device(
    device: DeviceArgument,
    config: ConfigOption,
    certificate: Annotated[
        bool | None,
        typer.Option(
            "--certificate/--password",
            show_default=False,
            help="What it proves itself by. Default: a password; with --renew, what it has.",
        ),
    ] = None,
    renew: Annotated[bool, typer.Option("--renew", help="Replace the credential that it has.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Let a device in: makes its credential, a folder for it, and tells the broker.

    Example: disc-stream broker add-device watch-17 --config broker
    """
    require_extras("disc-stream broker", "broker")
    from disc_stream_server.brokerconfig.devices import add_device as add

    added = add(config, device, certificate=certificate, renew=renew)
    if as_json:
        facts = {"device": added.device, "url": added.url, "folder": str(added.folder), "by": added.by}
        print_json({**facts, "reloaded": added.reloaded})
        return
    say(f"{device} may connect with its {added.by}; copy this folder to it: {added.folder}")
    say(f"On this machine:  disc-stream edge publish --synthetic --device {device} --broker '{added.url}'")
    _say_reloaded(added.reloaded)


@app.command("remove-device")
def remove_device(device: DeviceArgument, config: ConfigOption, as_json: JsonOption = False) -> None:
    """Shut a device out: removes its password, revokes its certificate, tells the broker.

    What the device has sent stays; see `disc-stream data forget`.

    Example: disc-stream broker remove-device watch-17 --config broker
    """
    require_extras("disc-stream broker", "broker")
    from dataclasses import asdict

    from disc_stream_server.brokerconfig.devices import remove_device as remove

    removed = remove(config, device)
    if as_json:
        print_json(asdict(removed))
        return
    what = [
        f"{number} {name}{'s' if number > 1 else ''}"
        for number, name in ((removed.passwords, "password"), (removed.certificates, "certificate"))
        if number
    ]
    say(f"{device} is shut out: {' and '.join(what)} taken away")
    _say_reloaded(removed.reloaded)


def _say_reloaded(pid: int | None) -> None:
    if pid is None:
        say("No broker runs here on this set-up: tell yours to reload (kill -HUP its process).")
    else:
        say(f"The broker (process {pid}) was told.")
