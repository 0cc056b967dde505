"""``disc-stream data forget``: erases one device."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from disc_stream.cli.common import JsonOption, print_json, say
from disc_stream.cli.streams import PrefixOption, StateOption, state_folder
from disc_stream.errors import BrokerError, ConfigError

if TYPE_CHECKING:
    from disc_stream.wire.broker import Broker
    from disc_stream.wire.mqtt import MqttLink
    from disc_stream.wire.topics import Topics
    from disc_stream_server.storage.forget import Erased

_PATIENCE_S = 10.0


def forget(
    device: Annotated[str, typer.Argument(help="The device's id, as in its topics.")],
    state: StateOption = None,
    broker: Annotated[
        str | None,
        typer.Option(
            "--broker",
            envvar="DISC_STREAM_BROKER",
            help="Also clear what this broker retains of it: mqtt://host:port",
        ),
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option(
            "--models",
            envvar="DISC_STREAM_MODELS",
            help="Also mark the versions of this registry that were trained on it, until they are replaced.",
        ),
    ] = None,
    prefix: PrefixOption = "ds/v1",
    home_assistant: Annotated[
        str,
        typer.Option(
            "--home-assistant",
            metavar="PREFIX",
            help="Discovery prefix of Home Assistant, which is told too.",
        ),
    ] = "homeassistant",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Erase a device: its messages, labels, state and dead letters, to the last byte.

    Works while the server runs, which then knows nothing of it either, nor does its page. A device that
    goes on sending is a new one from then on: stop it first, or take its access away. Copies that were
    exported stay, and so does what the log says. At the end it says what was looked at.

    What retrainings keep (windows of many devices) is removed as a whole: the next one begins from scratch,
    and learns nothing from the device.

    An id that breaks the grammar, of which there are only dead letters, can be erased like any other.

    Example: disc-stream data forget watch-17 --broker mqtt://127.0.0.1:1883
    """
    from disc_stream.wire.broker import Broker
    from disc_stream.wire.topics import Topics
    from disc_stream_server.storage.forget import finish
    from disc_stream_server.storage.forget import forget as erase

    _check_level(device)
    topics = Topics(prefix)
    retained = _retained(topics, device, Topics(home_assistant).prefix)
    folder = state_folder(state)
    where = None if broker is None else Broker.parse(broker)
    if not yes:
        _ask(device, f"{folder} and what {where} retains of it" if where else str(folder), as_json)
    link = None if where is None else _connect(where)
    try:
        if link is not None:
            _clear(link, retained, device)
        erased = erase(folder, device, topics.prefix)
        if link is not None:
            _clear(link, retained, device, again=True)  # the server may have published meanwhile
        erased = finish(folder, erased, device, topics.prefix)
        if link is not None:
            _clear(link, retained, device, again=True)
    finally:
        if link is not None:
            link.close()
    marked = [] if models is None else _mark(models, device)
    cleared = list(retained) if link is not None else []
    if as_json:
        facts = {"device": device, "state": str(folder), "broker_cleared": broker is not None}
        print_json({**facts, "topics_cleared": cleared, "versions_marked": marked, **asdict(erased)})
    else:
        _print_receipt(device, erased, cleared)
        for version in marked:
            say(f"  marked: version {version} was trained on it; disc-stream retrain replaces it")
            say(f"  removed: the windows that version {version} kept to be looked at")


def _mark(models: Path, device: str) -> list[int]:
    """Mark the versions that learned from it, and remove the windows that they keep; their numbers."""
    from disc_stream.registry import Registry

    with Registry.open(models) as registry:
        found = [
            v.number for v in registry.versions() if v.pruned_us is None and v.lineage.trained_on(device)
        ]
        for number in found:
            registry.mark(number, "trained on data of a device that was erased since")
            registry.drop_examples(number)
    return found


def _print_receipt(device: str, erased: Erased, cleared: list[str]) -> None:
    say(
        f"{device} is erased: {erased.messages:,} messages, {erased.labels:,} labels, "
        f"{erased.others:,} other records"
    )
    for place, count in erased.receipt.items():
        say(f"  looked at {place}: {count:,}")
    for topic in cleared:
        say(f"  cleared at the broker: {topic}")
    if erased.server is False:
        say("The server has not dropped it from memory yet; it does so with its next checkpoint.")
    if erased.damaged_files:
        say(f"{erased.damaged_files} copies of damaged files were removed, for they cannot be searched")
    if not cleared:
        say("What the broker retains of it is still there; --broker clears that too.")


def _check_level(device: str) -> None:
    """Refuse what cannot stand between two slashes of a topic, or is not a device's.

    Raises:
        TopicError: naming it.
    """
    from disc_stream.errors import TopicError

    if not device or device.startswith("$") or any(c in device for c in "/+#\0"):
        raise TopicError(
            f"{device!r} cannot be a device's id", remedy="Give what stands in its topics after the prefix"
        )


def _ask(device: str, places: str, as_json: bool) -> None:
    if as_json or not sys.stdin.isatty():
        raise ConfigError("standard input is not a terminal, so nobody can confirm", remedy="Give --yes")
    typer.confirm(f"Erase {device} in {places} for good?", abort=True)


def _connect(broker: Broker) -> MqttLink:
    import secrets

    from disc_stream.wire.mqtt import MqttLink

    link = MqttLink(broker, f"disc-stream-forget-{secrets.token_hex(4)}")
    try:
        link.connect()
    except BaseException:
        link.close()
        raise
    return link


def _retained(topics: Topics, device: str, home_assistant: str) -> dict[str, bool]:
    """Topics that may hold something of a device, and whether the server may publish there meanwhile."""
    from disc_stream.wire.topics import Kind
    from disc_stream_server.homeassistant.discovery import Discovery

    own = {f"{topics.prefix}/{device}/{kind}": kind is not Kind.META for kind in Kind}
    return {**own, Discovery(topics, home_assistant).topic(device): True}


def _clear(link: MqttLink, retained: dict[str, bool], device: str, *, again: bool = False) -> None:
    """Replace what is retained by nothing.

    Raises:
        BrokerError: if the broker does not confirm.
    """
    for topic, may_come_again in retained.items():
        if may_come_again or not again:
            link.publish(topic, b"", retain=True)
    if not link.flush(_PATIENCE_S):
        raise BrokerError(
            f"the broker has not confirmed within {_PATIENCE_S:g} s that {device} is cleared",
            remedy="Run the same command again",
        )
