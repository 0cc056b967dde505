"""``disc-stream token`` and ``disc-stream api``."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from disc_stream.cli.token import parse_end
from disc_stream.errors import ConfigError
from disc_stream_server.api.auth.tokens import TokenStore
from disc_stream_server.storage.people import PeopleStore
from tests.support.commandline import CommandLine


def test_a_token_is_made_shown_once_listed_and_revoked(command_line: CommandLine, tmp_path: Path) -> None:
    state = ["--state", str(tmp_path / "state")]
    given = ["ann", "--role", "operator", "--expires", "2h", "--json"]
    made = json.loads(command_line("token", "add", *given, *state).stdout)
    with PeopleStore(tmp_path / "state") as store:
        who = TokenStore(store).identify(made["token"], time.time_ns() // 1_000)
    assert who is not None
    assert (who.name, who.role) == ("ann", "operator")
    listed = command_line("token", "list", *state).stdout
    assert made["id"] in listed
    assert made["token"][16:] not in listed
    assert "revoked" in command_line("token", "revoke", made["id"], *state).stdout
    assert (
        json.loads(command_line("token", "list", "--json", *state).stdout)["tokens"][0]["revoked_us"]
        is not None
    )


@pytest.mark.parametrize(("text", "seconds"), [("12h", 43_200), ("90d", 7_776_000), ("1w", 604_800)])
def test_an_end_is_a_while_from_now(text: str, seconds: int) -> None:
    assert parse_end(text, 0) == seconds * 1_000_000


@pytest.mark.parametrize("text", ["", "soon", "d", "-3d", "1.5h", "999999999d"])
def test_what_is_no_end_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no time"):
        parse_end(text, 0)
