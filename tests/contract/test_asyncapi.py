"""docs/reference/asyncapi.yaml: up to date, accepted by AsyncAPI's own parser, and every example is real."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from disc_stream.errors import PayloadError
from disc_stream.signal.units import KNOWN_UNITS
from disc_stream.wire import examples
from disc_stream.wire.asyncapi import Form, as_yaml, channels, document, every_example
from disc_stream.wire.codecs import Encoding, decode_batch
from disc_stream.wire.inspection import inspect_payload
from disc_stream.wire.meta import decode_meta
from disc_stream_server.homeassistant.discovery import OFFLINE, ONLINE
from tests.support.commandline import CommandLine

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs/reference/asyncapi.yaml"
PARSER = ROOT / "tests/standards/asyncapi.mjs"
MODULES = Path(os.environ.get("DISC_STREAM_NODE_MODULES", ROOT / ".make/standards"))
EXAMPLES = [
    pytest.param(form, payload, id=f"{form.name}-{name}") for _, form, name, payload in every_example()
]


def parse(text: str) -> tuple[list[dict[str, Any]], list[str]]:
    """What AsyncAPI's parser says of a document, and the channels that it found."""
    node = shutil.which("node")
    if node is None or not (MODULES / "node_modules/@asyncapi/parser").is_dir():
        pytest.skip("AsyncAPI's parser is not here: make standards")
    done = subprocess.run(
        [node, PARSER, MODULES], input=text, capture_output=True, text=True, check=True, timeout=120
    )
    found = json.loads(done.stdout)
    return found["said"], found["channels"]


def with_refs(name: str) -> dict[str, Any]:
    """A schema of the document, with those that it refers to."""
    components = document()["components"]
    return {"$ref": f"#/components/schemas/{name}", "components": {"schemas": components["schemas"]}}


def test_the_file_is_what_the_command_prints(command_line: CommandLine) -> None:
    assert FILE.read_text(encoding="utf-8") == as_yaml()
    printed = command_line("wire", "asyncapi", "--json")
    assert json.loads(printed.stdout) == yaml.safe_load(FILE.read_text(encoding="utf-8"))


def test_asyncapis_own_parser_accepts_it() -> None:
    said, found = parse(FILE.read_text(encoding="utf-8"))
    # That 3.1 exists is no fault: most generators do not read it yet.
    assert [one for one in said if one["code"] != "asyncapi-latest-version"] == []
    assert sorted(found) == sorted(one.address for one in channels())


@pytest.mark.parametrize(
    ("name", "value"), [("channel", {"$ref": "#/channels/elsewhere"}), ("action", "publish"), ("messages", 3)]
)
def test_asyncapis_own_parser_refuses_what_is_wrong(name: str, value: object) -> None:
    wrong = document()
    wrong["operations"]["sendLabel"][name] = value
    said, found = parse(json.dumps(wrong))
    assert any(one["severity"] == 0 for one in said)
    assert not found


@pytest.mark.parametrize(("form", "payload"), EXAMPLES)
def test_every_example_is_accepted_by_the_real_decoders(form: Form, payload: bytes) -> None:
    if form.name == "availability":
        assert payload in {ONLINE, OFFLINE}
        return
    content_type = form.content_type if form.name.startswith("batch") else ""
    meta = decode_meta(examples.meta()) if form.name == "batchPacked" else None
    report = inspect_payload(payload, content_type=content_type, meta=meta, known_units=KNOWN_UNITS)
    assert report.accepted, report
    assert not report.notes


@pytest.mark.parametrize(("form", "payload"), [one for one in EXAMPLES if one.values[0].is_json])
def test_every_example_fits_its_schema(form: Form, payload: bytes) -> None:
    said = document()["components"]["messages"][form.name]
    name = said["payload"]["$ref"].rpartition("/")[2]
    jsonschema.Draft7Validator(with_refs(name)).validate(json.loads(payload))


def test_a_prefix_of_ones_own_is_in_every_topic_of_ours(command_line: CommandLine) -> None:
    assert all(one.address.startswith("my/fleet/") for one in channels("my/fleet"))
    assert "'a/+'" in command_line("wire", "asyncapi", "--prefix", "a/+").stderr


NUMBERS = st.one_of(st.integers(-2, 2**33), st.floats(-10, 20_000, allow_nan=False), st.none(), st.booleans())
BATCHES = st.fixed_dictionaries(
    {"boot": NUMBERS, "seq": NUMBERS, "t0": NUMBERS, "fs": NUMBERS},
    optional={
        "channels": st.lists(st.sampled_from(["a", "b", "", "x" * 65]), max_size=3),
        "units": st.one_of(st.sampled_from(["g", "", "u" * 17]), st.lists(st.just("g"), max_size=3)),
        "scale": st.one_of(NUMBERS, st.lists(st.just(0.5), max_size=3)),
        "scales": st.just(1),
        "x-mine": st.text(max_size=3),
        "samples": st.lists(st.lists(NUMBERS, min_size=1, max_size=3), max_size=3),
    },
)


@given(BATCHES)
def test_what_the_decoder_takes_the_schema_of_batches_takes_too(batch: dict[str, Any]) -> None:
    """The reader is written by hand. Not all that it asks for can be said in a schema."""
    try:
        decode_batch(json.dumps(batch).encode(), device="d", content_type="application/json",
                     meta=decode_meta(examples.meta()))  # fmt: skip
    except PayloadError:
        return
    jsonschema.Draft7Validator(with_refs("BatchJson")).validate(batch)


@pytest.mark.parametrize(
    "change",
    [
        *({"boot": -1}, {"seq": 2**32}, {"t0": 2**63 + 2**12}, {"fs": 0}, {"fs": 10_001}, {"samples": []}),
        *({"scales": 1}, {"channels": None}, {"units": "u" * 17}, {"scale": 0}, {"samples": [[]]}),
    ],
)
def test_what_the_schema_of_batches_refuses_the_decoder_refuses_too(change: dict[str, Any]) -> None:
    batch = {**json.loads(examples.batch(Encoding.JSON)), **change}
    assert not jsonschema.Draft7Validator(with_refs("BatchJson")).is_valid(batch)
    with pytest.raises(PayloadError):
        decode_batch(json.dumps(batch).encode(), device="d", content_type="application/json")
