"""Lets people and gateways of phones in, each with an account of one's own; and shuts them out again.

Their user name replaces the client id, so an account has one connection at a time: another one ends the
first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from disc_stream.errors import ConfigError
from disc_stream_server.brokerconfig import mosquitto
from disc_stream_server.brokerconfig.authority import Authority
from disc_stream_server.brokerconfig.files import SECRET, locked, write
from disc_stream_server.brokerconfig.passwords import PasswordFile, new_token
from disc_stream_server.brokerconfig.plan import GATEWAY, ROLES, Layout, Plan
from disc_stream_server.brokerconfig.running import Told
from disc_stream_server.brokerconfig.setup import load_setup, role_text, tell_broker, write_people_access

Role = Literal["viewer", "operator", "gateway"]
_USERS = {**ROLES, "gateway": GATEWAY}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may connect now, or may not any more.

    Args:
        user: name of the account.
        file: with what `disc-stream` needs to connect, for the environment; gone if the account is.
        told: what the broker that runs here was told.
    """

    user: str
    file: Path
    told: Told


def add_person(root: Path, role: Role, name: str, *, renew: bool = False) -> Person:
    """Make an account for a person and let the broker know.

    Args:
        root: folder of the set-up.
        role: what the person may do.
        name: of the person: letters, digits, ``_ . -``.
        renew: replace the password of the account, which ends its connection.

    Raises:
        InputNotFoundError: if there is no set-up.
        ConfigError: if there is such an account and not ``renew``, or the name is not valid.
    """
    user = _user(role, name)
    plan, layout = load_setup(root)
    with locked(layout.root):
        users = _users(layout, plan)
        if not renew and user in users.users():
            raise ConfigError(
                f"there is a {role} {name!r} already",
                remedy="Give a new password with --renew, or choose another name",
            )
        token, file = new_token(), layout.role(f"{role}-{name}")
        users.set(user, token)
        write(file, role_text(plan, layout, user, token), SECRET)
        return _done(layout, plan, user, file)


def remove_person(root: Path, role: Role, name: str) -> Person:
    """Take an account away and let the broker know, which ends its connection.

    Raises:
        InputNotFoundError: if there is no set-up.
        ConfigError: if there is no such account.
    """
    user = _user(role, name)
    plan, layout = load_setup(root)
    with locked(layout.root):
        if not _users(layout, plan).remove(user):
            raise ConfigError(f"there is no {role} {name!r} here", remedy="Check the name")
        file = layout.role(f"{role}-{name}")
        file.unlink(missing_ok=True)
        return _done(layout, plan, user, file)


def _done(layout: Layout, plan: Plan, user: str, file: Path) -> Person:
    write_people_access(layout, plan)
    return Person(user, file, tell_broker(layout, plan, Authority(layout.authority)))


def _users(layout: Layout, plan: Plan) -> PasswordFile:
    return PasswordFile(layout.broker / mosquitto.PEOPLE_PASSWORDS, plan.user)


def _user(role: Role, name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is not a name for an account",
            remedy="Use 1 to 32 letters, digits, '_', '.' or '-', starting with a letter or digit",
        )
    return f"{_USERS[role]}-{name}"
