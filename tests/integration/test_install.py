"""``deploy/install.sh`` in a clean root, and what it installs run as plain processes."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.device import REST, Sender, constant, make_batch
from tests.support.listener import Listener
from tests.support.secure_broker import SecureMosquitto

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy/install.sh"
BIN = "/usr/sbin:/usr/bin:/sbin:/bin"


def install(root: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(SCRIPT), *options],
        env={"PATH": BIN, "DESTDIR": str(root), **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=900,
    )


def files(root: Path) -> dict[str, int]:
    """Mode by path."""
    return {
        str(path.relative_to(root)): path.stat().st_mode & 0o777 for path in root.rglob("*") if path.is_file()
    }


def test_files_come_with_the_rights_they_need_and_go_again(tmp_path: Path) -> None:
    assert "would write" in install(tmp_path, "--files-only", "--dry-run").stdout
    assert files(tmp_path) == {}, "a dry run writes nothing"
    assert install(tmp_path, "--files-only").returncode == 0
    found = files(tmp_path)
    assert found["etc/disc-stream/credentials/broker-password"] == 0o600
    assert found["etc/disc-stream/credentials/page-token"] == 0o600
    assert (tmp_path / "etc/disc-stream/credentials").stat().st_mode & 0o777 == 0o700
    assert found["usr/lib/systemd/system/disc-stream.service"] == 0o644
    unit = (tmp_path / "usr/lib/systemd/system/disc-stream.service").read_text()
    assert "ExecStart=/opt/disc-stream/bin/disc-stream serve" in unit
    assert "@PREFIX@" not in unit
    assert install(tmp_path, "--uninstall").returncode == 0
    assert set(files(tmp_path)) == {
        f"etc/disc-stream/{name}"
        for name in ("serve.yaml", "server.env", "credentials/broker-password", "credentials/page-token")
    }, "settings and secrets stay"
    assert install(tmp_path, "--uninstall", "--purge").returncode == 0
    assert files(tmp_path) == {}


def test_a_second_installation_keeps_settings_and_secrets(tmp_path: Path) -> None:
    install(tmp_path, "--files-only")
    settings, token = (
        tmp_path / "etc/disc-stream/serve.yaml",
        tmp_path / "etc/disc-stream/credentials/page-token",
    )
    settings.write_text("collect: true\n")
    before = token.read_text()
    again = install(tmp_path, "--files-only")
    assert "kept" in again.stdout
    assert settings.read_text() == "collect: true\n"
    assert "stale_s" in (settings.parent / "serve.yaml.new").read_text()
    assert token.read_text() == before
    assert len(before) == 48


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--prefix", "relative"), "is not an absolute path"),
        (("--prefix", "/usr"), "a folder of the system's"),
        (("--prefix", "/opt/a b"), "letters, digits"),
        (("--runtime", "tpu"), "neither cpu nor gpu"),
        (("--wheel", "/no/such.whl"), "there is no wheel"),
        (("--purge",), "goes with --uninstall"),
        (("--server", "--prefix"), "needs a value"),
        (("--frobnicate",), "unknown option"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(
    tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    done = install(tmp_path, *options)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert files(tmp_path) == {}


def test_nothing_but_an_environment_is_removed_from_the_prefix(tmp_path: Path) -> None:
    mine = tmp_path / "opt/mine/thesis.tex"
    mine.parent.mkdir(parents=True)
    mine.write_text("years of work")
    assert install(tmp_path, "--uninstall", "--purge", "--prefix", "/opt/mine").returncode == 0
    assert mine.exists()


def read_unit(path: Path, credentials: Path, instance: str = "") -> tuple[list[str], dict[str, str]]:
    """The command of a unit, and its environment, with what systemd puts in."""
    text = path.read_text().replace("%d", str(credentials)).replace("%i", instance)
    environment = dict(re.findall(r"^Environment=(\w+)=(.*)$", text, re.MULTILINE))
    command = re.search(r"^ExecStart=(.+)$", text, re.MULTILINE)
    assert command is not None
    return shlex.split(command[1]), environment


def environment_file(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[SecureMosquitto]:
    broker = SecureMosquitto(tmp_path / "set-up")
    broker.start()
    yield broker
    broker.discard()


@pytest.mark.broker
def test_the_units_commands_work_with_the_files_that_were_installed(
    secure: SecureMosquitto, tiny_bundle: Path, tmp_path: Path
) -> None:
    """Server and publisher by what their units say; secrets as files, as systemd's credentials are."""
    root = tmp_path / "root"
    assert install(root, "--files-only").returncode == 0
    assert install(root, "--edge", "--files-only").returncode == 0
    etc, units = root / "etc/disc-stream", root / "usr/lib/systemd/system"
    (etc / "credentials/broker-password").write_text(secure.secret("server"))
    command, environment = read_unit(units / "disc-stream.service", etc / "credentials")
    address = environment_file(etc / "server.env")["DISC_STREAM_BROKER"]
    address = address.replace(":8885", f":{secure.plan.service_port}").replace(
        "/etc/disc-stream/ca.crt", str(secure.layout.ca)
    )
    settings = (etc / "serve.yaml").read_text()
    settings = settings.replace("collect: true", f"bundle: {tiny_bundle}").replace(
        "127.0.0.1:9464", "127.0.0.1:0"
    )
    (etc / "serve.yaml").write_text(settings.replace("#http: 127.0.0.1:8765", "http: 127.0.0.1:0"))
    words = [
        word.replace("/etc/disc-stream", str(etc)).replace("/var/lib", str(tmp_path)) for word in command[1:]
    ]
    server = subprocess.Popen(
        [sys.executable, "-m", "disc_stream", *words, "--json"],
        env={**os.environ, **environment, "DISC_STREAM_BROKER": address, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    listener = Listener(secure.role_url("viewer"))
    listener.link.connect()
    try:
        assert server.stdout is not None
        assert json.loads(server.stdout.readline())["event"] == "ready"
        assert _publish(secure, units / "disc-stream-edge@.service", tmp_path) == 0
        sender = Sender(secure.added("watch-2").url)
        for seq in range(2):
            sender.send(make_batch("watch-2", seq, constant(REST, 8)))
        listener.wait_for_labels(2)
        sender.link.close()
    finally:
        server.terminate()
        server.communicate(timeout=60)
        listener.link.close()
    assert server.returncode == 0, "the stop that systemd asks for is graceful"


def _publish(secure: SecureMosquitto, unit: Path, tmp_path: Path) -> int:
    """Exit code of the publisher, which publishes five seconds of motion at once."""
    url = secure.added("watch-1").url
    credentials = tmp_path / "edge-credentials"
    credentials.mkdir()
    (credentials / "broker-password").write_text((secure.layout.device("watch-1") / "password").read_text())
    (credentials / "broker-password").chmod(0o600)
    command, environment = read_unit(unit, credentials, instance="watch-1")
    options = {"$DISC_STREAM_EDGE_ARGS": ["--synthetic", "--seconds", "5", "--speed", "0"]}
    words = [one for word in command[1:] for one in options.get(word, [word])]
    address = re.sub(r"(://[^:@]*):[^@]*@", r"\1@", url).split("?")[0] + f"?ca={secure.layout.ca}"
    done = subprocess.run(
        [sys.executable, "-m", "disc_stream", *words],
        env={**os.environ, **environment, "DISC_STREAM_BROKER": address},
        check=False,
        timeout=120,
    )
    return done.returncode


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_whole_installation_runs_from_its_own_environment(tmp_path: Path) -> None:
    """With pip, from the pins: 400 MB."""
    done = install(tmp_path, PYTHON=sys.executable)
    assert done.returncode == 0, done.stderr
    program = tmp_path / "opt/disc-stream/bin/disc-stream"
    assert program.read_text().startswith("#!/opt/disc-stream/bin/python"), "where it will be, not here"
    python = tmp_path / "opt/disc-stream/bin/python"
    environment = {"PATH": BIN, "HOME": str(tmp_path)}
    shown = subprocess.run(
        [python, "-m", "disc_stream", "serve", "--print-config"],
        env=environment, check=False, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.rstrip() == subprocess.run(
        [sys.executable, "-m", "disc_stream", "serve", "--print-config"],
        check=True, capture_output=True, text=True,
    ).stdout.rstrip()  # fmt: skip
    assert install(tmp_path, PYTHON=sys.executable).returncode == 0, "an upgrade in place"
    assert not (tmp_path / "opt/disc-stream.old").exists()
    assert install(tmp_path, "--uninstall", "--purge").returncode == 0
    assert files(tmp_path) == {}
