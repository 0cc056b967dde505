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
SERVER, VIEWER, OPERATOR, GATEWAY = "_server", "_viewer", "_operator", "_gateway"
"""User names of the roles; none of them can be a device id, for those begin with a letter or digit."""
ROLES = {"server": SERVER, "viewer": VIEWER, "operator": OPERATOR}
RESERVED = "disc-stream"
"""What the server's client ids begin with, and no device id on a secured broker."""
PEOPLE = (VIEWER, OPERATOR)
"""Those of whoever sets the broker up; further people have ``_viewer-NAME`` or ``_operator-NAME``."""

MAX_CONNECTIONS = 10_000
# 2.0 reads this as a C int. Two thousand million bytes are a day of 30 devices, or an hour of 700.
QUEUE_BYTES = 2_000_000_000
_HOST = re.compile(
    r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
_SCOPE = re.compile(r"[A-Za-z0-9_.-]{1,32}")  # of a link-local address: the name of an interface
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?")
_PLUGIN_FOLDERS = ("/usr/lib", "/usr/local/lib")


@dataclass(frozen=True, slots=True)
class Plan:
    """Settings of a set-up.

    Args:
        hosts: names and addresses that clients use; the first one goes into URLs.
        port: devices with passwords.
        certificate_port: devices with certificates.
        service_port: the server.
        people_port: viewers and operators.
        prefix: of the topics.
        mosquitto: version of the broker.
        bind: address to listen on; None for all.
        user: that the broker runs as.
        queue_bytes: what the broker keeps at most for one client that is away or slow.
        max_connections: at one time to each port, so that those who flood one leave descriptors to the
            others.
        plugin_dir: folder of Mosquitto's own plugins (2.1).

    Raises:
        ConfigError: if a setting is not usable.
        TopicError: if the prefix is not.
    """

    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "::1")
    port: int = 8883
    certificate_port: int = 8884
    service_port: int = 8885
    people_port: int = 8886
    prefix: str = DEFAULT_PREFIX
    mosquitto: Version = "2.0"
    bind: str | None = "127.0.0.1"
    user: str = ""
    queue_bytes: int = QUEUE_BYTES
    max_connections: int = MAX_CONNECTIONS
    plugin_dir: str = _PLUGIN_FOLDERS[0]

    def __post_init__(self) -> None:
        Topics(self.prefix)
        for host in self.hosts:
            _check_host(host)
        if not self.hosts:
            raise ConfigError("the broker has no name and no address", remedy="Give it one with --host")
        if self.bind is not None:
            _check_bind(self.bind)
        if self.user and not _USER.fullmatch(self.user):
            raise ConfigError(
                f"{self.user!r} is not the name of a user", remedy="Give --user one that exists"
            )
        check_path(self.plugin_dir, "--plugin-dir")
        ports = self.ports
        if len(set(ports)) != len(ports) or not all(0 < port < 65_536 for port in ports):
            raise ConfigError(
                f"the ports {', '.join(map(str, ports))} are not four different ports from 1 to 65535",
                remedy="Choose others",
            )
        if self.mosquitto not in {"2.0", "2.1"}:
            raise ConfigError(f"Mosquitto {self.mosquitto!r} is not known", remedy="Use 2.0 or 2.1")
        if not 2**20 <= self.queue_bytes < 2**31:
            raise ConfigError(
                f"a queue of {self.queue_bytes} bytes is not possible", remedy="Use 1048576 to 2147483647"
            )
        if not 16 <= self.max_connections <= 1_000_000:
            raise ConfigError(
                f"{self.max_connections} connections are not possible", remedy="Use 16 to 1000000"
            )

    @property
    def ports(self) -> tuple[int, ...]:
        """All of them, in the order of their listeners."""
        return (self.port, self.certificate_port, self.service_port, self.people_port)

    @classmethod
    def make(cls, **given: Any) -> Plan:
        """A new plan from what somebody asked for; None stands for the default.

        With hosts of its own the broker listens on all addresses, without any on this machine alone. The
        other ports follow the first one.
        """
        wanted = {name: value for name, value in given.items() if value is not None}
        if "hosts" in wanted and "bind" not in wanted:
            wanted["bind"] = None
        if "port" in wanted:
            wanted.setdefault("certificate_port", wanted["port"] + 1)
            wanted.setdefault("service_port", wanted["port"] + 2)
            wanted.setdefault("people_port", wanted["port"] + 3)
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
        if "people_port" not in values:  # of a version that had three
            taken = {values["port"], values["certificate_port"], values["service_port"]}
            values["people_port"] = next(
                port for port in (*range(values["service_port"] + 1, 65_536), *range(1024, 65_536))
                if port not in taken
            )  # fmt: skip
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

    @property
    def is_older(self) -> bool:
        """Whether a version wrote it that had viewers, operators and the server on one port."""
        return self.plan.exists() and not (self.broker / "people.acl").exists()

    @property
    def labelling(self) -> Path:
        """Ids of the devices that label themselves, one a line."""
        return self.root / "labelling"

    def device(self, device: str) -> Path:
        """What a device needs."""
        return self.root / "devices" / device


def check_path(path: str, option: str) -> None:
    """Check that a path can stand in ``mosquitto.conf``, which has no quotes.

    Raises:
        ConfigError: if it cannot.
    """
    if not path.isprintable() or any(character.isspace() for character in path):
        raise ConfigError(
            f"Mosquitto reads no paths with spaces or control characters: {path!a}",
            remedy=f"Give {option} another",
        )
    if not path.startswith("/"):
        raise ConfigError(f"{path!r} is not an absolute path", remedy=f"Let {option} begin with /")


def _check_host(host: str) -> None:
    try:
        if "%" not in host:  # what stands behind it is not looked at, and no certificate holds it
            ipaddress.ip_address(host)
            return
    except ValueError:
        if len(host) <= 253 and _HOST.fullmatch(host):
            return
    raise ConfigError(f"{host!r} is neither a host name nor an address", remedy="Give --host the name alone")


def _check_bind(address: str) -> None:
    bare, scoped, scope = address.partition("%")
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        known = not scoped and len(address) <= 253 and _HOST.fullmatch(address) is not None
    else:
        known = not scoped or _SCOPE.fullmatch(scope) is not None
    if not known:
        raise ConfigError(
            f"{address!r} is not an address to listen on",
            remedy="Give --bind one of this machine's addresses",
        )


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
