"""Dead letters hold what strangers wrote; the command shows it, and obeys none of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from disc_stream.cli.app import app
from disc_stream.cli.deadletter import _dump
from disc_stream.errors import BrokerError, InputNotFoundError
from disc_stream_server.storage.state import DeadLetter, StateStore
from tests.support.commits import commit

ESCAPE = "\x1b[2J"


def letter(position: int, **changes: Any) -> DeadLetter:
    values: dict[str, Any] = {
        "position": position, "received_us": 1_700_000_000_000_000, "topic": "ds/v1/watch/raw",
        "device": "watch", "reason": "unknown-field", "message": "the field 'scales' is not known",
        "content_type": "application/json", "payload": b"{}", "size": 2,
    }  # fmt: skip
    return DeadLetter(**{**values, **changes})


@pytest.fixture
def state(tmp_path: Path) -> Path:
    store = StateStore(tmp_path)
    letters = [
        letter(1, message="the field '[/red]' is not known", topic=f"ds/v1/{ESCAPE}/[/b]/raw"),
        letter(2, message=f"the field {ESCAPE} is not known", content_type=f"{ESCAPE}text", device="other"),
        letter(3, payload=bytes(range(256)) * 256, size=100_000, reason="oversized"),
        letter(4, topic="ds/v1/" + "a" * 1018),
    ]
    store.commit(commit(4, dead_letters=letters))
    store.close()
    return tmp_path


def run(*args: object) -> str:
    result = CliRunner().invoke(app, ["deadletter", *map(str, args)])
    assert result.exception is None, result.output
    return result.stdout


def test_nothing_in_a_letter_is_taken_for_markup_or_obeyed_by_the_terminal(state: Path) -> None:
    listed = run("list", "--state", state)
    assert "[/red]" in listed
    assert "in all: 1 oversized, 3 unknown-field" in listed
    shown = [run("show", position, "--state", state) for position in (1, 2)]
    assert "[/b]" in shown[0]
    assert all("\x1b" not in text for text in [listed, *shown])
    assert json.loads(run("list", "--state", state, "--json"))["letters"][0]["topic"].count(ESCAPE) == 1


def test_letters_are_chosen_by_reason_device_place_and_number(state: Path) -> None:
    def positions(*options: object) -> list[int]:
        letters = json.loads(run("list", "--state", state, "--json", *options))["letters"]
        return [one["position"] for one in letters]

    assert positions() == [1, 2, 3, 4]
    assert positions("--reason", "oversized") == [3]
    assert positions("--device", "other") == [2]
    assert positions("--after", 2) == [3, 4]
    assert positions("--limit", 1) == [1]


def test_show_says_what_there_is_and_that_a_cut_payload_cannot_be_judged(state: Path) -> None:
    text = run("show", 3, "--state", state)
    assert "000010  10 11 12" in text
    assert "98,976 more bytes" in text
    facts = json.loads(run("show", 3, "--state", state, "--json"))
    assert facts["bytes"] == 100_000
    assert len(bytes.fromhex(facts["payload"])) == 65_536
    assert facts["today"] == "the payload was cut when it was stored"
    assert json.loads(run("show", 1, "--state", state, "--json"))["today"].startswith("missing: ")
    assert list(_dump(b"A\x00~\x7f")) == [f"000000  {'41 00 7e 7f':<48} A.~."]


def test_what_was_cut_is_not_sent_again(state: Path) -> None:
    """Half a payload, or a payload on half a topic, is another message; no broker is even asked."""
    result = CliRunner().invoke(
        app,
        ["deadletter", "replay", "3", "4", "--state", str(state), "--broker", "mqtt://127.0.0.1:1", "--json"],
    )
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"chosen": 2, "windows": 0, "cut": 2, "confirmed": 0, "refused": 0}


def test_mistakes_are_told_in_a_line(state: Path) -> None:
    for arguments, error in (
        (["show", "9"], InputNotFoundError),
        (["replay", "9"], InputNotFoundError),
        (["replay", "1", "--broker", "mqtt://127.0.0.1:1"], BrokerError),
    ):
        result = CliRunner().invoke(app, ["deadletter", *arguments, "--state", str(state)])
        assert isinstance(result.exception, error)


def test_windows_that_the_model_could_not_use_are_shown_and_not_sent(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    window = DeadLetter(5, 1, "", "watch", "not-finite", "window 3 of boot 1: not finite", "", b"\0" * 96, 96)
    store.commit(commit(5, dead_letters=[window]))
    store.close()
    facts = json.loads(run("show", 5, "--state", tmp_path, "--json"))
    assert facts["today"].startswith("a window that the model could not use")
    options = ["deadletter", "replay", "5", "--state", str(tmp_path), "--json"]
    result = CliRunner().invoke(app, options)
    assert json.loads(result.stdout) == {"chosen": 1, "windows": 1, "cut": 0, "confirmed": 0, "refused": 0}
