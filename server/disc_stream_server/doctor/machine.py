"""The machine: disk, what runs the model, versions."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import shutil
import sqlite3
import ssl
import stat
import statistics
import tempfile
import time
from pathlib import Path

from disc_stream.artifacts.runtimes.choosing import candidates
from disc_stream.artifacts.runtimes.cpus import usable_cpus
from disc_stream.artifacts.runtimes.openvino_session import has_bf16
from disc_stream.errors import MissingExtraError, install_command
from disc_stream_server.doctor.findings import Finding, bad, good
from disc_stream_server.doctor.probe import milliseconds_since
from disc_stream_server.storage.lock import holder
from disc_stream_server.storage.private import readable_by_others

_GROUP = "machine"
_NAMED = 3
_SYNCS, _SYNC_BYTES = 32, 4096
_SLOW_MS = 30.0
_LITTLE, _TOO_LITTLE = 2 * 2**30, 256 * 2**20
_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "ceph", "glusterfs"}
_FORGETS = {"tmpfs", "ramfs"}
_LIBRARIES = ("paho-mqtt", "numpy", "onnxruntime", "onnxruntime-gpu", "openvino", "cbor2", "pydantic")


def check_disk(state: Path) -> list[Finding]:
    """Space, speed and kind of the disk that a server's state folder is, or will be, on."""
    folder = state.absolute()
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        return [bad(_GROUP, "state folder", f"{folder} is not a folder", "Name another with --state")]
    return [_folder(state, folder), _space(folder), _kind(folder), _speed(folder)]


def _folder(state: Path, folder: Path) -> Finding:
    if folder != state.absolute():
        return good(_GROUP, "state folder", f"{state} is not there yet")
    if folder.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IXOTH):
        return bad(
            _GROUP, "state folder", f"everybody on this machine gets into {folder}", f"chmod o= {folder}",
            serious=False,
        )  # fmt: skip
    if seen := readable_by_others(folder):
        names = ", ".join(path.name for path in seen[:_NAMED]) + (" and more" if len(seen) > _NAMED else "")
        return bad(
            _GROUP, "state folder", f"others on this machine may read {names} in {folder}",
            f"chmod -R go= {folder}", serious=False,
        )  # fmt: skip
    user = holder(folder)
    in_use = "not in use" if user is None else f"in use by process {user or '?'}"
    return good(_GROUP, "state folder", f"{folder}, {in_use}")


def _space(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    detail = f"{free / 2**30:,.1f} GiB free"
    if free < _LITTLE:
        return bad(_GROUP, "disk space", detail, "Make room, or lower keep_bytes", serious=free < _TOO_LITTLE)
    return good(_GROUP, "disk space", detail)


def _kind(folder: Path) -> Finding:
    kind = file_system(folder)
    if kind in _REMOTE:
        return bad(
            _GROUP, "file system", f"{kind}: databases break on network file systems", "Use a local disk"
        )
    if kind in _FORGETS:
        return bad(
            _GROUP, "file system", f"{kind}: what is acknowledged is gone when the machine stops",
            "Use a disk", serious=False,
        )  # fmt: skip
    return good(_GROUP, "file system", kind)


def file_system(folder: Path) -> str:
    """Kind of the file system that a folder is on, as the kernel names it; "?" if it does not tell."""
    path, best, kind = str(folder.resolve()), "", "?"
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines():
            _, mount, name, *_ = line.split(" ")
            mount = mount.replace("\\040", " ")
            inside = path == mount or path.startswith(mount.rstrip("/") + "/")
            if inside and len(mount) >= len(best):
                best, kind = mount, name
    return kind


def _speed(folder: Path) -> Finding:
    """How long it takes until data is on the disk: every group of messages waits for that."""
    taken = []
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            for _ in range(_SYNCS):
                begin = time.perf_counter()
                file.write(b"\0" * _SYNC_BYTES)
                os.fdatasync(file.fileno())
                taken.append(milliseconds_since(begin))
    except OSError as error:
        return bad(
            _GROUP,
            "disk speed",
            f"{folder} cannot be written: {error.strerror}",
            "Check its owner and rights",
        )
    middle, worst = statistics.median(taken), max(taken)
    detail = f"{middle:.1f} ms until data is on the disk (median of {_SYNCS}, slowest {worst:.1f} ms)"
    if middle > _SLOW_MS:
        return bad(_GROUP, "disk speed", detail, "Use a faster disk, or expect fewer messages", serious=False)
    return good(_GROUP, "disk speed", detail)


def check_runtime() -> Finding:
    """What would run a model here."""
    try:
        import onnxruntime
    except ImportError:
        return bad(
            _GROUP, "onnxruntime", "not installed: this machine cannot serve",
            f"{install_command('cpu,server')} if it should", serious=False,
        )  # fmt: skip
    names = [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
    return good(_GROUP, "onnxruntime", f"{onnxruntime.__version__} with {', '.join(names)}")


def check_providers() -> Finding:
    """What ``serve --provider`` can be here, and on how many processors."""
    try:
        names = [name for name in candidates() if name != "openvino-bf16" or has_bf16()]
    except MissingExtraError:
        return good(_GROUP, "providers", "none without onnxruntime")
    except Exception as error:  # noqa: BLE001 - a runtime that cannot even be loaded is what is looked for
        why = next(iter(str(error).splitlines()), type(error).__name__)
        what = f"OpenVINO cannot be loaded: {why}"
        return bad(_GROUP, "providers", what, "Install it again, or uninstall it")
    threads = usable_cpus()
    words = f"{', '.join(names)}, on {threads} processor{'s' if threads != 1 else ''}"
    how = "auto takes it" if len(names) == 1 else "auto measures each model once and remembers the answer"
    return good(_GROUP, "providers", f"{words}; {how}")


def check_versions() -> Finding:
    """What is installed."""
    told = [f"disc-stream {_version('disc-stream')}", f"Python {platform.python_version()}"]
    told += [f"{name} {version}" for name in _LIBRARIES if (version := _version(name))]
    told += [
        f"SQLite {sqlite3.sqlite_version}",
        ssl.OPENSSL_VERSION.split(" ", 2)[0] + " " + ssl.OPENSSL_VERSION.split(" ")[1],
    ]
    return good(_GROUP, "versions", ", ".join(told))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
