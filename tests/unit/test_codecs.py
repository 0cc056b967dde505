"""Sample payloads: what is taken, what is refused, and why."""

from __future__ import annotations

import json
import struct
from typing import Any

import cbor2
import numpy as np
import pytest

from disc_stream.errors import PayloadError
from disc_stream.types import Channel, DeviceMeta, SampleBatch
from disc_stream.wire.codecs import CONTENT_TYPES, MAX_BYTES, REASONS, Encoding, decode_batch, encode_batch

CHANNELS = tuple(Channel(f"acc_{a}", "g", 1 / 2048) for a in "xyz") + tuple(
    Channel(f"gyro_{a}", "rad/s", 0.001) for a in "xyz"
)
META = DeviceMeta(50.0, CHANNELS)
COUNTS = np.random.default_rng(0).integers(-3000, 3000, (50, 6)).astype(np.int16)


def batch(samples: np.ndarray[Any, Any] = COUNTS, **changes: Any) -> SampleBatch:
    values = {"device": "dev", "boot": 7, "seq": 70_000, "t0_us": 1_700_000_000_000_000, "fs": 50.0}
    return SampleBatch(**{**values, "channels": CHANNELS, "samples": samples, **changes})


def cbor(**fields: Any) -> bytes:
    message = {"boot": 1, "seq": 2, "t0": 3, "fs": 50, "samples": cbor2.CBORTag(77, bytes(12)), **fields}
    return cbor2.dumps({name: value for name, value in message.items() if value is not ...})


def text(**fields: Any) -> bytes:
    message = {"boot": 1, "seq": 2, "t0": 3, "fs": 50, "samples": [[0, 1, 2, 3, 4, 5]], **fields}
    return json.dumps({name: value for name, value in message.items() if value is not ...}).encode()


def packed(body: bytes = bytes(12), **fields: Any) -> bytes:
    head = {
        "magic": 0xD5,
        "kind": 0x10,
        "c": 6,
        "zero": 0,
        "fs": 50.0,
        "boot": 1,
        "seq": 2,
        "t0": 3,
        **fields,
    }
    return struct.pack("<BBBBfIIQ", *head.values()) + body


def refusal(payload: bytes, *, meta: DeviceMeta | None = META, **options: Any) -> str:
    with pytest.raises(PayloadError) as caught:
        decode_batch(payload, device="dev", meta=meta, **options)
    assert "\n" not in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32])
def test_decodes_to_the_same_physical_samples(encoding: Encoding, dtype: type[np.generic]) -> None:
    sent = batch(COUNTS.astype(dtype))
    got = decode_batch(encode_batch(sent, encoding, describe_channels=False), device="dev", meta=META)
    assert (got.device, got.boot, got.seq, got.t0_us, got.fs) == ("dev", 7, 70_000, sent.t0_us, 50.0)
    assert got.channels == CHANNELS
    np.testing.assert_array_equal(got.physical(), sent.physical())


@pytest.mark.parametrize("encoding", [Encoding.CBOR, Encoding.JSON])
def test_a_message_that_describes_its_channels_needs_no_meta(encoding: Encoding) -> None:
    payload = encode_batch(batch(), encoding, describe_channels=True)
    assert decode_batch(payload, device="dev").channels == CHANNELS
    other = DeviceMeta(50.0, (Channel("ecg", "mV"),))
    assert decode_batch(payload, device="dev", meta=other).channels == CHANNELS, "the message goes first"


@pytest.mark.parametrize("encoding", Encoding)
def test_the_content_type_and_the_first_byte_agree(encoding: Encoding) -> None:
    payload = encode_batch(batch(), encoding, describe_channels=False)
    by_type = decode_batch(payload, device="d", meta=META, content_type=CONTENT_TYPES[encoding])
    by_byte = decode_batch(payload, device="d", meta=META)
    np.testing.assert_array_equal(by_type.samples, by_byte.samples)
    parameter = CONTENT_TYPES[encoding].upper() + "; charset=utf-8"
    assert decode_batch(payload, device="d", meta=META, content_type=parameter).seq == by_byte.seq


def test_sizes_on_the_wire() -> None:
    sizes = {e: len(encode_batch(batch(), e, describe_channels=False)) for e in Encoding}
    assert sizes[Encoding.PACKED] == 24 + 600
    assert sizes[Encoding.CBOR] <= 650
    assert sizes[Encoding.JSON] < 2400


def test_binary_samples_are_not_copied() -> None:
    payload = encode_batch(batch(), Encoding.PACKED, describe_channels=False)
    samples = decode_batch(payload, device="dev", meta=META).samples
    assert not samples.flags.writeable
    assert np.shares_memory(samples, np.frombuffer(payload, dtype=np.uint8))


def test_a_packed_rate_stands_for_the_exact_rate_of_the_meta() -> None:
    meta = DeviceMeta(100 / 3, CHANNELS)
    payload = encode_batch(batch(fs=100 / 3), Encoding.PACKED, describe_channels=False)
    assert decode_batch(payload, device="dev", meta=meta).fs == 100 / 3
    for fs in (25.0, 50.0):
        other = decode_batch(payload, device="dev", meta=DeviceMeta(fs, CHANNELS))
        assert other.fs == np.float32(100 / 3), "a meta with another rate does not change what was sent"


def test_one_unit_and_one_scale_serve_all_channels() -> None:
    payload = text(channels=["a", "b", "c", "d", "e", "f"], units="g", scale=0.5)
    assert {(c.unit, c.scale) for c in decode_batch(payload, device="dev").channels} == {("g", 0.5)}


def test_free_fields_are_passed_over() -> None:
    assert decode_batch(text(**{"x-battery": 0.8}), device="dev", meta=META).seq == 2


# Every reason, by a payload that earns it.
REFUSED = {
    "no bytes": ("empty", b""),
    "too many bytes": ("oversized", b"{" * (MAX_BYTES + 1)),
    "image": ("encoding", b"\x89PNG"),
    "CBOR cut short": ("malformed", cbor()[:-3]),
    "CBOR with more behind it": ("malformed", cbor() + b"\x00"),
    "CBOR array": ("encoding", cbor2.dumps([1])),
    "CBOR key twice": ("malformed", bytes.fromhex("a2616101616102")),
    "CBOR of indefinite length": ("malformed", b"\xbf" + cbor()[1:] + b"\xff"),
    "CBOR nesting bomb": ("malformed", b"\xa1\x61a" + b"\x81" * 100_000),
    "CBOR with a length beyond memory": ("malformed", b"\xa1\x67samples\x5b" + b"\x7f" * 8),
    "CBOR with number keys": ("malformed", cbor2.dumps({1: 2})),
    "JSON cut short": ("malformed", text()[:-1]),
    "JSON nesting bomb": ("malformed", b'{"samples":' + b"[" * 100_000),
    "JSON not UTF-8": ("malformed", b'{"boot":"\xff"}'),
    "packed with reserved byte set": ("malformed", packed(zero=1)),
    "packed header cut short": ("truncated", packed()[:20]),
    "packed row cut short": ("truncated", packed(bytes(13))),
    "packed version 2": ("version", packed(kind=0x20)),
    "packed sample type 7": ("version", packed(kind=0x17)),
    "no seq": ("missing", cbor(seq=...)),
    "no samples": ("missing", text(samples=...)),
    "channels without units": ("missing", text(channels=["a", "b", "c", "d", "e", "f"])),
    "a misspelt field": ("unknown-field", text(scales=2.0)),
    "seq as text": ("type", text(seq="2")),
    "boot as true": ("type", text(boot=True)),
    "t0 as a float": ("type", text(t0=1.5)),
    "samples as text": ("type", text(samples=[["0"] * 6])),
    "samples with true in them": ("type", text(samples=[[True, 0, 0, 0, 0, 0]])),
    "samples as a CBOR list": ("type", cbor(samples=[[0] * 6])),
    "samples as big-endian": ("type", cbor(samples=cbor2.CBORTag(73, bytes(12)))),
    "a shared reference": ("type", cbor(fs=cbor2.CBORTag(29, 0))),
    "a date": ("type", cbor(t0=cbor2.CBORTag(1, 3))),
    "a huge big number": ("type", cbor(t0=cbor2.CBORTag(2, b"\xff" * 1000))),
    "a decimal of huge exponent": ("type", cbor(fs=cbor2.CBORTag(4, [10**9, 1]))),
    "a pattern": ("type", cbor(fs=cbor2.CBORTag(35, "(a+)+$"))),
    "seq beyond 32 bits": ("range", text(seq=2**32)),
    "boot below zero": ("range", cbor(boot=-1)),
    "t0 of 64 bits": ("range", packed(t0=2**63)),
    "t0 of many digits": ("range", text(t0=10**400)),
    "a rate of zero": ("range", packed(fs=0.0)),
    "a rate that is no number": ("range", packed(fs=float("nan"))),
    "too high a rate": ("range", cbor(fs=10_001)),
    "no rows": ("range", packed(b"")),
    "too many rows": ("range", cbor(samples=cbor2.CBORTag(77, bytes(2 * 65_537)), channels=["a"], units="g")),
    "no channels at all": ("range", packed(c=0)),
    "an absurd sample": ("range", text(samples=[[1e30, 0, 0, 0, 0, 0]])),
    "an absurd scale": ("range", text(channels=list("abcdef"), units="g", scale=1e30)),
    "a scale of zero": ("range", text(channels=list("abcdef"), units="g", scale=0)),
    "a channel twice": ("channels", text(channels=list("aacdef"), units="g")),
    "too few units": ("channels", text(channels=list("abcdef"), units=["g"])),
    "units without channels": ("channels", text(units="g")),
    "a channel without a name": ("text", text(channels=["", *"bcdef"], units="g")),
    "a name with a line end": ("text", text(channels=["a\n", *"bcdef"], units="g")),
    "ragged rows": ("shape", text(samples=[[1, 2], [3]])),
    "a typed array that is a number": ("shape", cbor(samples=cbor2.CBORTag(77, 12))),
    "a typed array that is a text": ("shape", cbor(samples=cbor2.CBORTag(77, "abcdefghijkl"))),
    "half a sample": ("shape", cbor(samples=cbor2.CBORTag(77, b"\x00"))),
    "rows that fit no channel count": ("shape", cbor(channels=list("abcde"), units="g")),
    "other channels than the meta": ("meta-mismatch", packed(bytes(10), c=5)),
    "values that fit no row of the meta": ("meta-mismatch", cbor(samples=cbor2.CBORTag(77, bytes(10)))),
    "NaN": ("non-finite", packed(np.full(6, np.nan, "<f4").tobytes(), kind=0x12)),
    "infinity": ("non-finite", cbor(samples=cbor2.CBORTag(85, np.full(6, np.inf, "<f4").tobytes()))),
    "NaN in JSON": ("non-finite", text().replace(b"[[0", b"[[NaN")),
}  # fmt: skip


@pytest.mark.parametrize(("reason", "payload"), REFUSED.values(), ids=REFUSED)
def test_refused_for_its_reason(reason: str, payload: bytes) -> None:
    assert refusal(payload) == reason


def test_without_meta_the_channels_are_unknown() -> None:
    assert {refusal(p, meta=None) for p in (cbor(), text(), packed())} == {"no-meta"}


def test_every_reason_is_documented_and_earned_above() -> None:
    assert {reason for reason, _ in REFUSED.values()} | {"no-meta"} == set(REASONS)


@pytest.mark.parametrize("content_type", ["text/html", "application/xml; charset=utf-8", "json", "\0"])
def test_an_unknown_content_type_is_refused(content_type: str) -> None:
    assert refusal(cbor(), content_type=content_type) == "encoding"


@pytest.mark.parametrize(
    "content_type",
    [
        "application/octet-stream",
        "text/plain",
        "Text/Plain; charset=UTF-8",
        " APPLICATION/OCTET-STREAM ",
        ";",
    ],
)
def test_where_the_content_type_says_nothing_the_first_byte_does(content_type: str) -> None:
    for payload in (cbor(), text(), packed()):
        assert decode_batch(payload, device="dev", meta=META, content_type=content_type).seq == 2


@pytest.mark.parametrize(
    "content_type", ["", "application/json", "application/json;charset=utf-8", "text/plain"]
)
@pytest.mark.parametrize(
    ("before", "behind"),
    [
        (b"\xef\xbb\xbf", b""), (b"", b"\0"), (b"\xef\xbb\xbf", b"\r\n\0\0"), (b"\r\n \t", b"\r\n"),
        (b"", b"\0\n"),
    ],
)  # fmt: skip
def test_what_writers_put_around_json_is_passed_over(content_type: str, before: bytes, behind: bytes) -> None:
    payload = before + text() + behind
    assert decode_batch(payload, device="dev", meta=META, content_type=content_type).seq == 2


@pytest.mark.parametrize(
    "payload", [text()[:5] + b"\0" + text()[5:], text() + b"\0x", b"\0" + text(), b"\xef\xbb"]
)
def test_a_nul_or_a_piece_of_a_mark_anywhere_else_is_refused(payload: bytes) -> None:
    assert refusal(payload, content_type="application/json") == "malformed"


@pytest.mark.parametrize("make", [text, cbor], ids=["json", "cbor"])
def test_whole_floats_are_integers(make: Any) -> None:
    """As JavaScript and Lua write them, which know no integers."""
    got = decode_batch(make(boot=7.0, seq=3.0, t0=1.5e6), device="dev", meta=META)
    assert (got.boot, got.seq, got.t0_us) == (7, 3, 1_500_000)
    assert {type(got.boot), type(got.seq), type(got.t0_us)} == {int}
    assert decode_batch(make(t0=-0.0), device="dev", meta=META).t0_us == 0


@pytest.mark.parametrize("make", [text, cbor], ids=["json", "cbor"])
@pytest.mark.parametrize(
    ("field", "value", "reason", "words"),
    [
        ("seq", 2.5, "type", "seq must be an integer, got 2.5"),
        ("t0", 0.02, "type", "t0 must be an integer, got 0.02; send whole microseconds"),
        ("seq", "3", "type", "seq must be an integer, got the text '3'; send it without quotes"),
        ("boot", "abc", "type", "boot must be an integer, got the text 'abc'"),
        ("t0", None, "type", "t0 must be an integer, got null"),
        ("seq", True, "type", "seq must be an integer, got true"),
        ("seq", -1.0, "range", "seq must be 0..4294967295, got -1"),
        ("seq", 2.0**32, "range", "seq must be 0..4294967295, got 4294967296"),
        ("t0", 2.0**63, "range", "t0 must be 0.."),
        ("t0", 1e300, "range", "got a very large number"),
        ("fs", "50", "type", "fs must be a number, got the text '50'"),
    ],
)
def test_a_wrong_number_is_refused_in_words(
    make: Any, field: str, value: object, reason: str, words: str
) -> None:
    with pytest.raises(PayloadError) as caught:
        decode_batch(make(**{field: value}), device="dev", meta=META)
    assert caught.value.reason == reason
    assert words in caught.value.message


def test_a_sample_that_is_no_number_is_found() -> None:
    with pytest.raises(PayloadError, match=r"row 1, channel 2 \(from 0\) is the text '5'"):
        decode_batch(text(samples=[[0] * 6, [0, 1, "5", 3, 4, 5]]), device="dev", meta=META)


def test_the_content_type_goes_before_the_first_byte() -> None:
    assert refusal(cbor(), content_type=CONTENT_TYPES[Encoding.JSON]) == "malformed"


def test_the_size_limit_can_be_lowered() -> None:
    assert refusal(packed(), max_bytes=35) == "oversized"
    assert decode_batch(packed(), device="dev", meta=META, max_bytes=36).seq == 2


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"seq": 2**32}, "range"),
        ({"fs": 0.0}, "range"),
        ({"samples": COUNTS[:, :5]}, "shape"),
        ({"samples": COUNTS.astype(np.float64)}, "type"),
        ({"samples": np.full((2, 6), np.nan, np.float32)}, "non-finite"),
        ({"channels": CHANNELS[:5] + CHANNELS[:1]}, "channels"),
    ],
)
def test_nothing_is_sent_that_would_be_refused(
    encoding: Encoding, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(PayloadError) as caught:
        encode_batch(batch(**changes), encoding, describe_channels=True)
    assert caught.value.reason == reason


def test_packed_counts_channels_in_one_byte() -> None:
    channels = tuple(Channel(f"c{i}", "1") for i in range(256))
    wide = batch(np.zeros((1, 256), np.int16), channels=channels)
    with pytest.raises(PayloadError, match="255"):
        encode_batch(wide, Encoding.PACKED, describe_channels=False)
    assert encode_batch(wide, Encoding.CBOR, describe_channels=True)
