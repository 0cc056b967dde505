"""What a set-up is made for, and where its files are."""

from __future__ import annotations

import getpass
import ipaddress
import json
import pwd
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from disc_stream.errors import ConfigError, InputNotFoundError
from disc_stream.wire.topics import DEFAULT_PREFIX, Topics

Version = Literal["2.0", "2.1"]
SERVER, VIEWER, OPERATOR = "_server", "_viewer", "_operator"
"""User names of the roles; none of them can be a device id, for those begin with a letter or digit."""
ROLES = {"server": SERVER, "viewer": VIEWER, "operator": OPERATOR}

# 2.0 reads this as a C int. Two thousand million bytes are a day of 30 devices, or an hour of 700.
QUEUE_BYTES = 2_000_000_000
_HOST = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_PLUGIN_FOLDERS = ("/usr/lib", "/usr/local/lib")


@dataclass(frozen=True, slots=True)
class Plan:
    """Settings of a set-up.

    Args:
        hosts: names and addresses that clients use; the first one goes into URLs.
        port: devices with passwords.
        certificate_port: devices with certificates.
        service_port: server, viewers, operators.
        prefix: of the topics.
        mosquitto: version of the broker.
        bind: address to listen on; None for all.
        user: that the broker runs as.
        queue_bytes: what the broker keeps at most for one client that is away or slow.
        plugin_dir: folder of Mosquitto's own plugins (2.1).

    Raises:
        ConfigError: if a setting is not usable.
        TopicError: if the prefix is not.
    """

    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")
    port: int = 8883
    certificate_port: int = 8884
    service_port: int = 8885
    prefix: str = DEFAULT_PREFIX
    mosquitto: Version = "2.0"
    bind: str | None = "127.0.0.1"
    user: str = ""
    queue_bytes: int = QUEUE_BYTES
    plugin_dir: str = _PLUGIN_FOLDERS[0]

    def __post_init__(self) -> None:
        Topics(self.prefix)
        for host in self.hosts:
            _check_host(host)
        ports = (self.port, self.certificate_port, self.service_port)
        if len(set(ports)) != len(ports) or not all(0 < port < 65_536 for port in ports):
            raise ConfigError(
                f"the ports {', '.join(map(str, ports))} are not three different ports",
                remedy="Choose others",
            )
        if self.mosquitto not in {"2.0", "2.1"}:
            raise ConfigError(f"Mosquitto {self.mosquitto!r} is not known", remedy="Use 2.0 or 2.1")
        if not 2**20 <= self.queue_bytes < 2**31:
            raise ConfigError(
                f"a queue of {self.queue_bytes} bytes is not possible", remedy="Use 1048576 to 2147483647"
            )

    @classmethod
    def make(cls, **given: Any) -> Plan:
        """A new plan from what somebody asked for; None stands for the default.

        With hosts of its own the broker listens on all addresses, without any on this machine alone. The
        two other ports follow the first one.
        """
        wanted = {name: value for name, value in given.items() if value is not None}
        if "hosts" in wanted and "bind" not in wanted:
            wanted["bind"] = None
        if "port" in wanted:
            wanted.setdefault("certificate_port", wanted["port"] + 1)
            wanted.setdefault("service_port", wanted["port"] + 2)
        wanted.setdefault("user", _default_user())
        wanted.setdefault("plugin_dir", _find_plugins())
        return cls(**wanted)

    def changed(self, **given: Any) -> Plan:
        """The same plan with other settings where they are given."""
        return replace(self, **{name: value for name, value in given.items() if value is not None})

    def to_json(self) -> str:
        """For ``setup.json``."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def load(cls, folder: Path) -> Plan:
        """The plan of a set-up that is there.

        Raises:
            InputNotFoundError: if there is none.
            ConfigError: if it cannot be read.
        """
        file = Layout(folder).plan
        if not file.exists():
            raise InputNotFoundError(
                f"{str(folder)!r} holds no set-up of a broker",
                remedy="Run: disc-stream broker config --out DIR",
            )
        try:
            return cls._from(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{str(file)!r} cannot be read", remedy="Restore it, or begin a new folder"
            ) from error

    @classmethod
    def _from(cls, stored: Mapping[str, Any]) -> Plan:
        known = {one.name for one in fields(cls)}
        values = {name: value for name, value in stored.items() if name in known}
        return cls(**{**values, "hosts": tuple(values["hosts"])})

    def url(self, user: str, port: int, **options: str) -> str:
        """A broker URL without a password."""
        host = f"[{self.hosts[0]}]" if ":" in self.hosts[0] else self.hosts[0]
        query = "&".join(f"{name}={quote(value, safe='/')}" for name, value in options.items())
        return f"mqtts://{quote(user, safe='')}@{host}:{port}?{query}"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the files of a set-up are.

    Args:
        root: its folder.
    """

    root: Path

    @property
    def plan(self) -> Path:
        """Settings; no secrets."""
        return self.root / "setup.json"

    @property
    def authority(self) -> Path:
        """The certificate authority; nobody but its owner gets in."""
        return self.root / "authority"

    @property
    def ca(self) -> Path:
        """The authority's certificate, for everybody."""
        return self.root / "ca.crt"

    @property
    def broker(self) -> Path:
        """What the broker reads, and what it keeps."""
        return self.root / "mosquitto"

    @property
    def pid(self) -> Path:
        """Process id of the broker that runs on this set-up."""
        return self.broker / "data" / "mosquitto.pid"

    @property
    def roles(self) -> Path:
        """Credentials of the roles."""
        return self.root / "roles"

    def role(self, name: str) -> Path:
        """Environment file of a role."""
        return self.roles / f"{name}.env"

    def device(self, device: str) -> Path:
        """What a device needs."""
        return self.root / "devices" / device


def _check_host(host: str) -> None:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if len(host) > 253 or not _HOST.fullmatch(host):
            raise ConfigError(
                f"{host!r} is neither a host name nor an address", remedy="Give --host the name alone"
            ) from None


def _default_user() -> str:
    """Mosquitto's own user where root sets it up, else whoever does."""
    user = getpass.getuser()
    if user != "root":
        return user
    try:
        pwd.getpwnam("mosquitto")
    except KeyError:
        return user
    return "mosquitto"


def _find_plugins() -> str:
    for folder in map(Path, _PLUGIN_FOLDERS):
        for found in folder.glob("**/mosquitto_password_file.so"):
            return str(found.parent)
    return _PLUGIN_FOLDERS[0]
