"""``broker add-device --header --qr --png``: what firmware gets, and that nobody else sees it."""

from __future__ import annotations

import base64
import json
import runpy
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from disc_stream_server.brokerconfig.setup import write_setup
from tests.support.commandline import CommandLine
from tests.support.qr import read_code


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("setup") / "b"
    write_setup(folder, hosts=("broker.example",), port=9_000)
    return folder


def secret(setup: Path, device: str) -> str:
    return (setup / "devices" / device / "password").read_text().strip()


def der(pem: str) -> str:
    return base64.b64encode(base64.b64decode("".join(pem.strip().splitlines()[1:-1]))).decode()


def test_a_header_says_it_to_c(command_line: CommandLine, setup: Path, tmp_path: Path) -> None:
    header = tmp_path / "ds_device.h"
    done = command_line("broker", "add-device", "board", "--config", setup, "--header", header)
    assert done.returncode == 0, done.stderr
    assert str(header) in done.stdout
    assert secret(setup, "board") not in done.stdout + done.stderr
    assert stat.S_IMODE(header.stat().st_mode) == 0o600
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "ds_device.h"\nint main(void) {\n'
        '  printf("%s|%s|%d|%s|%s|%s|%s|%s", DS_DEVICE, DS_HOST, DS_PORT, DS_USER, DS_PASSWORD, DS_PREFIX,\n'
        "         DS_TOPIC_RAW, DS_CA);\n  return 0;\n}\n"
    )
    program = str(tmp_path / "main")
    subprocess.run(["gcc", "-std=c99", "-Wall", "-Werror", tmp_path / "main.c", "-o", program], check=True)
    said = subprocess.run([program], check=True, capture_output=True, text=True).stdout.split("|")
    facts = ["board", "broker.example", "9000", "board", secret(setup, "board"), "ds/v1", "ds/v1/board/raw"]
    assert said == [*facts, (setup / "ca.crt").read_text()]


def test_a_module_says_it_to_micropython(command_line: CommandLine, setup: Path, tmp_path: Path) -> None:
    module = tmp_path / "ds_device.py"
    done = command_line("broker", "add-device", "mp", "--config", setup, "--header", module, "--certificate")
    assert done.returncode == 0, done.stderr
    said = runpy.run_path(str(module))
    folder = setup / "devices" / "mp"
    assert (said["HOST"], said["PORT"], said["DEVICE"], "PASSWORD" in said) == (
        "broker.example", 9_001, "mp", False,
    )  # fmt: skip
    for name, file in (("CA", "ca.crt"), ("CERTIFICATE", "device.crt"), ("KEY", "device.key")):
        assert said[name].strip() == (folder / file).read_text().strip()


def test_a_code_says_it_to_a_camera(command_line: CommandLine, setup: Path, tmp_path: Path) -> None:
    png = tmp_path / "code.png"
    done = command_line("broker", "add-device", "cam", "--config", setup, "--png", png, "--json")
    assert json.loads(done.stdout)["png"] == str(png)
    assert secret(setup, "cam") not in done.stdout
    assert stat.S_IMODE(png.stat().st_mode) == 0o600
    said = json.loads(read_code(png.read_bytes()))
    assert said == {
        "schema": "disc-stream.provision/1", "device": "cam", "host": "broker.example", "port": 9_000,
        "prefix": "ds/v1", "user": "cam", "password": secret(setup, "cam"),
        "ca": der((setup / "ca.crt").read_text()),
    }  # fmt: skip


def test_a_code_is_for_terminals(
    command_line: CommandLine, setup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command_line("broker", "add-device", "term", "--config", setup, "--qr")
    assert (done.returncode, "this is no terminal" in done.stderr) == (2, True)
    assert not (setup / "devices" / "term").exists(), "nobody was let in"
    monkeypatch.setattr("disc_stream.cli.provisioning._is_terminal", lambda: True)
    done = command_line("broker", "add-device", "term", "--config", setup, "--qr")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("▀") > 100


@pytest.mark.parametrize(
    ("name", "words"), [("a.txt", "must end in .h"), ("none/a.h", "does not exist"), ("", "must end in .h")]
)
def test_mistakes_let_nobody_in(
    command_line: CommandLine, setup: Path, tmp_path: Path, name: str, words: str
) -> None:
    done = command_line("broker", "add-device", "x", "--config", setup, "--header", tmp_path / name)
    assert done.returncode != 0
    assert words in done.stderr
    assert not (setup / "devices" / "x").exists()


def test_an_address_that_no_board_reaches_is_named(command_line: CommandLine, tmp_path: Path) -> None:
    write_setup(tmp_path / "b")
    done = command_line("broker", "add-device", "x", "--config", tmp_path / "b", "--header", tmp_path / "x.h")
    assert "which a board cannot reach" in done.stdout
