"""From poison on the wire to the command that shows it, and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from disc_stream.cli.app import app
from disc_stream.errors import ConfigError, InputNotFoundError
from disc_stream.wire.codecs import Encoding, encode_batch
from disc_stream_server.metas import Held
from tests.integration.conftest import StartServer
from tests.support.broker import Mosquitto
from tests.support.device import RIGHT, Sender, constant, make_batch
from tests.support.listener import Listener

pytestmark = pytest.mark.broker


def invoke(*args: object) -> Any:
    return CliRunner().invoke(app, ["deadletter", *map(str, args)], catch_exceptions=True)


def as_json(*args: object) -> dict[str, Any]:
    result = invoke(*args, "--json")
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def test_poison_is_listed_shown_and_sent_again_once_it_is_no_poison(
    start_server: StartServer,
    mosquitto: Mosquitto,
    sender: Sender,
    listener: Listener,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # On a busy machine the commands below take longer than payloads are held for their meta.
    monkeypatch.setattr(Held.__init__, "__defaults__", (3_600_000_000,))
    start_server(checkpoint_s=0.1)
    state = tmp_path / "state"
    sender.raw("bad", b'{"boot": 1')
    # No meta comes for these until they are given up; the last one pushes the hold over its limit.
    early = make_batch("packed", 0, constant(RIGHT, 8))
    payload = encode_batch(early, Encoding.PACKED, describe_channels=False)
    for _ in range(33):
        sender.raw("packed", payload)
    listener.wait_for_rejected("no-meta", 1)
    listener.wait_for_rejected("malformed", 1)
    listener.wait(lambda: listener.status["counters"]["checkpoint"] >= 34)

    listed = as_json("list", "--state", state)
    assert listed["counts"] == {"malformed": 1, "no-meta": 1}
    malformed, no_meta = listed["letters"]
    assert (malformed["device"], malformed["reason"], malformed["bytes"]) == ("bad", "malformed", 10)
    assert [one["device"] for one in as_json("list", "--state", state, "--reason", "no-meta")["letters"]] == [
        "packed"
    ]
    assert as_json("list", "--state", state, "--device", "nobody")["letters"] == []
    text = invoke("list", "--state", state).output
    assert "malformed" in text
    assert "in all: 1 malformed, 1 no-meta" in text

    shown = as_json("show", malformed["position"], "--state", state)
    assert bytes.fromhex(shown["payload"]) == b'{"boot": 1'
    assert shown["today"].startswith("malformed: ")
    text = invoke("show", malformed["position"], "--state", state).output
    assert "7b 22 62 6f 6f 74 22 3a 20 31" in text
    assert '{"boot": 1' in text

    sender.meta("packed")  # mended
    listener.wait_for_labels(1)
    understood = "a batch of 8 samples x 3 channels at 50 Hz, boot 1, seq 0"
    listener.wait(  # for the checkpoint that has the meta
        lambda: as_json("show", no_meta["position"], "--state", state)["today"] == understood
    )
    listener.wait_for_count("duplicates", 31)  # the others that were held
    sent = as_json("replay", no_meta["position"], "--state", state, "--broker", mosquitto.url)
    assert sent == {"chosen": 1, "windows": 0, "cut": 0, "confirmed": 1, "refused": 0}
    listener.wait_for_count("duplicates", 32)


def test_mistakes_are_told_in_a_line(tmp_path: Path) -> None:
    assert isinstance(invoke("list", "--state", tmp_path / "none").exception, InputNotFoundError)
    result = invoke("list", "--state", tmp_path)
    assert isinstance(result.exception, InputNotFoundError)
    assert "is not a state folder" in str(result.exception)
    assert isinstance(invoke("replay", "--state", tmp_path).exception, ConfigError)
