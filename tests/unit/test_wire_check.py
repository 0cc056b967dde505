"""``disc-stream wire check``: what a payload is, told without a broker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from disc_stream.cli.app import app
from disc_stream.wire import examples
from disc_stream.wire.codecs import REASONS
from disc_stream.wire.inspection import REMEDIES, clock_words, inspect_payload

GOLDEN = Path(__file__).parents[1] / "golden/wire"
META = GOLDEN / "meta.json"
BATCH = {
    "boot": 7,
    "seq": 3,
    "t0": 1_790_000_000_000,
    "fs": 50,
    "channels": ["acc_x"],
    "units": "g",
    "samples": [[1], [2]],
}


def check(*arguments: object, given: bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["wire", "check", *map(str, arguments)], input=given)


def checked(*arguments: object, given: bytes | None = None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(check(*arguments, "--json", given=given).stdout)
    return found


@pytest.mark.parametrize("file", sorted(GOLDEN.iterdir()), ids=lambda path: path.name)
def test_every_message_of_the_contract_is_known(file: Path) -> None:
    as_hex = ["--hex"] if file.suffix == ".hex" else []
    result = check(file, "--meta", META, *as_hex)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "accepted"
    kind = file.name.split("-")[0].removesuffix(".json")
    names = {
        "cbor": "sample batch in CBOR",
        "packed": "sample batch in packed form",
        "json": "sample batch in JSON",
    }
    names |= {"server": "server status in JSON", "embedding.hex": "embeddings in CBOR"}
    assert f"{file}: {names.get(kind, f'{kind} in JSON')}, " in result.stdout


def test_a_batch_is_explained() -> None:
    found = checked("-", given=json.dumps(BATCH).encode())
    assert (found["kind"], found["encoding"], found["accepted"]) == ("sample batch", "json", True)
    facts = found["facts"]
    assert (facts["boot"], facts["seq"], facts["rows"], facts["fs"]) == (7, 3, 2, 50.0)
    assert facts["duration_s"] == 0.04
    assert facts["channels"] == [{"name": "acc_x", "unit": "g", "scale": 1.0}]
    assert facts["t0_means"].startswith("Unix time 2026-09-21T14:13:20Z in milliseconds, which is recognised")
    shown = check("-", given=json.dumps(BATCH).encode()).stdout
    assert "stdin: sample batch in JSON" in shown
    assert "channels   acc_x (g)" in shown


def test_a_packed_batch_needs_the_meta_of_its_device(tmp_path: Path) -> None:
    file = tmp_path / "batch.bin"
    file.write_bytes(bytes.fromhex((GOLDEN / "packed-int16.hex").read_text()))
    result = check(file)
    assert result.exit_code == 1
    assert "refused: no-meta: " in result.stdout
    assert result.stdout.rstrip().endswith("here: --meta FILE")
    assert "acc_x (g, scale 0.000488281)" in check(file, "--meta", META).stdout


@pytest.mark.parametrize(
    ("payload", "options", "reason"),
    [
        (b"", [], "empty"),
        (b"\x89PNG", [], "encoding"),
        (b"{}", ["--content-type", "text/html"], "encoding"),
        (b"{", [], "malformed"),
        (
            b'{"schema":"disc-stream.meta/1","fs":50,"channels":["a"],"units":"g","scales":2}',
            [],
            "unknown-field",
        ),
        (b'{"schema":"disc-stream.meta/7"}', [], "version"),
        (b'{"schema":"disc-stream.label/1"}', [], "label"),
        (b'{"schema":"disc-stream.problem/1"}', [], "missing"),
        (b'{"schema":7}', [], "version"),
        (b" " * 300_000, [], "oversized"),
    ],
)
def test_a_refusal_says_why_and_what_to_do(payload: bytes, options: list[str], reason: str) -> None:
    result = check("-", *options, given=payload)
    assert result.exit_code == 1
    assert f"refused: {reason}: " in result.stdout
    assert REMEDIES[reason] in result.stdout
    found = checked("-", *options, given=payload)
    assert (found["accepted"], found["reason"], found["remedy"]) == (False, reason, REMEDIES[reason])


def test_what_the_server_says_of_its_model_is_shown() -> None:
    found = checked("-", given=examples.model())
    assert (found["kind"], found["accepted"]) == ("model", True)
    assert found["facts"]["window"] == {"samples": 128, "hop": 64, "input_samples": 64}
    assert [one["name"] for one in found["facts"]["clusters"]] == ["walking", "climbing stairs"]


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"units": "furlong"}, "The unit 'furlong' cannot be converted"),
        ({}, "The message describes its channels itself; the meta is not used"),
        ({"fs": 25}, "fs is 25 Hz here and 50 Hz in the meta; that of the message counts"),
    ],
)
def test_what_is_worth_knowing_is_noted(changes: dict[str, object], note: str) -> None:
    result = check("-", "--meta", META, given=json.dumps({**BATCH, **changes}).encode())
    assert result.exit_code == 0
    assert f"note: {note}" in result.stdout


def test_what_is_passed_over_is_noted() -> None:
    shown = check("-", given=b"\xef\xbb\xbf" + json.dumps(BATCH).encode() + b"\0").stdout
    assert "note: A byte order mark before the JSON is ignored" in shown
    assert "note: NUL bytes behind the JSON are ignored" in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere.bin",), "nowhere.bin"),
        (("-", "--meta", "nowhere.json"), "nowhere.json"),
        (("-", "--meta", GOLDEN / "status-will.json"), "no meta that could be used"),
        (("-", "--hex"), "hexadecimal"),
    ],
)
def test_a_wrong_command_is_a_usage_error(arguments: tuple[object, ...], says: str) -> None:
    result = check(*arguments, given=b"{}")
    assert says in str(result.exception)
    assert getattr(result.exception, "exit_code", None) == 2


def test_a_terminal_is_sent_nothing_that_it_would_obey() -> None:
    payload = json.dumps({**BATCH, "\x1b[2Jscale": 1}).encode()
    assert "\x1b" not in check("-", given=payload).stdout


@pytest.mark.parametrize(
    ("t0", "words"),
    [
        (0, "0:00:00 since the boot in microseconds"),
        (1_790_000_000_000_000, "Unix time 2026-09-21T14:13:20Z in microseconds"),
        (
            1_790_000_000,
            "Unix time 2026-09-21T14:13:20Z in seconds, which is recognised; microseconds are meant",
        ),
        (60 * 86_400 * 10**9, "60 days, 0:00:00 since the boot in nanoseconds"),
        (2**63 - 1, "106751 days, 23:47:16.854775 since the boot in nanoseconds"),
    ],
)
def test_times_are_read_in_their_unit(t0: int, words: str) -> None:
    assert clock_words(t0).startswith(words)


def test_embeddings_are_known_by_their_schema() -> None:
    golden = check(GOLDEN / "embedding.hex", "--hex").stdout
    assert "embeddings in CBOR" in golden
    assert "windows    11; 70000" in golden
    payload = bytes.fromhex((GOLDEN / "embedding.hex").read_text())
    cut = check("-", given=payload[:-1])
    assert "refused: malformed: not valid CBOR: it ends early" in cut.stdout
    other = check("-", given=payload.replace(b"embedding/1", b"embedding/2"))
    assert "refused: version: schema 'disc-stream.embedding/2' is not known" in other.stdout


def test_every_reason_has_a_remedy() -> None:
    assert set(REMEDIES) == {*REASONS, "label"}


@given(
    st.binary(max_size=80)
    | st.dictionaries(st.sampled_from(["schema", *BATCH]), st.none() | st.text() | st.integers()).map(
        lambda message: json.dumps(message).encode()
    ),
    st.sampled_from(["", "application/json", "application/cbor", "text/plain"]),
)
@settings(deadline=None)
def test_whatever_the_bytes_are_they_are_accepted_or_refused(payload: bytes, content_type: str) -> None:
    report = inspect_payload(payload, content_type=content_type)
    assert report.accepted == (report.refusal is None)
    if report.refusal is not None:
        assert report.refusal[0] in REMEDIES
        assert not report.facts
