"""What holds for every command of `disc-stream`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from disc_stream.cli.app import app
from tests.support.commandline import CommandLine, Done


def commands(group: Any, *path: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *path, name)
        else:
            yield (*path, name)


COMMANDS = list(commands(typer.main.get_command(app)))


def run_process(*args: str) -> Done:
    """Runs a command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "disc_stream", *args],
        capture_output=True, text=True, timeout=120, check=False,
        env={"PATH": "/usr/bin:/bin", "COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"},
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


def assert_one_line(result: Done, *says: str) -> None:
    """A usage error: one line on stderr, nothing on stdout, exit code 2."""
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    for words in says:
        assert words in line


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_shows_an_example(command_line: CommandLine, command: tuple[str, ...]) -> None:
    result = command_line(*command, "--help")
    assert result.returncode == 0, result.stderr
    assert f"disc-stream {' '.join(command)} " in result.stdout.split("Usage:", 1)[1].split("\n", 1)[1], (
        "the help page has no example of the command in use"
    )


@pytest.mark.parametrize("command", [(), *COMMANDS], ids=lambda c: " ".join(c) or "root")
def test_an_unknown_option_is_a_usage_error(command_line: CommandLine, command: tuple[str, ...]) -> None:
    result = command_line(*command, "--no-such-option")
    assert_one_line(result, "no-such-option", f"disc-stream {' '.join(command)}".strip() + " --help")


def test_an_unknown_command_is_a_usage_error(command_line: CommandLine) -> None:
    assert_one_line(command_line("dmeo"), "dmeo", "demo", "disc-stream --help")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("label", "hapt:user04"), "--bundle"),
        (("edge", "publish", "--samples", "0"), "--samples"),
        (("edge", "publish", "--placement", "knee"), "wrist"),
        (("edge", "publish", "--synthetic", "--prefix", "a b"), "a b"),
        (("train", "--out", "x", "--seed", "-1"), "--seed"),
        (("data", "forget", "a/b", "--yes"), "a/b"),
        (("broker", "config", "--out", "x", "--host", "a b"), "a b"),
        (("broker", "add-device", "watch-17", "--config", "nowhere"), "broker config"),
        (("doctor", "--broker", "http://x"), "mqtt://"),
        (("data", "forget", "watch-17", "--state", "nowhere", "--yes"), "nowhere"),
        (("data", "forget", "watch-17", "--state", "."), "--yes"),
        (("deadletter", "list", "--state", "nowhere"), "nowhere"),
        (("deadletter", "list", "--limit", "0"), "--limit"),
        (("deadletter", "show", "first"), "position"),
        (("deadletter", "show", "7", "--state", "."), "not a state folder"),
        (("deadletter", "replay", "--state", "."), "--reason"),
    ],
)
def test_a_wrong_command_is_one_line(command_line: CommandLine, command: tuple[str, ...], says: str) -> None:
    assert_one_line(command_line(*command), says)


WRITERS = [
    ("broker", "config"),
    ("train", "--dataset", "hapt", "--data", "."),
    ("export", "."),
    ("label", "--bundle", ".", "walk.csv"),
    ("data", "import", "csv", "--path", "."),
    ("data", "windows", "hapt", "--path", "."),
    ("benchmark", "table1", "--method", "kmeans", "--data", "."),
    ("plot", "embedding", "."),
    ("plot", "confusion", "."),
    ("plot", "training", "."),
    ("plot", "table1"),
]
ENDINGS = {"data": ".npz", "plot": ".png", "label": ".json"}


@pytest.mark.parametrize("command", WRITERS, ids=" ".join)
def test_a_place_that_cannot_be_written_to_is_one_line(
    command_line: CommandLine, command: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    out = str(tmp_path / "file" / f"x{ENDINGS.get(command[0], '')}")
    result = command_line(*command, "--out", out)
    assert result.returncode in (1, 2)
    assert result.stdout == "", "something was done before the place was looked at"
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert str(tmp_path / "file") in line


@pytest.mark.parametrize("command", [("broker", "config"), ("export", ".")], ids=" ".join)
def test_a_file_in_the_place_of_a_folder_is_one_line(
    command_line: CommandLine, command: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    result = command_line(*command, "--out", str(tmp_path / "file"))
    assert result.returncode in (1, 2)
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")


def test_a_process_says_the_same(command_line: CommandLine) -> None:
    for command in (("--help",), ("train", "--help"), ("dmeo",), ("edge", "publish", "--samples", "0")):
        assert run_process(*command) == command_line(*command)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from disc_stream.cli.app import app; "
        "heavy = {'numpy', 'torch', 'pydantic', 'paho', 'sklearn', 'scipy', 'onnxruntime', 'starlette'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_version_is_the_distributions() -> None:
    from importlib.metadata import version

    result = run_process("--version")
    assert result.stdout.split() == ["disc-stream", version("disc-stream")]
