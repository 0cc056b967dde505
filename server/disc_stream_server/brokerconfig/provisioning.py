"""What a device needs to connect, in one file: a C header, a Python module, or the text of a QR code."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from disc_stream.errors import ConfigError
from disc_stream_server.brokerconfig.devices import Added
from disc_stream_server.brokerconfig.files import SECRET, write
from disc_stream_server.brokerconfig.plan import Plan

_NOTE = "written by `disc-stream broker add-device`. Secret: keep it out of repositories."
_KINDS = {".h": "a C header", ".py": "a Python module"}


@dataclass(frozen=True, slots=True, repr=False)
class Provision:
    """All that a device needs; holds secrets, so it does not show itself in logs.

    Args:
        device: its id, which is also its user name.
        host: the broker.
        port: for devices of its kind.
        prefix: of the topics.
        ca: certificate of the authority, PEM.
        password: or None.
        certificate: of the device, PEM, or None.
        key: of the certificate, PEM, or None.
    """

    device: str
    host: str
    port: int
    prefix: str
    ca: str
    password: str | None = None
    certificate: str | None = None
    key: str | None = None

    def header(self) -> str:
        """A C header, for C, ESP-IDF, Zephyr and Arduino."""
        lines = [
            f"/* {self.device}: {_NOTE} */",
            "#ifndef DS_DEVICE_H",
            "#define DS_DEVICE_H",
            "",
        ]
        for name, value in self._facts().items():
            lines.append(f"#define DS_{name.upper()} {value if isinstance(value, int) else _c_text(value)}")
        for what in ("raw", "meta", "status"):
            topic = f"{self.prefix}/{self.device}/{what}"
            lines.append(f"#define DS_TOPIC_{what.upper()} {_c_text(topic)}")
        return "\n".join([*lines, "", "#endif", ""])

    def module(self) -> str:
        """A Python module, for MicroPython."""
        lines = [f"# {self.device}: {_NOTE}"]
        for name, value in self._facts().items():
            lines.append(f"{name.upper()} = {_python_text(value)}")
        return "\n".join([*lines, ""])

    def code(self) -> str:
        """The text of a QR code: one JSON object; certificates in base64 of their DER form."""
        facts = {
            name: _der(value) if isinstance(value, str) and value.startswith("-----BEGIN") else value
            for name, value in self._facts().items()
        }
        return json.dumps({"schema": "disc-stream.provision/1", **facts}, separators=(",", ":"))

    def _facts(self) -> dict[str, str | int]:
        optional = {
            "user": self.device if self.password else None, "password": self.password, "ca": self.ca,
            "certificate": self.certificate, "key": self.key,
        }  # fmt: skip
        facts: dict[str, str | int] = {
            "device": self.device, "host": self.host, "port": self.port, "prefix": self.prefix,
        }  # fmt: skip
        return {**facts, **{name: value for name, value in optional.items() if value}}


def provision(root: Path, added: Added) -> Provision:
    """What a device that was just let in needs.

    Args:
        root: folder of the set-up.
        added: the device.
    """
    plan, folder = Plan.load(root), added.folder

    def text(name: str) -> str:
        return (folder / name).read_text(encoding="utf-8").strip()

    common = {"device": added.device, "host": plan.hosts[0], "prefix": plan.prefix, "ca": text("ca.crt")}
    if added.by == "password":
        return Provision(**common, port=plan.port, password=text("password"))
    files = {"certificate": text("device.crt"), "key": text("device.key")}
    return Provision(**common, port=plan.certificate_port, **files)


def check_header(path: Path) -> None:
    """Check that a file to be written has a kind, before the device is let in.

    Raises:
        ConfigError: if not.
    """
    if path.suffix not in _KINDS:
        kinds = " or ".join(f"{suffix} for {what}" for suffix, what in _KINDS.items())
        raise ConfigError(f"{str(path)!r} is no header: its name must end in {kinds}", remedy="Rename it")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"the folder of {str(path)!r} does not exist", remedy="Make it first")


def write_header(path: Path, made: Provision) -> None:
    """Write the header or module, readable by its owner alone."""
    write(path, made.header() if path.suffix == ".h" else made.module(), SECRET)


def _c_text(value: str) -> str:
    """A C string; one line of the text on each line."""
    parts = [part.replace("\\", "\\\\").replace('"', '\\"') for part in value.split("\n")]
    if len(parts) == 1:
        return f'"{parts[0]}"'
    return "\\\n" + " \\\n".join(f'    "{part}\\n"' for part in parts)


def _python_text(value: str | int) -> str:
    if isinstance(value, int) or "\n" not in value:
        return repr(value)
    return f'"""\\\n{value}\n"""'


def _der(pem: str) -> str:
    body = "".join(line for line in pem.splitlines() if not line.startswith("-----"))
    return base64.b64encode(base64.b64decode(body)).decode()
