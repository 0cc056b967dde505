"""``disc-stream token``: who may use a server's API and page, and as what."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from disc_stream.cli.common import JsonOption, print_json, require_extras, say
from disc_stream.cli.registries import parse_time, print_table, time_text, whoever
from disc_stream.errors import ConfigError

if TYPE_CHECKING:
    from disc_stream_server.api.auth.tokens import TokenInfo, TokenStore

app = typer.Typer(
    no_args_is_help=True,
    help="Tokens of the API and the page: make, list and revoke them, also while the server runs. Without "
    "any, everybody on this machine may do everything; from the first one on, everybody needs one.\n\n"
    "Example: disc-stream token add ann --role operator",
)

ServerStateOption = Annotated[
    Path | None,
    typer.Option("--state", help="The server's state folder. Default: in ~/.local/state/disc-stream"),
]
_UNITS = {"h": 3_600, "d": 86_400, "w": 7 * 86_400}


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Of the person or program that will use it.")],
    role: Annotated[
        str,
        typer.Option(
            "--role",
            help="device: downloads models (`disc-stream edge label --follow`). viewer: reads. operator: "
            "also names, merges, tags, rejects labels, asks for a retraining. "
            "admin: also promotes, rolls back, sends dead letters again, makes and revokes tokens.",
        ),
    ] = "viewer",
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires", metavar="WHEN", help="After 12h, 90d or 4w, or at a time in UTC. Default: never."
        ),
    ] = None,
    state: ServerStateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token and show it, once: only a hash of it is kept.

    Example: disc-stream token add ann --role operator --expires 90d
    """
    from disc_stream_server.api.auth.roles import Role

    known = {str(one): one for one in Role}
    if role not in known:
        raise ConfigError(f"there is no role {role!r}", remedy=f"Give one of {', '.join(known)}")
    now_us = time.time_ns() // 1_000
    until_us = None if expires is None else parse_end(expires, now_us)
    with _tokens(state, make=True) as tokens:
        is_first = not tokens.any()
        token, info = tokens.add(name, known[role], by=whoever(None), now_us=now_us, expires_us=until_us)
    if as_json:
        print_json({**_facts(info), "token": token})
        return
    say(token)
    say(f"this is the token of {info.name} ({info.role}), and it is not shown again", err=True)
    if is_first:
        say("it is the first one: from now on the page and the API ask everybody for a token", err=True)
    say("next: curl -H 'Authorization: Bearer TOKEN' http://127.0.0.1:8765/api/v1/me", err=True)


@app.command("list")
def list_tokens(state: ServerStateOption = None, as_json: JsonOption = False) -> None:
    """List the tokens, also those that have ended; their secrets are kept nowhere.

    Example: disc-stream token list --state state
    """
    with _tokens(state) as tokens:
        found = tokens.list()
    now_us = time.time_ns() // 1_000
    if as_json:
        print_json({"tokens": [_facts(info) for info in found]})
        return
    if not found:
        say("no tokens: everybody on the server's machine may do everything, and nobody else gets in")
        say("next: disc-stream token add NAME --role operator")
        return
    columns = ("id", "name", "role", "made (UTC)", "by", "last used", "state")
    print_table(columns, [_row(info, now_us) for info in sorted(found, key=lambda one: one.created_us)])


@app.command()
def revoke(
    token: Annotated[str, typer.Argument(help="Its id; 'list' shows it.", metavar="ID")],
    state: ServerStateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Revoke a token. Whoever uses it is refused at once, and open connections end within seconds.

    Example: disc-stream token revoke 0f3a9c21d7e4
    """
    with _tokens(state) as tokens:
        info = tokens.revoke(token, time.time_ns() // 1_000)
        left = tokens.any_good(time.time_ns() // 1_000)
    if as_json:
        print_json(_facts(info))
        return
    say(f"the token {info.id} of {info.name} is revoked")
    if not left:
        say("it was the last good one; next: disc-stream token add NAME --role admin")


def parse_end(text: str, now_us: int) -> int:
    """When a token ends, in Unix microseconds: a time, or how long from now.

    Raises:
        ConfigError: if it is neither.
    """
    number, unit = text[:-1], text[-1:]
    if unit in _UNITS and number.isdecimal() and len(number) < 6:
        return now_us + int(number) * _UNITS[unit] * 1_000_000
    try:
        return parse_time(text)
    except ConfigError:
        raise ConfigError(
            f"{text!r:.80} is no time", remedy="Write it like 12h, 90d, 4w or 2027-01-31T12:00:00, in UTC"
        ) from None


@contextmanager
def _tokens(state: Path | None, *, make: bool = False) -> Iterator[TokenStore]:
    """The tokens of a state folder, which is made for the first of them if it is not there."""
    require_extras("disc-stream token", "server")
    from disc_stream.cli.streams import state_folder
    from disc_stream.config import default_state
    from disc_stream_server.api.auth.tokens import TokenStore
    from disc_stream_server.storage.people import PeopleStore

    folder = state or default_state("disc-stream-server")
    if make:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with PeopleStore(state_folder(folder)) as store:
        yield TokenStore(store)


def _facts(info: TokenInfo) -> dict[str, object]:
    return {**asdict(info), "role": str(info.role)}


def _row(info: TokenInfo, now_us: int) -> tuple[object, ...]:
    used = "never" if info.used_us is None else time_text(info.used_us)[:-3]
    if info.revoked_us is not None:
        now = f"revoked {time_text(info.revoked_us)[:-3]}"
    elif not info.is_good(now_us):
        now = "expired"
    else:
        now = "good" if info.expires_us is None else f"good until {time_text(info.expires_us)[:-3]}"
    return info.id, info.name, str(info.role), time_text(info.created_us)[:-3], info.created_by, used, now
