"""Lets devices in, and shuts them out again."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from disc_stream.errors import ConfigError
from disc_stream.wire.topics import DOCTOR, check_device
from disc_stream_server.brokerconfig import mosquitto
from disc_stream_server.brokerconfig.authority import Authority, Issued
from disc_stream_server.brokerconfig.files import PRIVATE_FOLDER, PUBLIC, SECRET, locked, make_folder, write
from disc_stream_server.brokerconfig.passwords import PasswordFile, new_token
from disc_stream_server.brokerconfig.plan import RESERVED, Layout, Plan
from disc_stream_server.brokerconfig.running import Told
from disc_stream_server.brokerconfig.setup import (
    labelling_devices,
    load_setup,
    tell_broker,
    write_labelling,
    write_revocations,
)

_RESERVED = {RESERVED: "the server's client ids do", DOCTOR: "`disc-stream doctor` tries with such"}


@dataclass(frozen=True, slots=True)
class Added:
    """A device that may connect now.

    Args:
        device: its id.
        url: broker URL for this machine; the password is not in it.
        folder: everything that the device needs, to be copied to it.
        by: ``password`` or ``certificate``.
        told: what the broker that runs here was told.
        labels: whether it may write its own labels and embeddings.
    """

    device: str
    url: str
    folder: Path
    by: str
    told: Told
    labels: bool = False

    @property
    def reloaded(self) -> int | None:
        """Process id of the broker that was told, None if none runs here."""
        return self.told.pid


@dataclass(frozen=True, slots=True)
class Removed:
    """A device that may not connect any more.

    Args:
        device: its id.
        passwords: how many passwords it had.
        certificates: how many of its certificates were revoked.
        told: what the broker that runs here was told.
    """

    device: str
    passwords: int
    certificates: int
    told: Told

    @property
    def reloaded(self) -> int | None:
        """Process id of the broker that was told, None if none runs here."""
        return self.told.pid


def add_device(
    root: Path,
    device: str,
    *,
    certificate: bool | None = None,
    renew: bool = False,
    labels: bool | None = None,
) -> Added:
    """Make a credential for a device and let the broker know.

    Args:
        root: folder of the set-up.
        device: its id, as in its topics.
        certificate: make a client certificate (True) or a password (False); None for the kind of credential
            that it has, which is a password for a new device.
        renew: replace the credential that it has.
        labels: whether it labels itself (``edge label``) and so may write its own ``label`` and
            ``embedding``; None for what it may already.

    Raises:
        InputNotFoundError: if there is no set-up.
        ConfigError: if the device has a credential already, or cannot have this one.
        TopicError: if the id is not valid.
    """
    _check(device)
    plan, layout = load_setup(root)
    with locked(layout.root):
        authority = Authority(layout.authority)
        users = PasswordFile(layout.broker / mosquitto.DEVICE_PASSWORDS, plan.user)
        certified = bool(authority.valid(device))
        if not renew and (device in users.users() or certified):
            raise ConfigError(
                f"{device!r} has a credential already", remedy="Replace it with --renew, or choose another id"
            )
        by_certificate = certified if certificate is None else certificate
        _check_kind(device, by_certificate)
        revoked = authority.revoke(device)
        _clear(layout.device(device))
        make_folder(layout.device(device), PRIVATE_FOLDER)
        write(layout.device(device) / "ca.crt", authority.pem, PUBLIC)
        if by_certificate:
            users.remove(device)
            url = _with_certificate(plan, layout, authority, device)
        else:
            url = _with_password(plan, layout, users, device)
        if revoked:
            write_revocations(layout, plan, authority)
        if labels is not None:
            write_labelling(layout, plan, device, labels=labels)
        by = "certificate" if by_certificate else "password"
        told = tell_broker(layout, plan, authority, _users(revoked))
        labels = device in labelling_devices(layout)
        return Added(device, url, layout.device(device), by, told, labels)


def let_label(root: Path, device: str, *, labels: bool) -> Told:
    """Let a device that has a credential write its own labels and embeddings, or not any more.

    Raises:
        InputNotFoundError: if there is no set-up.
        ConfigError: if the device has no credential.
        TopicError: if the id is not valid.
    """
    check_device(device)
    plan, layout = load_setup(root)
    with locked(layout.root):
        authority = Authority(layout.authority)
        users = PasswordFile(layout.broker / mosquitto.DEVICE_PASSWORDS, plan.user)
        if device not in users.users() and not authority.valid(device):
            raise ConfigError(f"{device!r} has no credential here", remedy="Check the id")
        write_labelling(layout, plan, device, labels=labels)
        return tell_broker(layout, plan, authority)


def remove_device(root: Path, device: str) -> Removed:
    """Take a device's credentials away and let the broker know, which cuts it off at once.

    Raises:
        InputNotFoundError: if there is no set-up.
        ConfigError: if the device has no credential.
        TopicError: if the id is not valid.
    """
    check_device(device)
    plan, layout = load_setup(root)
    with locked(layout.root):
        authority = Authority(layout.authority)
        users = PasswordFile(layout.broker / mosquitto.DEVICE_PASSWORDS, plan.user)
        passwords = int(users.remove(device))
        revoked = authority.revoke(device)
        if not passwords and not revoked:
            raise ConfigError(f"{device!r} has no credential here", remedy="Check the id")
        if revoked:
            write_revocations(layout, plan, authority)
        write_labelling(layout, plan, device, labels=False)
        _clear(layout.device(device))
        told = tell_broker(layout, plan, authority, _users(revoked))
        return Removed(device, passwords, len(revoked), told)


def device_url(root: Path, device: str) -> str:
    """The broker URL of a device that was let in, with the files in its folder here.

    Raises:
        InputNotFoundError: if there is no set-up.
        ConfigError: if the device has no credential here.
        TopicError: if the id is not valid.
    """
    check_device(device)
    plan, layout = load_setup(root)
    folder = layout.device(device)
    files = {"ca": folder / "ca.crt"}
    if (folder / "password").exists():
        files["password-file"], port = folder / "password", plan.port
    elif (folder / "device.key").exists():
        files |= {"cert": folder / "device.crt", "key": folder / "device.key"}
        port = plan.certificate_port
    else:
        raise ConfigError(
            f"{device!r} has no credential in {str(root)!r}",
            remedy=f"Run: disc-stream broker add-device {device} --config {root}",
        )
    return plan.url(device, port, **{name: str(file) for name, file in files.items()})


def _check(device: str) -> None:
    check_device(device)
    for reserved, why in _RESERVED.items():
        if device.lower().startswith(reserved):
            raise ConfigError(
                f"device ids that begin with {reserved!r} are reserved: {why}", remedy="Choose another id"
            )


def _check_kind(device: str, by_certificate: bool) -> None:
    if ":" in device and not by_certificate:
        raise ConfigError(
            f"Mosquitto's password files cannot hold {device!r}, because of the ':'",
            remedy="Add --certificate, or choose another id",
        )


def _with_password(plan: Plan, layout: Layout, users: PasswordFile, device: str) -> str:
    token, folder = new_token(), layout.device(device)
    write(folder / "password", token + "\n", SECRET)
    users.set(device, token)
    _write_environment(plan, folder, device, plan.port, {"ca": "ca.crt", "password-file": "password"})
    return plan.url(
        device, plan.port, **{"ca": str(folder / "ca.crt"), "password-file": str(folder / "password")}
    )


def _with_certificate(plan: Plan, layout: Layout, authority: Authority, device: str) -> str:
    pair, folder = authority.issue_device(device), layout.device(device)
    names = {"ca": "ca.crt", "cert": "device.crt", "key": "device.key"}
    write(folder / names["key"], pair.key, SECRET)
    write(folder / names["cert"], pair.certificate, PUBLIC)
    _write_environment(plan, folder, device, plan.certificate_port, names)
    absolute = {option: str(folder / name) for option, name in names.items()}
    return plan.url(device, plan.certificate_port, **absolute)


def _write_environment(plan: Plan, folder: Path, device: str, port: int, files: dict[str, str]) -> None:
    """Relative paths: the folder goes to the device as it is."""
    text = (
        f"# In this folder: set -a; . ./device.env\nDISC_STREAM_BROKER='{plan.url(device, port, **files)}'\n"
    )
    write(folder / "device.env", text, SECRET)


def _users(certificates: list[Issued]) -> list[str]:
    return [one.user for one in certificates]


def _clear(folder: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(folder)
