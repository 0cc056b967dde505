"""Writes a set-up, and completes one: what is there already, stays; secrets always do."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
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
    protect,
    protect_file,
    read,
    write,
)
from disc_stream_server.brokerconfig.passwords import PasswordFile, new_token
from disc_stream_server.brokerconfig.plan import PEOPLE, ROLES, SERVER, Layout, Plan, check_path
from disc_stream_server.brokerconfig.running import Told, new_check, tell


@dataclass(frozen=True, slots=True)
class Written:
    """What was done.

    Args:
        plan: settings of the set-up.
        layout: where its files are.
        written: files that are new, or new again.
        kept: files that were left as they are.
        upgraded: whether the set-up was one of an earlier version.
    """

    plan: Plan
    layout: Layout
    written: list[Path] = field(default_factory=list)
    kept: list[Path] = field(default_factory=list)
    upgraded: bool = False


def write_setup(folder: Path, *, force: bool = False, **settings: Any) -> Written:
    """Write a set-up, or complete the one that is there.

    Authority, passwords and devices are never replaced. The broker's certificate is made anew when its names
    change or it runs out soon. A role whose file was removed gets a new password. Owners and permissions are
    put right. The configuration of an earlier version is kept as ``mosquitto.conf.before``, and written
    again.

    Args:
        folder: for everything; made if it is not there.
        force: write the configuration again, with other settings if any are given.
        **settings: those of ``Plan``; None stands for what is there, or for the default.

    Raises:
        ConfigError: if the folder holds something else, or a set-up with other settings and not ``force``, or
            if the broker's user is not there.
    """
    layout = Layout(folder.resolve())  # the link to it is of whoever runs this
    check_path(str(layout.root), "--out")
    plan = _plan(layout, force, settings)
    _check_user(plan.user)
    make_folder(layout.root, OPEN_FOLDER)
    with locked(layout.root):
        done = Written(plan, layout, upgraded=layout.is_older)
        force = force or done.upgraded
        _folders(layout, plan)
        if done.upgraded and (before := read(layout.broker / "mosquitto.conf")) is not None:
            write(layout.broker / "mosquitto.conf.before", before, SECRET)
        authority = _authority(done)
        _certificates(done, authority)
        _roles(done)
        _configuration(done, authority, force=force)
        _put(done, layout.plan, plan.to_json(), PUBLIC, renew=force)
    return done


def load_setup(root: Path) -> tuple[Plan, Layout]:
    """A set-up that is there and has the present form.

    Raises:
        InputNotFoundError: if there is none.
        ConfigError: if it cannot be read, or is one of an earlier version.
    """
    plan, layout = Plan.load(root), Layout(root.resolve())
    if layout.is_older:
        raise ConfigError(
            f"an earlier version set {str(root)!r} up, with viewers on the server's port",
            remedy=f"Run: disc-stream broker config --out {root}, and restart the broker",
        )
    return plan, layout


def _check_user(user: str) -> None:
    if os.geteuid() != 0:
        return
    try:
        pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(
            f"there is no user {user!r} here that the broker could run as",
            remedy="Give --user one that exists",
        ) from None


def _folders(layout: Layout, plan: Plan) -> None:
    """Make them, and put owners and permissions right, also of what is in them already.

    The broker's user owns the folder of its data only: root starts what is in the one above.
    """
    for public in (layout.plan, layout.ca):
        if public.exists():
            protect_file(public, PUBLIC)
    for private in (layout.authority, layout.roles, layout.root / "devices"):
        make_folder(private, PRIVATE_FOLDER)
        protect(private, SECRET)
    make_folder(layout.broker, PRIVATE_FOLDER, reader=plan.user)
    protect(layout.broker, SECRET, plan.user)
    make_folder(layout.broker / "data", PRIVATE_FOLDER, owner=plan.user)
    for device in (layout.root / "devices").iterdir():
        make_folder(device, PRIVATE_FOLDER)
        protect(device, SECRET)


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
    services = PasswordFile(layout.broker / mosquitto.SERVICE_PASSWORDS, plan.user)
    people = PasswordFile(layout.broker / mosquitto.PEOPLE_PASSWORDS, plan.user)
    for users in (services, people):
        users.create()
    for user in PEOPLE:  # an earlier version let them connect where the server does
        services.remove(user)
    for role, user in ROLES.items():
        _role(done, services if user == SERVER else people, layout.role(role), user)
    for file in sorted(layout.roles.glob("*-*.env")):  # of people, with the present address
        _role(done, people, file, f"_{file.stem}")


def _role(done: Written, users: PasswordFile, file: Path, user: str) -> None:
    known = _token(file)
    if known is None or user not in users.users():
        known = known or new_token()
        users.set(user, known)
    text = role_text(done.plan, done.layout, user, known)
    _put(done, file, text, SECRET, renew=not file.exists() or file.read_text(encoding="utf-8") != text)


def role_text(plan: Plan, layout: Layout, user: str, token: str) -> str:
    """What a role's file holds, for the environment."""
    port = plan.service_port if user == SERVER else plan.people_port
    address = plan.url(user, port, ca=str(layout.ca))
    return f"DISC_STREAM_BROKER='{address}'\nDISC_STREAM_BROKER_PASSWORD={token}\n"


def _token(file: Path) -> str | None:
    """The password in a role's file."""
    if not file.exists():
        return None
    lines = file.read_text(encoding="utf-8").splitlines()
    name = "DISC_STREAM_BROKER_PASSWORD="
    return next((line[len(name) :] for line in lines if line.startswith(name)), None)


def _configuration(done: Written, authority: Authority, *, force: bool) -> None:
    folder, prefix = done.layout.broker, done.plan.prefix
    labelling = labelling_devices(done.layout)
    texts = {
        "mosquitto.conf": mosquitto.configuration(done.plan, done.layout),
        mosquitto.DEVICE_ACL: mosquitto.device_access(prefix, labelling),
        mosquitto.CERTIFICATE_ACL: mosquitto.certificate_access(
            prefix, authority.good(), labelling=labelling
        ),
        mosquitto.SERVICE_ACL: mosquitto.service_access(prefix),
        mosquitto.PEOPLE_ACL: _people_access(done.layout, done.plan),
    }
    for name, text in texts.items():
        _put(done, folder / name, text, SECRET, renew=force)
    write_revocations(done.layout, done.plan, authority, only_if_missing=True)


def labelling_devices(layout: Layout) -> set[str]:
    """Ids of the devices that label themselves."""
    return set((read(layout.labelling) or b"").decode("utf-8").split())


def write_labelling(layout: Layout, plan: Plan, device: str, *, labels: bool) -> bool:
    """Let a device write its own labels and embeddings, or not any more; whether that is a change."""
    before = labelling_devices(layout)
    after = before | {device} if labels else before - {device}
    if after == before:
        return False
    write(layout.labelling, "".join(f"{one}\n" for one in sorted(after)), SECRET)
    text = mosquitto.device_access(plan.prefix, after)
    write(layout.broker / mosquitto.DEVICE_ACL, text, SECRET, plan.user)
    return True


def _people_access(layout: Layout, plan: Plan) -> str:
    users = PasswordFile(layout.broker / mosquitto.PEOPLE_PASSWORDS).users()
    return mosquitto.people_access(plan.prefix, users)


def write_people_access(layout: Layout, plan: Plan) -> None:
    """Give each viewer and operator the rights of the role."""
    write(layout.broker / mosquitto.PEOPLE_ACL, _people_access(layout, plan), SECRET, plan.user)


def tell_about(done: Written) -> Told | None:
    """Let a broker that runs on the set-up know, if something was written."""
    if not done.written:
        return None
    return tell_broker(done.layout, done.plan, Authority(done.layout.authority))


def tell_broker(layout: Layout, plan: Plan, authority: Authority, stale: Sequence[str] = ()) -> Told:
    """Write which certificates are good, and let the broker that runs here read everything again.

    Args:
        layout: of the set-up.
        plan: of the set-up.
        authority: knows the certificates.
        stale: users of the broker whose certificates are not good any more, and whose connections are to end.
    """
    good, check = authority.good(), new_check()
    labelling = labelling_devices(layout)

    def write_access(check: str) -> None:
        text = mosquitto.certificate_access(plan.prefix, good, check, labelling)
        write(layout.broker / mosquitto.CERTIFICATE_ACL, text, SECRET, plan.user)

    write_access(check)
    told = tell(layout, plan, authority, check, stale)
    write_access("")
    return told


def write_revocations(
    layout: Layout, plan: Plan, authority: Authority, *, only_if_missing: bool = False
) -> None:
    """Tell the broker which certificates are revoked."""
    file = layout.broker / mosquitto.CRL
    before = read(file)
    if before is None or not only_if_missing:
        write(file, authority.revocations(before), SECRET, plan.user)


def _put(done: Written, path: Path, content: str | bytes, mode: int, *, renew: bool = False) -> None:
    if path.exists() and not renew:
        done.kept.append(path)
        return
    owner = done.plan.user if path.is_relative_to(done.layout.broker) else None
    write(path, content, mode, owner)
    done.written.append(path)
