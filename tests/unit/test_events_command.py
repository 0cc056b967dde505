"""`disc-stream events` and `episodes export`: real files of a server, and what people get wrong."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from fhir.resources.R4B.bundle import Bundle

from disc_stream.wire.event import SCHEMA, Event, EventType
from disc_stream_server.events.signing import read_secret
from disc_stream_server.storage.journal import Journal
from tests.support.commandline import CommandLine
from tests.support.pasts import labels, write


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    write(folder, labels("a" * 40 + "?" * 40 + "c" * 40))
    return folder


def test_a_secret_is_new_private_and_never_written_over(command_line: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "hook.secret"
    assert command_line("events", "secret", file).returncode == 0
    assert len(read_secret(file)) == 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "there already" in command_line("events", "secret", file).stderr


def test_dead_events_are_listed_and_posted_once_more(
    command_line: CommandLine, state: Path, tmp_path: Path
) -> None:
    assert "holds no events" in command_line("events", "dead", "--state", state).stderr
    journal = Journal(state)
    for number in (1, 2):
        event = Event(SCHEMA, f"{journal.feed}-{number}", number, EventType.ONLINE, "watch\u202e", 5)
        journal.bury("webhook http://127.0.0.1:1/secret-path", event, "answered 400\x1b[2J", 7)
    journal.close()
    shown = command_line("events", "dead", "--state", state).stdout
    assert "answered 400" in shown
    assert "secret-path" not in shown
    assert "\x1b" not in shown
    assert len(json.loads(command_line("events", "dead", "--state", state, "--json").stdout)["dead"]) == 2
    secret, config = tmp_path / "s", tmp_path / "serve.yaml"
    command_line("events", "secret", secret)
    config.write_text(
        "collect: true\nevents:\n  webhooks:\n"
        f"    - {{url: 'http://127.0.0.1:1/secret-path', secret: {secret}}}\n"
    )
    done = command_line("events", "replay", "--config", config, "--state", state, "--drop", "1", "--json")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert (found["taken"], found["dropped"]) == (0, 1)
    assert [row["id"] for row in found["left"]] == [2]
    assert "ConnectionRefusedError" in found["left"][0]["reason"]


def test_episodes_are_exported_as_fhir_cloudevents_and_senml(
    command_line: CommandLine, state: Path, tmp_path: Path
) -> None:
    out = tmp_path / "bundle.json"
    words = ["episodes", "export", "--state", state]
    done = command_line(*words, "--as", "fhir", "--device", "watch", "--subject", "Patient/1", "--out", out)
    assert done.returncode == 0, done.stderr
    Bundle.model_validate(json.loads(out.read_text()))
    events = [
        json.loads(line)
        for line in command_line(*words, "--as", "cloudevents", "--out", "-").stdout.splitlines()
    ]
    assert [one["type"] for one in events][:3] == [
        "disc-stream.episode.began", "disc-stream.episode.ended", "disc-stream.unknown.began",
    ]  # fmt: skip
    pack = json.loads(command_line(*words, "--as", "senml", "--out", "-").stdout)
    assert len(pack) == 240
    assert (
        json.loads(command_line(*words, "--as", "senml", "--until", "2001-01-01", "--out", "-").stdout) == []
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--as", "fhir", "--out", "-"], "Give one --device"),
        (["--as", "fhir", "--device", "watch", "--out", "-"], "--subject"),
        (["--as", "senml", "--device", "nobody", "--out", "-"], "nobody"),
        (["--as", "senml", "--since", "yesterday", "--out", "-"], "yesterday"),
        (["--as", "senml", "--out", "-", "--json"], "exclude"),
        (["--as", "xml", "--out", "-"], "xml"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    command_line: CommandLine, state: Path, words: list[str], said: str
) -> None:
    done = command_line("episodes", "export", "--state", state, *words)
    assert done.returncode != 0
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
