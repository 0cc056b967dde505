"""The set-up that `broker config` writes, without running it."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from disc_stream.errors import ConfigError, InputNotFoundError, TopicError
from disc_stream_server.brokerconfig.authority import Authority
from disc_stream_server.brokerconfig.devices import add_device, remove_device
from disc_stream_server.brokerconfig.files import locked
from disc_stream_server.brokerconfig.passwords import PasswordFile, hash_password
from disc_stream_server.brokerconfig.plan import Layout, Plan
from disc_stream_server.brokerconfig.running import reload_broker
from disc_stream_server.brokerconfig.setup import write_setup


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_setup(tmp_path / "b", hosts=("broker.example", "10.0.0.7"))
    return tmp_path / "b"


# -- passwords ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("password", ["secret", "ünïcödé", "with spaces: and $igns", "x" * 200])
def test_our_hash_is_mosquittos(password: str, tmp_path: Path) -> None:
    """Mosquitto's own tool makes one; with its salt, ours is the same."""
    file = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-c", "-b", file, "me", password], check=True, capture_output=True)
    import base64

    theirs = PasswordFile(file).users()["me"]
    _, kind, iterations, salt, _ = theirs.split("$")
    assert kind == "7"
    assert hash_password(password, base64.b64decode(salt), int(iterations)) == theirs


def test_mosquittos_tool_reads_our_file(tmp_path: Path) -> None:
    file = PasswordFile(tmp_path / "passwords")
    file.set("a", "one")
    file.set("b", "two")
    subprocess.run(["mosquitto_passwd", "-D", tmp_path / "passwords", "a"], check=True, capture_output=True)
    assert list(file.users()) == ["b"]


def test_a_hash_is_never_the_same_twice() -> None:
    assert hash_password("x") != hash_password("x")


# -- the set-up -----------------------------------------------------------------------------------------


def test_secrets_are_for_their_owner_alone(folder: Path) -> None:
    add_device(folder, "w1")
    add_device(folder, "w2", certificate=True)
    public = {"setup.json", "ca.crt", "mosquitto/ca.crt", "mosquitto/broker.crt", "authority/ca.crt"}
    for name in contents(folder):
        mode = stat.S_IMODE((folder / name).stat().st_mode)
        # Set up by root, the broker's user reads its files through the group, and can change none of them.
        group = 0o040 if os.geteuid() == 0 and name.startswith("mosquitto/") else 0
        allowed = 0o644 if name in public or name.endswith((".crt",)) else 0o600 | group
        assert mode == allowed, name
    for closed in ("authority", "roles", "devices", "devices/w1", "mosquitto", "mosquitto/data"):
        allowed = 0o750 if os.geteuid() == 0 and closed == "mosquitto" else 0o700
        assert stat.S_IMODE((folder / closed).stat().st_mode) == allowed, closed


def test_running_it_again_changes_nothing(folder: Path) -> None:
    add_device(folder, "w1")
    before = contents(folder)
    done = write_setup(folder)
    assert contents(folder) == before
    assert done.written == []


def test_force_renews_the_configuration_and_no_secret(folder: Path) -> None:
    add_device(folder, "w1")
    before = contents(folder)
    (folder / "mosquitto" / "mosquitto.conf").write_text("spoilt")
    (folder / "mosquitto" / "devices.acl").write_text("spoilt")
    write_setup(folder, force=True)
    assert contents(folder) == before


def test_other_settings_need_force(folder: Path) -> None:
    before = contents(folder)
    with pytest.raises(ConfigError, match="--force"):
        write_setup(folder, port=9000)
    assert contents(folder) == before
    write_setup(folder, force=True, port=9000, hosts=("new.example",))
    after = contents(folder)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {
        "setup.json", "mosquitto/mosquitto.conf", "mosquitto/broker.crt", "mosquitto/broker.key",
        "roles/server.env", "roles/viewer.env", "roles/operator.env",
    }  # fmt: skip
    assert b"listener 9000\n" in after["mosquitto/mosquitto.conf"]
    assert token(before["roles/server.env"]) == token(after["roles/server.env"])


def token(environment: bytes) -> str:
    return environment.decode().split("PASSWORD=")[1].strip()


def test_a_role_whose_file_is_removed_gets_a_new_password(folder: Path) -> None:
    before = contents(folder)
    (folder / "roles" / "viewer.env").unlink()
    write_setup(folder)
    after = contents(folder)
    assert token(before["roles/viewer.env"]) != token(after["roles/viewer.env"])
    assert before["mosquitto/services.passwords"] == after["mosquitto/services.passwords"]
    old, new = (c["mosquitto/people.passwords"].decode().splitlines() for c in (before, after))
    assert [line for line in old if "_viewer" not in line] == [line for line in new if "_viewer" not in line]
    assert set(old) != set(new)


def test_the_brokers_certificate_is_renewed_before_it_runs_out(folder: Path) -> None:
    pair = Authority(folder / "authority").issue_broker(["broker.example", "10.0.0.7"], days=20)
    (folder / "mosquitto" / "broker.crt").write_bytes(pair.certificate)
    done = write_setup(folder)
    assert {path.name for path in done.written} == {"broker.crt", "broker.key"}


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ConfigError, match="is no set-up"):
        write_setup(tmp_path)
    assert list(contents(tmp_path)) == ["letter.txt"]


def test_only_one_command_changes_a_set_up_at_a_time(folder: Path) -> None:
    with locked(folder), pytest.raises(ConfigError, match="another command"):
        add_device(folder, "w1")
    add_device(folder, "w1")


@pytest.mark.parametrize(
    "settings",
    [
        {"hosts": ("a b",)}, {"hosts": ("",)}, {"hosts": ("host\nallow_anonymous true",)}, {"port": 0},
        {"port": 65_535}, {"service_port": 8883}, {"queue_bytes": 2**31}, {"mosquitto": "1.6"},
    ],
)  # fmt: skip
def test_settings_that_cannot_be(settings: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        write_setup(tmp_path / "b", **settings)
    assert not (tmp_path / "b").exists()


def test_a_prefix_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(TopicError):
        write_setup(tmp_path / "b", prefix="a/#")


def test_without_hosts_it_stays_on_this_machine() -> None:
    assert Plan.make().bind == "127.0.0.1"
    assert Plan.make(hosts=("broker.example",)).bind is None
    assert Plan.make(hosts=("broker.example",), bind="10.0.0.7").bind == "10.0.0.7"


def test_the_two_forms_say_the_same(tmp_path: Path) -> None:
    """2.1 reads the same files through plugins and uses no option that it has deprecated."""
    old = write_setup(tmp_path / "old", mosquitto="2.0").layout.broker / "mosquitto.conf"
    new = (
        write_setup(tmp_path / "new", mosquitto="2.1", plugin_dir="/plugins").layout.broker / "mosquitto.conf"
    )
    deprecated = {"acl_file", "password_file", "per_listener_settings", "plugin", "auth_plugin"}
    options = [line.split()[0] for line in new.read_text().splitlines() if line and line[0] != "#"]
    assert not deprecated & set(options)
    assert files(new, tmp_path / "new") == files(old, tmp_path / "old")
    assert new.read_text().count("listener_allow_anonymous false") == 4
    assert old.read_text().count("\nallow_anonymous false") == 4
    for name in set(re.findall(r"plugin_use (\S+)", new.read_text())):
        assert f"plugin_load {name} /plugins/mosquitto_" in new.read_text()


def files(configuration: Path, root: Path) -> set[str]:
    return set(re.findall(rf"{re.escape(str(root))}/(\S+)", configuration.read_text()))


# -- devices --------------------------------------------------------------------------------------------


def test_a_device_gets_one_credential_only(folder: Path) -> None:
    add_device(folder, "w1")
    add_device(folder, "w2", certificate=True)
    before = contents(folder)
    for device in ("w1", "w2"):
        for certificate in (False, True):
            with pytest.raises(ConfigError, match="--renew"):
                add_device(folder, device, certificate=certificate)
    assert contents(folder) == before


def test_renewing_may_change_the_kind(folder: Path) -> None:
    add_device(folder, "w1")
    add_device(folder, "w1", certificate=True, renew=True)
    users = PasswordFile(folder / "mosquitto" / "devices.passwords")
    assert users.users() == {}
    assert sorted(path.name for path in (folder / "devices" / "w1").iterdir()) == [
        "ca.crt", "device.crt", "device.env", "device.key",
    ]  # fmt: skip
    assert add_device(folder, "w1", renew=True).by == "certificate", "as it was, unless told otherwise"
    add_device(folder, "w1", certificate=False, renew=True)
    assert list(users.users()) == ["w1"]
    assert not Authority(folder / "authority").valid("w1")
    assert "w1" not in users_of_certificates(folder)


def users_of_certificates(folder: Path) -> list[str]:
    """The certificates that have rights."""
    return re.findall(r"^user (.*)$", contents(folder)["mosquitto/certificates.acl"].decode(), re.MULTILINE)


def test_removing(folder: Path) -> None:
    add_device(folder, "w1", certificate=True)
    removed = remove_device(folder, "w1")
    assert (removed.passwords, removed.certificates, removed.reloaded) == (0, 1, None)
    assert users_of_certificates(folder) == []
    assert not (folder / "devices" / "w1").exists()
    with pytest.raises(ConfigError, match="no credential here"):
        remove_device(folder, "w1")
    write_setup(folder, force=True)
    assert users_of_certificates(folder) == []


@pytest.mark.parametrize("device", ["../x", "", "a/b", "+", "_server", "$server", "x\nuser y"])
def test_ids_that_are_none(device: str, folder: Path) -> None:
    before = contents(folder)
    with pytest.raises(TopicError):
        add_device(folder, device)
    assert contents(folder) == before


@pytest.mark.parametrize("device", ["disc-stream-server", "disc-stream", "aa:bb:cc"])
def test_ids_that_would_cause_trouble(device: str, folder: Path) -> None:
    with pytest.raises(ConfigError):
        add_device(folder, device)


def test_an_address_as_id_has_a_certificate(folder: Path) -> None:
    added = add_device(folder, "aa:bb:cc", certificate=True)
    assert added.url.startswith("mqtts://aa%3Abb%3Acc@broker.example:8884?ca=")


def test_a_folder_without_a_set_up(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="broker config"):
        add_device(tmp_path, "w1")


def test_nobody_else_is_signalled(folder: Path) -> None:
    """A leftover of the file may name a process that is somebody else's."""
    layout = Layout(folder)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        layout.pid.write_text(str(other.pid))
        assert reload_broker(layout) is None
        assert other.stdin is not None
        other.stdin.write(b"\n")
        other.stdin.close()
        assert other.wait(60) == 0, "SIGHUP would have ended it"
    for text in ("", "nonsense", "999999999"):
        layout.pid.write_text(text)
        assert reload_broker(layout) is None


# -- the command -----------------------------------------------------------------------------------------


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "disc_stream", "broker", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_the_command_sets_up_and_lets_in_and_shuts_out(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    told = json.loads(run("config", "--out", folder, "--host", "broker.example", "--json").stdout)
    assert told["ports"] == {"password": 8883, "certificate": 8884, "service": 8885, "people": 8886}
    assert set(told["roles"]) == {"server", "viewer", "operator"}
    added = run("add-device", "w1", "--config", folder)
    assert added.returncode == 0
    password = (folder / "devices" / "w1" / "password").read_text().strip()
    assert password not in added.stdout + added.stderr
    assert "mqtts://w1@broker.example:8883" in added.stdout
    again = run("add-device", "w1", "--config", folder)
    assert (again.returncode, again.stdout) == (2, "")
    assert again.stderr.startswith("error: 'w1' has a credential already. ")
    removed = json.loads(run("remove-device", "w1", "--config", folder, "--json").stdout)
    assert removed == {
        "device": "w1", "passwords": 1, "certificates": 0, "reloaded": None, "confirmed": False, "cut": [],
    }  # fmt: skip
