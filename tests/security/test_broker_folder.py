"""The folder of a set-up: the broker's user becomes nobody else by it, and nobody else reads its secrets."""

from __future__ import annotations

import os
import pwd
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from disc_stream.errors import ConfigError
from disc_stream_server.brokerconfig import files
from disc_stream_server.brokerconfig.authority import Authority
from disc_stream_server.brokerconfig.devices import add_device, remove_device
from disc_stream_server.brokerconfig.people import add_person
from disc_stream_server.brokerconfig.plan import Layout
from disc_stream_server.brokerconfig.running import reload_broker
from disc_stream_server.brokerconfig.setup import write_setup
from disc_stream_server.doctor.probe import Probe
from tests.support.secure_broker import SecureMosquitto

USER = "nobody"  # stands for the broker's user; every system has it
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root hands files to another user")


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that every user can reach; pytest's own are closed to all others."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def folder(reachable: Path) -> Path:
    """A set-up for another user."""
    root = reachable / "b"
    write_setup(root, user=USER)
    add_device(root, "w1")
    add_device(root, "w2", certificate=True)
    add_person(root, "viewer", "anna")
    return root


def as_user(attack: Callable[[], object]) -> str:
    """What comes of something that the broker's user does: the error, or "done"."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            user = pwd.getpwnam(USER)
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
            attack()
            told = "done"
        except OSError as error:
            told = type(error).__name__
        os.write(writing, told.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        told = stream.read()
    os.waitpid(child, 0)
    return told


# -- the broker's user ------------------------------------------------------------------------------------


@needs_root
def test_the_brokers_user_changes_nothing_that_root_starts(folder: Path) -> None:
    broker = folder / "mosquitto"
    for file in sorted(broker.iterdir()):
        if file.is_file():
            assert as_user(lambda file=file: file.open("ab")) == "PermissionError", file  # type: ignore[misc]
            assert as_user(lambda file=file: file.unlink()) == "PermissionError", file  # type: ignore[misc]
    assert as_user((broker / "new").touch) == "PermissionError"
    assert as_user(lambda: broker.rename(folder / "mine")) == "PermissionError"
    assert as_user(lambda: (broker / "data").rename(broker / "other")) == "PermissionError"
    assert as_user(lambda: broker.chmod(0o777)) == "PermissionError"
    for secret in (folder / "authority" / "ca.key", folder / "roles" / "server.env"):
        assert as_user(secret.read_bytes) == "PermissionError", secret


@needs_root
def test_the_brokers_user_reads_its_configuration_and_writes_its_data(folder: Path) -> None:
    broker = folder / "mosquitto"
    for file in sorted(broker.iterdir()):
        if file.is_file():
            assert as_user(file.read_bytes) == "done", file
    assert as_user((broker / "data" / "mosquitto.db").touch) == "done"


@needs_root
def test_a_folder_of_an_earlier_version_is_taken_from_the_brokers_user(folder: Path) -> None:
    """It owned everything, and may have kept what it needs to get it back."""
    user, broker = pwd.getpwnam(USER), folder / "mosquitto"
    for path in (broker, *broker.iterdir()):
        os.chown(path, user.pw_uid, user.pw_gid)
    (broker / "broker.key").chmod(0o666)
    with (broker / "devices.passwords").open("ab") as kept_open:
        write_setup(folder)
        kept_open.write(b"intruder:$7$101$AAAA$AAAA\n")
    assert b"intruder" not in (broker / "devices.passwords").read_bytes()
    test_the_brokers_user_changes_nothing_that_root_starts(folder)
    test_the_brokers_user_reads_its_configuration_and_writes_its_data(folder)


@needs_root
@pytest.mark.parametrize("kind", ["symbolic", "hard"])
def test_a_link_that_the_brokers_user_has_left_is_not_followed(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    """Owner and permissions of what it leads to stay as they are."""
    victim = tmp_path / "shadow"
    victim.write_text("root's own")
    victim.chmod(0o600)
    key = folder / "mosquitto" / "broker.key"
    key.unlink()
    key.symlink_to(victim) if kind == "symbolic" else key.hardlink_to(victim)
    if kind == "symbolic":
        with pytest.raises(ConfigError, match=r"broker\.key"):
            write_setup(folder)
    else:
        write_setup(folder)
    facts = victim.stat()
    assert (facts.st_uid, stat.S_IMODE(facts.st_mode), victim.read_text()) == (0, 0o600, "root's own")


@needs_root
def test_a_file_that_is_swapped_while_it_is_written_gives_nothing_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever owns the folder puts a link in the place of the new file, before it gets its owner."""
    victim = tmp_path / "shadow"
    victim.write_text("root's own")
    victim.chmod(0o600)
    target = tmp_path / "owned"
    target.mkdir()
    swaps = 0

    def swap(_descriptor: int) -> None:
        nonlocal swaps
        for new in target.iterdir():
            new.unlink()
            new.symlink_to(victim)
            swaps += 1

    monkeypatch.setattr(os, "fsync", swap)
    files.write(target / "devices.passwords", "x", files.SECRET, USER)
    assert swaps
    facts = victim.stat()
    assert (facts.st_uid, stat.S_IMODE(facts.st_mode), victim.read_text()) == (0, 0o600, "root's own")


@needs_root
def test_a_folder_that_became_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "etc"
    elsewhere.mkdir(mode=0o755)
    data = folder / "mosquitto" / "data"
    data.rmdir()
    data.symlink_to(elsewhere)
    with pytest.raises(ConfigError, match=r"data'.* is not a file"):
        write_setup(folder)
    assert elsewhere.stat().st_uid == 0
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o755


@needs_root
def test_the_brokers_user_does_not_choose_whom_root_signals(folder: Path, tmp_path: Path) -> None:
    """It writes the file with the process id."""
    program = tmp_path / "mosquitto"
    program.symlink_to(sys.executable)
    script = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL); print('up', flush=True); input()"
    with subprocess.Popen(
        [program, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as of_root:
        assert of_root.stdout is not None
        assert of_root.stdout.readline() == "up\n"
        Layout(folder).pid.write_text(str(of_root.pid))
        assert reload_broker(Layout(folder)) is None
        out, _ = of_root.communicate("\n", timeout=60)
        assert of_root.returncode == 0, f"SIGHUP ends it: {-of_root.returncode} {out}"


@pytest.mark.parametrize("kind", ["fifo", "link", "endless"])
def test_a_pid_file_that_is_none_holds_nobody_up(tmp_path: Path, kind: str) -> None:
    layout = write_setup(tmp_path / "b").layout
    if kind == "fifo":
        os.mkfifo(layout.pid)
    elif kind == "link":
        layout.pid.symlink_to("/dev/zero")
    else:
        layout.pid.write_bytes(b"1" * 2**20)
    told: list[int | None] = []
    thread = threading.Thread(target=lambda: told.append(reload_broker(layout)), daemon=True)
    thread.start()
    thread.join(60)
    assert told == [None]


@needs_root
@pytest.mark.broker
def test_a_mosquitto_that_root_starts_runs_on_it(reachable: Path) -> None:
    """It drops its rights, and reads again what commands change."""
    broker = SecureMosquitto(reachable / "set-up", user=USER)
    broker.start()
    try:
        added = broker.added("late", certificate=True)
        assert added.told.pid == broker.pid
        assert added.told.confirmed
        with Probe(broker.add("later"), "any") as device:
            assert device.connect().accepted
        with broker.reloading():
            remove_device(broker.folder, "later")
        os.kill(broker.pid, signal.SIGUSR1)  # save now
        broker.stop()
        assert (broker.layout.broker / "data" / "mosquitto.db").stat().st_uid == pwd.getpwnam(USER).pw_uid
    finally:
        broker.discard()


# -- others on the machine --------------------------------------------------------------------------------


SECRETS = ("authority", "roles", "devices", "devices/w1", "mosquitto/data")


def modes(root: Path) -> dict[str, str]:
    paths = [root, *root.rglob("*")]
    return {str(path.relative_to(root)): oct(stat.S_IMODE(path.lstat().st_mode)) for path in paths}


def test_folders_that_are_there_already_are_closed(tmp_path: Path) -> None:
    root = tmp_path / "b"
    done = write_setup(root)
    add_device(root, "w1")
    add_device(root, "w2", certificate=True)
    tight = modes(root)
    for path in [root, *root.rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o666)
    write_setup(root)
    assert modes(root) == tight
    assert Authority(done.layout.authority).valid("w2")
    assert all(tight[name] == "0o700" for name in SECRETS)
    assert tight["."] == "0o755", "ca.crt is for everybody"


def test_a_set_up_may_be_reached_by_a_link(tmp_path: Path) -> None:
    """What leads to it is of whoever runs the command; what is in it is checked."""
    (tmp_path / "b").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "b")
    write_setup(tmp_path / "link")
    add_device(tmp_path / "link", "w1")
    assert (tmp_path / "b" / "devices" / "w1" / "password").exists()


def test_a_folder_that_was_there_empty_is_closed_to_others(tmp_path: Path) -> None:
    root = tmp_path / "b"
    root.mkdir()
    root.chmod(0o777)
    write_setup(root)
    assert stat.S_IMODE(root.stat().st_mode) == 0o755


@needs_root
def test_a_folder_of_somebody_else_is_taken_over(tmp_path: Path) -> None:
    root = tmp_path / "b"
    root.mkdir()
    os.chown(root, pwd.getpwnam(USER).pw_uid, -1)
    write_setup(root, user=USER)
    assert root.stat().st_uid == 0, "whoever owns it puts another configuration in its place"


# -- text that lands in the configuration -----------------------------------------------------------------


INJECTED = "\nallow_anonymous true"


@pytest.mark.parametrize(
    "settings",
    [
        {"bind": f"127.0.0.1{INJECTED}"}, {"bind": "127.0.0.1 # x"}, {"bind": "a b"}, {"bind": ""},
        {"bind": f"fe80::1%eth0{INJECTED}"}, {"bind": "::1%a b"}, {"bind": "name%eth0"}, {"bind": "\x07"},
        {"user": f"root{INJECTED}"}, {"user": "a b"}, {"user": "-x"}, {"user": "x\x1b[2J"},
        {"user": "no-such-user-here"},
        {"plugin_dir": f"/usr/lib{INJECTED}"}, {"plugin_dir": "/usr/lib dir"}, {"plugin_dir": "/a\x1b[2J"},
        {"plugin_dir": ""}, {"plugin_dir": "lib"}, {"plugin_dir": " /x"}, {"plugin_dir": "/\udcff"},
        {"hosts": (f"::1%{INJECTED}",)}, {"hosts": ("::1%'; touch x; '",)}, {"hosts": ("x\n",)},
        {"hosts": ()}, {"hosts": ("-x",)}, {"max_connections": 0}, {"people_port": 8885},
        {"people_port": 65_536},
    ],
)  # fmt: skip
def test_settings_that_would_be_something_else(settings: dict[str, Any], tmp_path: Path) -> None:
    if settings.get("user") == "no-such-user-here" and os.geteuid() != 0:
        pytest.skip("only root needs the user to be there")
    with pytest.raises(ConfigError) as caught:
        write_setup(tmp_path / "b", **settings)
    assert str(caught.value).isprintable()
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("name", ["a b", "a\nb", "a\x1bb", "a\u2028b", "\udcff"])
def test_a_folder_that_mosquitto_cannot_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="spaces or control"):
        write_setup(tmp_path / name)


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "10.0.0.7", "fe80::1%eth0", "broker.example.org"])  # noqa: S104
def test_addresses_to_listen_on(bind: str, tmp_path: Path) -> None:
    layout = write_setup(tmp_path / "b", bind=bind).layout
    text = (layout.broker / "mosquitto.conf").read_text()
    assert text.count(f" {bind}\n") == 4


def test_every_port_has_a_limit_of_connections(tmp_path: Path) -> None:
    layout = write_setup(tmp_path / "b", max_connections=500).layout
    text = (layout.broker / "mosquitto.conf").read_text()
    assert text.count("\nmax_connections 500\n") == text.count("\nlistener ") == 4
