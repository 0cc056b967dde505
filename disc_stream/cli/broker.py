"""``disc-stream broker``: a Mosquitto that refuses everybody without a credential."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from disc_stream.cli.common import JsonOption, print_json, require_extras, say

if TYPE_CHECKING:
    from disc_stream_server.brokerconfig.people import Role
    from disc_stream_server.brokerconfig.running import Told
    from disc_stream_server.brokerconfig.setup import Written

app = typer.Typer(no_args_is_help=True, help="Set up a secure broker, and let devices and people in.")


class MosquittoVersion(StrEnum):
    """Forms of the configuration."""

    V2_0 = "2.0"
    V2_1 = "2.1"


ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", help="Folder that `disc-stream broker config` wrote.")
]
NameArgument = Annotated[str, typer.Argument(help="The person's name: letters, digits, '_', '.', '-'.")]
RenewPasswordOption = Annotated[
    bool, typer.Option("--renew", help="Give an account that is there a new password.")
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
        typer.Option("--port", help="Devices with passwords; the next three are taken too. Default: 8883"),
    ] = None,
    certificate_port: Annotated[
        int | None, typer.Option("--certificate-port", help="Devices with certificates. Default: port + 1")
    ] = None,
    service_port: Annotated[
        int | None, typer.Option("--service-port", help="The server. Default: port + 2")
    ] = None,
    people_port: Annotated[
        int | None, typer.Option("--people-port", help="Viewers and operators. Default: port + 3")
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
    max_connections: Annotated[
        int | None,
        typer.Option("--max-connections", help="At one time to each port. Default: 10000"),
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

    With an authority of its own, and an account each for the server, a viewer
    and an operator. Running it again completes what is missing, puts owners and
    permissions right, and brings the set-up of an earlier version up to date.

    Example: disc-stream broker config --out broker --host broker.example.org
    """
    require_extras("disc-stream broker", "broker")
    from disc_stream_server.brokerconfig.setup import tell_about, write_setup

    done = write_setup(
        out,
        force=force,
        hosts=tuple(host) if host else None,
        port=port,
        certificate_port=certificate_port,
        service_port=service_port,
        people_port=people_port,
        bind=bind,
        mosquitto=mosquitto.value if mosquitto else None,
        prefix=prefix,
        user=user,
        queue_bytes=queue_bytes,
        max_connections=max_connections,
        plugin_dir=plugin_dir,
    )
    told = tell_about(done)
    if as_json:
        _print_set_up(done, None if told is None else told.pid)
        return
    layout, plan = done.layout, done.plan
    say(f"{len(done.written)} files written to {layout.root}, {len(done.kept)} kept as they were")
    if done.upgraded:
        say(
            f"An earlier version wrote it. Viewers and operators have their own port ({plan.people_port}) "
            f"and new files in {layout.roles}: restart the broker, then give them those."
        )
    say(f"Start the broker:  mosquitto -c {layout.broker / 'mosquitto.conf'}")
    say(f"Serve:             set -a; . {layout.role('server')}; disc-stream serve --bundle BUNDLE")
    say(f"Watch:             set -a; . {layout.role('viewer')}; disc-stream watch")
    say(f"Let a device in:   disc-stream broker add-device DEVICE --config {out}")
    say(f"Let a person in:   disc-stream broker add-viewer NAME --config {out}")
    if plan.bind == "127.0.0.1":
        say("It listens on this machine alone; --force --host NAME --bind 0.0.0.0 opens it.")
    if told is not None and told.pid is not None:
        has = "has read it" if told.confirmed else "was told"
        say(f"The broker (process {told.pid}) {has}; other ports and limits need a restart.")


def _print_set_up(done: Written, told: int | None) -> None:
    layout, plan = done.layout, done.plan
    print_json(
        {
            "folder": str(layout.root),
            "configuration": str(layout.broker / "mosquitto.conf"),
            "hosts": list(plan.hosts),
            "ports": {
                "password": plan.port, "certificate": plan.certificate_port, "service": plan.service_port,
                "people": plan.people_port,
            },
            "ca": str(layout.ca),
            "roles": {path.stem: str(path) for path in sorted(layout.roles.glob("*.env"))},
            "written": [str(path) for path in done.written],
            "kept": [str(path) for path in done.kept],
            "upgraded": done.upgraded,
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
    labels: Annotated[
        bool | None,
        typer.Option(
            "--labels/--no-labels",
            show_default=False,
            help="Whether it labels itself (`edge label`), and so writes its own label and embedding. "
            "Default: no; with --renew, as before.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Let a device in: makes its credential, a folder for it, and tells the broker.

    Example: disc-stream broker add-device watch-17 --config broker

    Example: disc-stream broker add-device kitchen --config broker --labels
    """
    require_extras("disc-stream broker", "broker")
    from disc_stream_server.brokerconfig.devices import add_device as add

    added = add(config, device, certificate=certificate, renew=renew, labels=labels)
    if as_json:
        facts: dict[str, object] = {
            "device": added.device, "url": added.url, "folder": str(added.folder), "by": added.by,
            "labels": added.labels,
        }  # fmt: skip
        print_json({**facts, **_told(added.told)})
        return
    say(f"{device} may connect with its {added.by}; copy this folder to it: {added.folder}")
    say(f"On this machine:  disc-stream edge publish --synthetic --device {device} --broker '{added.url}'")
    if added.labels:
        say("It labels itself:  disc-stream edge label --bundle BUNDLE, and the rest alike")
    _say_told(added.told)


@app.command("let-label")
def let_label(
    device: DeviceArgument,
    config: ConfigOption,
    no: Annotated[bool, typer.Option("--no", help="Take the right away.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Let a device that is in label itself: it may write its own label and embedding. Its credential stays.

    Example: disc-stream broker let-label kitchen --config broker
    """
    require_extras("disc-stream broker", "broker")
    from disc_stream_server.brokerconfig.devices import let_label as let

    told = let(config, device, labels=not no)
    if as_json:
        print_json({"device": device, "labels": not no, **_told(told)})
        return
    say(f"{device} may {'not ' if no else ''}write its own labels and embeddings{' any more' if no else ''}")
    _say_told(told)


@app.command("remove-device")
def remove_device(device: DeviceArgument, config: ConfigOption, as_json: JsonOption = False) -> None:
    """Shut a device out: removes its password, revokes its certificate, tells the broker.

    What the device has sent stays; see `disc-stream data forget`.

    Example: disc-stream broker remove-device watch-17 --config broker
    """
    require_extras("disc-stream broker", "broker")
    from disc_stream_server.brokerconfig.devices import remove_device as remove

    removed = remove(config, device)
    if as_json:
        facts = {"device": device, "passwords": removed.passwords, "certificates": removed.certificates}
        print_json({**facts, **_told(removed.told)})
        return
    what = [
        f"{number} {name}{'s' if number > 1 else ''}"
        for number, name in ((removed.passwords, "password"), (removed.certificates, "certificate"))
        if number
    ]
    say(f"{device} is shut out: {' and '.join(what)} taken away")
    _say_told(removed.told)


@app.command("add-viewer")
def add_viewer(
    name: NameArgument, config: ConfigOption, renew: RenewPasswordOption = False, as_json: JsonOption = False
) -> None:
    """Let a person see labels, problems and states; never samples.

    An account has one connection at a time; another one ends the first.

    Example: disc-stream broker add-viewer anna --config broker
    """
    _add_person("viewer", name, config, renew=renew, as_json=as_json)


@app.command("add-operator")
def add_operator(
    name: NameArgument, config: ConfigOption, renew: RenewPasswordOption = False, as_json: JsonOption = False
) -> None:
    """Let a person look after the devices: `doctor`, `data forget`, `deadletter replay`.

    An account has one connection at a time; another one ends the first.

    Example: disc-stream broker add-operator ben --config broker
    """
    _add_person("operator", name, config, renew=renew, as_json=as_json)


@app.command("add-gateway")
def add_gateway(
    name: NameArgument, config: ConfigOption, renew: RenewPasswordOption = False, as_json: JsonOption = False
) -> None:
    """Let `disc-stream phone` in: it shows labels, and says what is wrong with phones.

    It sends no samples of its own: each phone is a device with a credential
    (`broker add-device`), which the gateway uses in its name.

    Example: disc-stream broker add-gateway home --config broker
    """
    _add_person("gateway", name, config, renew=renew, as_json=as_json)


@app.command("remove-viewer")
def remove_viewer(name: NameArgument, config: ConfigOption, as_json: JsonOption = False) -> None:
    """Shut a viewer out: removes the account, and ends its connection.

    Example: disc-stream broker remove-viewer anna --config broker
    """
    _remove_person("viewer", name, config, as_json=as_json)


@app.command("remove-operator")
def remove_operator(name: NameArgument, config: ConfigOption, as_json: JsonOption = False) -> None:
    """Shut an operator out: removes the account, and ends its connection.

    Example: disc-stream broker remove-operator ben --config broker
    """
    _remove_person("operator", name, config, as_json=as_json)


@app.command("remove-gateway")
def remove_gateway(name: NameArgument, config: ConfigOption, as_json: JsonOption = False) -> None:
    """Shut a gateway of phones out: removes the account, and ends its connection.

    Example: disc-stream broker remove-gateway home --config broker
    """
    _remove_person("gateway", name, config, as_json=as_json)


def _add_person(role: Role, name: str, config: Path, *, renew: bool, as_json: bool) -> None:
    require_extras("disc-stream broker", "broker")
    from disc_stream_server.brokerconfig.people import add_person

    person = add_person(config, role, name, renew=renew)
    if as_json:
        print_json({"user": person.user, "file": str(person.file), **_told(person.told)})
        return
    what = {
        "viewer": "disc-stream watch",
        "operator": "disc-stream doctor",
        "gateway": f"disc-stream phone --broker-setup {config} --device PHONE",
    }[role]
    say(f"{name} may connect as {person.user}; the password is in {person.file}")
    say(f"On this machine:  set -a; . {person.file}; {what}")
    _say_told(person.told)


def _remove_person(role: Role, name: str, config: Path, *, as_json: bool) -> None:
    require_extras("disc-stream broker", "broker")
    from disc_stream_server.brokerconfig.people import remove_person

    person = remove_person(config, role, name)
    if as_json:
        print_json({"user": person.user, **_told(person.told)})
        return
    say(f"{name} is shut out: the account {person.user} is taken away")
    _say_told(person.told)


def _told(told: Told) -> dict[str, object]:
    return {"reloaded": told.pid, "confirmed": told.confirmed, "cut": list(told.cut)}


def _say_told(told: Told) -> None:
    if told.pid is None:
        say("No broker runs here on this set-up: tell yours to reload (kill -HUP its process).")
        if told.stale:
            say("A connection that the old certificate has open loses its rights then, and stays open.")
    elif not told.confirmed:
        say(
            f"The broker (process {told.pid}) was told and has not confirmed it: it runs with an earlier "
            "configuration, or cannot be reached from here. Restart it."
        )
    else:
        say(f"The broker (process {told.pid}) has read it.")
        for user in told.cut:
            say(f"Connections of the old certificate ({user}) are cut.")
