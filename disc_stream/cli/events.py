"""``disc-stream events``: secrets of webhooks, and events that nobody took."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disc_stream.cli.common import JsonOption, print_json, require_path, say
from disc_stream.cli.streams import StateOption, state_folder
from disc_stream.errors import ConfigError, InputNotFoundError

if TYPE_CHECKING:
    from disc_stream_server.events.webhook import Webhook
    from disc_stream_server.storage.journal import Journal

app = typer.Typer(
    no_args_is_help=True,
    help="Webhooks of `serve`: their secrets, and events that nobody took.\n\n"
    "Example: disc-stream events dead --state state",
)


@app.command()
def secret(
    file: Annotated[Path, typer.Argument(help="A new file, which nobody else will be able to read.")],
) -> None:
    """Write a new secret, with which webhooks are signed; give it to whoever receives them.

    It has the form that the libraries of Standard Webhooks read.

    Example: disc-stream events secret hook.secret
    """
    import os

    from disc_stream_server.events.signing import new_secret

    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigError(f"{str(file)!r} is there already", remedy="Name a new file") from None
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(new_secret() + "\n")
    say(f"{file}: a new secret")
    say("next: name it as `secret` of a webhook in the --config file of disc-stream serve")


@app.command()
def dead(
    state: StateOption = None,
    after: Annotated[int, typer.Option(help="Only those after this id.")] = 0,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number to list, oldest first.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """List events that a webhook refused, or did not take for a day.

    Example: disc-stream events dead --state state
    """
    from disc_stream.mappings.times import rfc3339
    from disc_stream.wire.event import event_to_dict

    with _journal(state) as journal:
        found = journal.dead(after, limit)
    if as_json:
        rows = [
            {
                "id": one.id,
                "sink": _sink(one.sink),
                "at": one.at_us,
                "reason": one.reason,
                "event": event_to_dict(one.event),
            }
            for one in found
        ]
        print_json({"dead": rows})
        return
    for one in found:
        what = f"{one.event.device}  {one.event.type}: {one.reason}"
        say(f"{one.id}  {rfc3339(one.at_us)}  {_sink(one.sink)}  {what}")
    drop = f"--drop {found[0].id}" if found else ""
    say(f"next: disc-stream events replay --config FILE, or {drop}" if found else "no dead events")


@app.command()
def replay(
    config: Annotated[
        Path | None, typer.Option("--config", help="The --config file of `serve`, with its webhooks.")
    ] = None,
    state: StateOption = None,
    drop: Annotated[
        list[int] | None, typer.Option("--drop", metavar="ID", help="Remove this one unsent; repeatable.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Post events that nobody took once more, each to its webhook; those that are taken are removed.

    Exit code 1 if one is not taken, which stays.

    Example: disc-stream events replay --config serve.yaml --state state
    """
    if config is None and not drop:
        raise ConfigError(
            "there is nothing to do", remedy="Give the --config file with the webhooks, or --drop ID"
        )
    hooks = {} if config is None else _hooks(config)
    with _journal(state) as journal:
        for one in drop or ():
            journal.remove_dead(one)
        taken, left = (0, []) if config is None else _post_again(journal, hooks)
    if as_json:
        print_json({"taken": taken, "dropped": len(drop or ()), "left": left})
    else:
        for row in left:
            say(f"{row['id']}  {row['sink']}: {row['reason']}")
        say(f"{taken} taken, {len(drop or ())} dropped, {len(left)} left")
    if left:
        raise typer.Exit(1)


def _hooks(config: Path) -> dict[str, Webhook]:
    """The webhooks of a configuration, by their names in the journal."""
    from disc_stream.clock import SystemClock
    from disc_stream.config import load_serve_config
    from disc_stream.mappings.cloudevents import source_of
    from disc_stream_server.events.webhook import Webhook

    settings = load_serve_config(require_path(config, "the file"), {})
    if settings.events is None:
        return {}
    source = source_of(settings.client_id)
    made = [Webhook(one, source, SystemClock()) for one in settings.events.webhooks]
    return {one.name: one for one in made}


def _post_again(journal: Journal, hooks: dict[str, Webhook]) -> tuple[int, list[dict[str, Any]]]:
    """How many were taken, and what was not, with the reasons."""
    taken, last = 0, 0
    left: list[dict[str, Any]] = []
    while found := journal.dead(last):
        for one in found:
            last = one.id
            hook = hooks.get(one.sink)
            why = "no such webhook in the file" if hook is None else hook.post_once(one.event)
            if why is None:
                journal.remove_dead(one.id)
                taken += 1
            else:
                left.append({"id": one.id, "sink": _sink(one.sink), "reason": why})
    return taken, left


def _sink(name: str) -> str:
    """Without the path of an address, which may be secret."""
    from disc_stream_server.events.posting import Target

    kind, _, url = name.partition(" ")
    return f"{kind} {Target.parse(url)}" if url else kind


@contextmanager
def _journal(state: Path | None) -> Iterator[Journal]:
    """The journal of a state folder; a server may be using it."""
    from disc_stream_server.storage.journal import FILE, Journal

    folder = state_folder(state)
    if not (folder / FILE).exists():
        raise InputNotFoundError(
            f"{str(folder)!r} holds no events", remedy="Start disc-stream serve --events, or give its --state"
        )
    journal = Journal(folder)
    try:
        yield journal
    finally:
        journal.close()
