"""Writes a set-up, and completes one: what is there already, stays; secrets always do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from disc_stream.errors import ConfigError
from disc_stream_server.brokerconfig import mosquitto
from disc_stream_server.brokerconfig.authority import Authority, needs_renewal
from disc_stream_server.brokerconfig.files import (
    OPEN_FOLDER,
    PRIVATE_FOLDER,
    PUBLIC,
    SECRET,
    locked,
    make_folder,
    write,
)
from disc_stream_server.brokerconfig.passwords import PasswordFile, new_token
from disc_stream_server.brokerconfig.plan import ROLES, Layout, Plan


@dataclass(frozen=True, slots=True)
class Written:
    """What was done.

    Args:
        plan: settings of the set-up.
        layout: where its files are.
        written: files that are new, or new again.
        kept: files that were left as they are.
    """

    plan: Plan
    layout: Layout
    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)


def write_setup(folder: Path, *, force: bool = False, **settings: Any) -> Written:
    """Write a set-up, or complete the one that is there.

    Authority, passwords and devices are never replaced. The broker's certificate is made anew when its names
    change or it runs out soon. A role whose file was removed gets a new password.

    Args:
        folder: for everything; made if it is not there.
        force: write the configuration again, with other settings if any are given.
        **settings: those of ``Plan``; None stands for what is there, or for the default.

    Raises:
        ConfigError: if the folder holds something else, or a set-up with other settings and not ``force``.
    """
    layout = Layout(folder.absolute())
    if any(character.isspace() for character in str(layout.root)):
        raise ConfigError(
            f"Mosquitto reads no paths with spaces: {str(layout.root)!r}", remedy="Choose another"
        )
    plan = _plan(layout, force, settings)
    make_folder(layout.root, OPEN_FOLDER)
    with locked(layout.root):
        done = Written(plan, layout)
        for path, mode, owner in (
            (layout.authority, PRIVATE_FOLDER, None),
            (layout.roles, PRIVATE_FOLDER, None),
            (layout.root / "devices", PRIVATE_FOLDER, None),
            (layout.broker, PRIVATE_FOLDER, plan.user),
            (layout.broker / "data", PRIVATE_FOLDER, plan.user),
        ):
            make_folder(path, mode, owner)
        authority = _authority(done)
        _certificates(done, authority)
        _roles(done)
        _configuration(done, authority, force=force)
        _put(done, layout.plan, plan.to_json(), PUBLIC, renew=force)
    return done


def _plan(layout: Layout, force: bool, settings: dict[str, Any]) -> Plan:
    if not layout.plan.exists():
        if layout.root.exists() and (not layout.root.is_dir() or any(layout.root.iterdir())):
            raise ConfigError(
                f"{str(layout.root)!r} is there and is no set-up of a broker", remedy="Name a new folder"
            )
        return Plan.make(**settings)
    before = Plan.load(layout.root)
    after = before.changed(**settings)
    if after != before and not force:
        raise ConfigError(
            f"{str(layout.root)!r} was set up with other settings", remedy="Add --force to change them"
        )
    return after


def _authority(done: Written) -> Authority:
    layout = done.layout
    files = [layout.authority / "ca.key", layout.authority / "ca.crt"]
    if any(file.exists() for file in files):
        done.kept.extend(files)
        authority = Authority(layout.authority)
    else:
        authority = Authority.create(layout.authority, f"disc-stream authority of {done.plan.hosts[0]}"[:64])
        done.written.extend(files)
    _put(done, layout.ca, authority.pem, PUBLIC)
    _put(done, layout.broker / "ca.crt", authority.pem, PUBLIC)
    return authority


def _certificates(done: Written, authority: Authority) -> None:
    certificate, key = done.layout.broker / "broker.crt", done.layout.broker / "broker.key"
    if (
        certificate.exists()
        and key.exists()
        and needs_renewal(certificate.read_bytes(), done.plan.hosts) is None
    ):
        done.kept.extend([certificate, key])
        return
    pair = authority.issue_broker(done.plan.hosts)
    _put(done, key, pair.key, SECRET, renew=True)
    _put(done, certificate, pair.certificate, PUBLIC, renew=True)


def _roles(done: Written) -> None:
    layout, plan = done.layout, done.plan
    PasswordFile(layout.broker / mosquitto.DEVICE_PASSWORDS, plan.user).create()
    users = PasswordFile(layout.broker / mosquitto.SERVICE_PASSWORDS, plan.user)
    users.create()
    for role, user in ROLES.items():
        file = layout.role(role)
        address = plan.url(user, plan.service_port, ca=str(layout.ca))
        known = _token(file)
        if known is None or user not in users.users():
            known = known or new_token()
            users.set(user, known)
        text = f"DISC_STREAM_BROKER='{address}'\nDISC_STREAM_BROKER_PASSWORD={known}\n"
        _put(done, file, text, SECRET, renew=not file.exists() or file.read_text(encoding="utf-8") != text)


def _token(file: Path) -> str | None:
    """The password in a role's file."""
    if not file.exists():
        return None
    lines = file.read_text(encoding="utf-8").splitlines()
    name = "DISC_STREAM_BROKER_PASSWORD="
    return next((line[len(name) :] for line in lines if line.startswith(name)), None)


def _configuration(done: Written, authority: Authority, *, force: bool) -> None:
    folder, prefix = done.layout.broker, done.plan.prefix
    texts = {
        "mosquitto.conf": mosquitto.configuration(done.plan, done.layout),
        mosquitto.DEVICE_ACL: mosquitto.device_access(prefix, banned(done.layout, authority)),
        mosquitto.SERVICE_ACL: mosquitto.service_access(prefix),
    }
    for name, text in texts.items():
        _put(done, folder / name, text, SECRET, renew=force)
    write_revocations(done.layout, done.plan, authority, only_if_missing=True)


def banned(layout: Layout, authority: Authority) -> set[str]:
    """Devices that had a certificate and may not connect any more."""
    users = PasswordFile(layout.broker / mosquitto.DEVICE_PASSWORDS).users()
    ever = {one.device for one in authority.issued() if one.revoked is not None}
    return {device for device in ever if not authority.valid(device) and device not in users}


def write_revocations(
    layout: Layout, plan: Plan, authority: Authority, *, only_if_missing: bool = False
) -> None:
    """Tell the broker which certificates are revoked."""
    file = layout.broker / mosquitto.CRL
    before = file.read_bytes() if file.exists() else None
    if before is None or not only_if_missing:
        write(file, authority.revocations(before), SECRET, plan.user)


def _put(done: Written, path: Path, content: str | bytes, mode: int, *, renew: bool = False) -> None:
    if path.exists() and not renew:
        done.kept.append(path)
        return
    owner = done.plan.user if path.is_relative_to(done.layout.broker) else None
    write(path, content, mode, owner)
    done.written.append(path)
