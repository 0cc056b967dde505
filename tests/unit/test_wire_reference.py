"""docs/reference/wire.md: every number and example on the page is what the program does."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from disc_stream.signal.deviceclock import FAULT_WORDS, ClockFault
from disc_stream.signal.units import KNOWN_UNITS
from disc_stream.types import DeviceMeta, SampleBatch
from disc_stream.wire.codecs import CONTENT_TYPES, MAX_BYTES, REASONS, Encoding, decode_batch, encode_batch
from disc_stream.wire.inspection import inspect_payload
from disc_stream.wire.limits import MAX_CHANNELS, MAX_SAMPLES, MAX_TEXT
from disc_stream.wire.meta import decode_meta
from disc_stream.wire.schema import MAX_BYTES as MAX_CONTROL_BYTES
from disc_stream.wire.topics import Kind
from disc_stream_server.metas import HELD_BYTES, HELD_PER_DEVICE, HOLD_US

PAGE = (Path(__file__).parents[2] / "docs/reference/wire.md").read_text(encoding="utf-8")
COUNTS = np.array([[0, -512, 2048, 160, 0, -16], [32, -480, 2000, 176, 8, -32]])
PHYSICAL = COUNTS * ([1 / 2048] * 3 + [0.0625] * 3)


def blocks(kind: str, page: str = PAGE) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    return PAGE.split(f"# {title}\n")[1].split("\n## ")[0].split("\n### ")[0]


META = decode_meta(blocks("json", section("Test vectors"))[0].encode())
HEX = [bytes.fromhex(block) for block in blocks("hex", section("Test vectors"))]


def check_batch(batch: SampleBatch) -> None:
    assert (batch.boot, batch.seq, batch.t0_us, batch.fs) == (7, 0, 1_500_000, 50.0)
    assert [c.name for c in batch.channels] == [f"{s}_{a}" for s in ("acc", "gyro") for a in "xyz"]
    assert [c.unit for c in batch.channels] == ["g"] * 3 + ["deg/s"] * 3
    np.testing.assert_array_equal(batch.physical(), PHYSICAL.astype(np.float32))


@pytest.mark.parametrize("at", range(3), ids=["packed", "cbor", "cbor with channels"])
def test_a_vector_says_what_the_page_says(at: int) -> None:
    check_batch(decode_batch(HEX[at], device="hand", meta=None if at == 2 else META))
    sizes = [int(n) for n in re.findall(r"(\d+) bytes[,;:]", section("Test vectors"))]
    assert [len(payload) for payload in HEX] == sizes


def test_our_own_encoder_writes_the_vectors() -> None:
    batch = SampleBatch("hand", 7, 0, 1_500_000, 50.0, META.channels, COUNTS.astype(np.int16))
    written = [
        encode_batch(batch, encoding, describe_channels=described)
        for encoding, described in ((Encoding.PACKED, False), (Encoding.CBOR, False), (Encoding.CBOR, True))
    ]
    assert written == HEX
    in_json = blocks("json", section("Test vectors"))[1].strip().encode()
    assert encode_batch(batch, Encoding.JSON, describe_channels=False) == in_json


def test_the_commented_bytes_are_the_vector() -> None:
    lines = [re.split(r'\s{2,}(?=map|"|-?\d+,)| (?=")', line)[0] for line in blocks("text")[0].splitlines()]
    assert bytes.fromhex("".join(lines)) == HEX[1]


def test_the_batches_in_json_say_the_same() -> None:
    batches = [text.strip().encode() for text in blocks("json") if '"samples"' in text]
    assert len(batches) == 2
    for payload in batches:
        check_batch(decode_batch(payload, device="hand", meta=META))
    check_batch(decode_batch(batches[0], device="hand"))


def test_every_example_is_accepted_by_wire_check() -> None:
    kinds = []
    for text in blocks("json"):
        report = inspect_payload(text.strip().encode(), meta=META, known_units=KNOWN_UNITS)
        assert report.accepted, report
        assert [note for note in report.notes if "cannot be converted" in note] == []
        kinds.append(report.kind)
    assert sorted(set(kinds)) == ["activity", "event", "label", "meta", "problem", "sample batch", "status"]
    for payload in HEX:
        assert inspect_payload(payload, meta=META).accepted


def test_the_tables_name_every_reason_topic_unit_and_content_type() -> None:
    table = re.findall(r"^\| `([a-z-]+)` \|", section("What is refused, and why"), flags=re.MULTILINE)
    assert set(table) == set(REASONS)
    topics = re.findall(r"^\| `<prefix>/<device>/(\w+)`", section("Topics"), flags=re.MULTILINE)
    assert set(topics) == {kind.value for kind in Kind}
    units = section("Sample batches").split("converts between:")[1].split("Other field")[0]
    assert set(re.findall("`(.+?)`", units)) == set(KNOWN_UNITS)
    assert all(f"`{name}`" in PAGE for name in CONTENT_TYPES.values())


def test_every_fault_of_a_clock_is_explained_here_and_in_words() -> None:
    table = re.findall(r"^\| (`[a-z0-9`, -]+`) \|", section("Device clocks"), flags=re.MULTILINE)
    faults = set(ClockFault) - {ClockFault.NONE}
    assert set(re.findall("`(.+?)`", " ".join(table))) == faults
    assert set(FAULT_WORDS) == faults


def test_the_numbers_are_those_of_the_program() -> None:
    spaced = f"{MAX_BYTES:,} bytes".replace(",", " ")
    assert f"A payload may have {spaced}" in PAGE
    assert f"{MAX_CONTROL_BYTES:,} bytes, as for all control messages".replace(",", " ", 1) in PAGE
    assert f"1 … {MAX_SAMPLES:,} rows".replace(",", " ") in PAGE
    assert f"1 … {MAX_CHANNELS} texts" in PAGE
    assert f"free text of up to {MAX_TEXT} characters" in PAGE
    waiting = section("How long until the first label")
    assert f"up to {HOLD_US // 10**6} seconds, {HELD_PER_DEVICE} messages of each device" in waiting
    assert f"{HELD_BYTES >> 20} MiB in all" in waiting


def test_the_meta_of_the_page_is_that_of_the_vectors() -> None:
    meta = decode_meta(blocks("json", section("Meta"))[0].encode())
    assert DeviceMeta(50.0, META.channels, "left wrist", "example", "1.2.3") == META
    assert meta == DeviceMeta(50.0, META.channels, "left wrist", "example", "1.2.3", battery=0.8)
