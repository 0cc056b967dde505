"""Payloads that nobody should send: two thousand and more, the same for the same seed."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Iterator

import cbor2
import numpy as np

from disc_stream.types import Channel, DeviceMeta, Label, SampleBatch, SoftLabel
from disc_stream.wire.codecs import CONTENT_TYPES, Encoding, encode_batch
from disc_stream.wire.embedding import Embeddings, encode_embeddings
from disc_stream.wire.label import encode_label, label_to_dict
from disc_stream.wire.meta import encode_meta

CHANNELS = tuple(Channel(f"acc_{axis}", "m/s2") for axis in "xyz")
META = DeviceMeta(50.0, CHANNELS)
Payload = tuple[str, bytes]  # content type, bytes


def hostile_payloads(seed: int = 0) -> list[Payload]:
    """All of them: mutations of good payloads, and constructions by hand."""
    rng = random.Random(seed)
    found = [*_mutations(rng, 1_600), *_cbor(rng), *_json(rng), *_packed(rng), *_anything(rng, 200)]
    assert len(found) >= 2_000
    return found


def good_batch(seq: int = 0, *, device: str = "watch", n: int = 8, dtype: str = "float32") -> SampleBatch:
    """A batch that is taken."""
    samples = np.random.default_rng(seq).normal(0, 5, (n, 3)).astype(dtype)
    return SampleBatch(device, 1, seq, seq * n * 20_000, 50.0, CHANNELS, samples)


def _good(rng: random.Random) -> Payload:
    encoding = rng.choice(list(Encoding))
    batch = good_batch(
        rng.randrange(100), n=rng.choice([1, 8, 50]), dtype=rng.choice(["int16", "int32", "float32"])
    )
    content_type = rng.choice([CONTENT_TYPES[encoding], ""])
    return content_type, encode_batch(batch, encoding, describe_channels=rng.random() < 0.5)


def _mutations(rng: random.Random, n: int) -> Iterator[Payload]:
    kinds: list[Callable[[random.Random, bytes], bytes]] = [
        _flip, _flip, _cut, _extend, _splice, _repeat, _zero, _swap,
    ]  # fmt: skip
    for _ in range(n):
        content_type, payload = _good(rng)
        for _ in range(rng.choice([1, 1, 2, 5])):
            payload = rng.choice(kinds)(rng, payload)
        if rng.random() < 0.1:
            content_type = rng.choice(
                [*CONTENT_TYPES.values(), "text/plain", "application/json; charset=utf-16", "\0"]
            )
        yield content_type, payload


def _flip(rng: random.Random, payload: bytes) -> bytes:
    changed = bytearray(payload)
    for _ in range(rng.choice([1, 1, 4])):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _cut(rng: random.Random, payload: bytes) -> bytes:
    return payload[: rng.randrange(len(payload) + 1)]


def _extend(rng: random.Random, payload: bytes) -> bytes:
    return payload + rng.randbytes(rng.choice([1, 3, 1000]))


def _splice(rng: random.Random, payload: bytes) -> bytes:
    _, other = _good(rng)
    return payload[: rng.randrange(len(payload) + 1)] + other[rng.randrange(len(other)) :]


def _repeat(rng: random.Random, payload: bytes) -> bytes:
    at = rng.randrange(len(payload) + 1)
    piece = payload[at : at + rng.randrange(1, 60)]
    return payload[:at] + piece * rng.choice([2, 3, 200]) + payload[at:]


def _zero(rng: random.Random, payload: bytes) -> bytes:
    at = rng.randrange(len(payload) + 1)
    return payload[:at] + bytes(min(8, len(payload) - at)) + payload[at + 8 :]


def _swap(rng: random.Random, payload: bytes) -> bytes:
    at = rng.randrange(len(payload) + 1)
    return payload[at:] + payload[:at]


def _cbor(rng: random.Random) -> Iterator[Payload]:
    good = cbor2.loads(encode_batch(good_batch(), Encoding.CBOR, describe_channels=True))
    header = {name: value for name, value in good.items() if name != "samples"}
    typed = cbor2.CBORTag(85, np.zeros((4, 3), dtype="<f4").tobytes())
    for name, value in _odd_fields():
        yield "", _dump({**header, "samples": typed, name: value})
    for tag in [
        *range(120),
        256,
        258,
        260,
        1004,
        43000,
        55799,
        2**32,
        2**64 - 1,
    ]:  # all that mean something
        yield "", _dump({**header, "samples": cbor2.CBORTag(tag, bytes(12))})
        yield (
            "",
            _dump(
                {**header, "samples": typed, "x-any": cbor2.CBORTag(tag, rng.choice([0, "a", b"b", [1], {}]))}
            ),
        )
    yield "", colliding_keys(5_000)
    for item in (b"\x80", b"\xa0", b"\x40", b"\x60", b"\xe0", b"\xf6", b"\x81\x80", b"\xf9\x3c\x01"):
        yield "", b"\xa1\x63x-a\x99\x4e\x20" + item * 20_000  # small on the wire, large once built
    for depth in (5, 100, 10_000, 100_000):
        yield "", b"\x81" * depth + b"\x00"
        yield "", b"\xa1\x61a" * depth + b"\x00"
        yield "", b"\xd8\x1c" * depth + b"\x80"
    for head in (b"\x5b", b"\x7b", b"\x9b", b"\xbb"):  # eight bytes of length: 2^63 and more
        for size in (2**31, 2**40, 2**63, 2**64 - 1):
            yield "", b"\xa1" + b"\x67samples" + head + struct.pack(">Q", size) + b"abc"
    yield "", b"\xbf\x61a\x01\xff"  # indefinite lengths
    yield "", b"\xa1\x61a\x5f\x41a\x41b\xff"
    yield "", b"\xa2\x61a\x01\x61a\x02"  # a key twice
    yield "", b"\xa1\x01\x02"  # a key that is no text
    yield "", b"\xa1\x61\xff\x01"  # text that is not UTF-8
    yield "", b"\xa1\x63\xed\xa0\x80\x01"  # a lone surrogate
    for dtype in ("<f4", "<i2", "<i4"):
        tag = {"<f4": 85, "<i2": 77, "<i4": 78}[dtype]
        for n in (0, 1, 2, 3, 7, 65_537 * 3):
            yield "", _dump({**header, "samples": cbor2.CBORTag(tag, bytes(n * 2))})
    for bad in (np.nan, np.inf, -np.inf, 1e13, -3e38):
        values = np.zeros((4, 3), dtype="<f4")
        values[rng.randrange(4), rng.randrange(3)] = bad
        yield "", _dump({**header, "samples": cbor2.CBORTag(85, values.tobytes())})


def colliding_keys(n: int) -> bytes:
    """A CBOR map whose keys are lists of two numbers; as tuples in Python all of them have one hash.

    Worked backwards from CPython's hash of tuples (Objects/tupleobject.c): a dict of n of them takes
    n² / 2 comparisons, which is seconds for a message of ordinary size.
    """
    word, modulus = 2**64, 2**61 - 1
    prime1, prime2, prime5 = 11400714785074694791, 14029467366897019727, 2870177450012600261
    wanted = 12_345 * pow(prime1, -1, word) % word
    wanted = (wanted >> 31 | wanted << 33) % word
    body, found, first = [], 0, 0
    while found < n:
        first += 1
        lane = (prime5 + first * prime2) % word
        lane = (lane << 31 | lane >> 33) % word * prime1 % word
        second = (wanted - lane) * pow(prime2, -1, word) % word
        if second < modulus:  # only these are the hash of a number, namely of themselves
            body.append(cbor2.dumps([first, second]) + b"\0")
            found += 1
    return b"\xb9" + struct.pack(">H", n) + b"".join(body)


def _odd_fields() -> Iterator[tuple[str, object]]:
    for name in ("boot", "seq", "t0", "fs", "channels", "units", "scale"):
        for value in (
            None, True, -1, 2**32, 2**63, 2**63 - 1, -(2**63), 2**64, 10**30, 0.5, 1e308, -0.0, 5e-324,
            "", "7", b"7", [], {}, [[]], ["acc_x"] * 3, ["a"] * 300, ["\0", "b", "c"], ["acc_x", "acc_y", 3],
            [1e-13] * 3, [1e7] * 3,
        ):  # fmt: skip
            yield name, value
    for name in ("scales", "", "x-", "x-free", "Samples", "\ud7ff", "a" * 5000):
        yield name, [1, 2, 3]


def _dump(message: dict[str, object]) -> bytes:
    return cbor2.dumps(message)


def _json(rng: random.Random) -> Iterator[Payload]:
    good = json.loads(encode_batch(good_batch(), Encoding.JSON, describe_channels=True))
    for name, value in _odd_fields():
        if not isinstance(value, bytes):
            text = json.dumps({**good, name: value})
            yield "application/json", text.encode()
    rows: list[object] = [
        [], [[]], [[1, 2]], [[1, 2, 3], [1, 2]], [1, 2, 3], "abc", [["1", "2", "3"]], [[None, 1, 2]],
        [[True, 1, 2]],
        [[1e999, 0, 0]], [[10**400, 0, 0]], [[{}, 1, 2]], [[1, 2, 3]] * 65_537, [[0.1] * 257], {"a": 1}, 7,
    ]  # fmt: skip
    for value in rows:
        yield "application/json", json.dumps({**good, "samples": value}).encode()
    for depth in (10, 1_000, 100_000):
        yield "application/json", b"[" * depth + b"]" * depth
        yield "application/json", b'{"a":' * depth + b"1" + b"}" * depth
    for item in (b"[]", b"{}", b'""', b"1e9", b"[[[]]]", b'{"":[]}'):
        yield "application/json", b'{"x-a":[' + b",".join([item] * 20_000) + b"]}"
    yield "application/json", b"{" + b",".join(b'"x-%x":0' % i for i in range(20_000)) + b"}"
    yield "application/json", b'{"boot": ' + b"9" * 100_000 + b"}"
    yield "application/json", b'{"fs": 1' + b"0" * 5_000 + b".0}"
    for text in (
        '{"boot": NaN}',
        '{"boot": -Infinity}',
        '{"a": "\\ud800"}',
        '{"a":1,"a":2}',
        "{",
        '{"a"}',
        "{} {}",
    ):
        yield "", text.encode()
    whole = json.dumps(good)
    for codec in ("utf-16", "utf-32", "utf-8-sig", "utf-7"):
        yield "application/json", whole.encode(codec)
    yield "application/json", b"\xff\xfe" + whole.encode()
    yield "", b" " * 262_145
    yield "", b" " * 262_000 + b"{}"
    for cut in range(0, len(whole), max(1, len(whole) // 60)):
        yield "application/json", whole[:cut].encode()
    for _ in range(40):
        at = rng.randrange(len(whole))
        yield "application/json", (whole[:at] + rng.choice('{}[],:"\\0-eE.') + whole[at + 1 :]).encode()


def _packed(rng: random.Random) -> Iterator[Payload]:
    good = encode_batch(good_batch(dtype="int16"), Encoding.PACKED, describe_channels=False)
    for size in range(72):
        yield "", good[:size]
    for byte in range(256):
        yield "", good[:1] + bytes([byte]) + good[2:]
        yield "", good[:2] + bytes([byte]) + good[3:]
    for rate in (0.0, -1.0, float("nan"), float("inf"), 1e-40, 1e38, 10_001.0):
        yield "", good[:4] + struct.pack("<f", rate) + good[8:]
    for t0 in (2**63 - 1, 2**63, 2**64 - 1, 1, 4_102_444_800_000_000):  # the last is the year 2100
        yield "", good[:16] + struct.pack("<Q", t0) + good[24:]
    yield "", good[:24]
    yield "", good[:24] + bytes(6 * 65_537)
    yield "application/cbor", good
    yield "application/vnd.disc-stream.packed", b"{}"
    yield "", b"\xd5" * rng.randrange(30, 300)


def _anything(rng: random.Random, n: int) -> Iterator[Payload]:
    yield "", b""
    for _ in range(n):
        content_type = rng.choice([*CONTENT_TYPES.values(), "", ""])
        yield content_type, rng.randbytes(rng.choice([1, 2, 24, 25, 100, 5_000]))


def hostile_metas(seed: int = 0) -> list[bytes]:
    """Descriptions that nobody should send."""
    rng = random.Random(seed)
    good = encode_meta(META)
    found = [payload for _, payload in hostile_payloads(seed)[::7]]
    message = json.loads(good)
    for name, value in _odd_fields():
        if not isinstance(value, bytes):
            found.append(json.dumps({**message, name: value}).encode())
    for name in ("schema", "placement", "model", "firmware"):
        found += [
            json.dumps({**message, name: value}).encode() for value in (None, 7, "", "\0", "x" * 201, [], {})
        ]
    for _ in range(300):
        found.append(_flip(rng, good) if rng.random() < 0.7 else _cut(rng, good))
    return found


def hostile_labels(seed: int = 0) -> list[bytes]:
    """Labels that no server makes."""
    rng = random.Random(seed)
    soft = SoftLabel(1, "walking", 0.75)
    label = Label("watch", 7, 12, 1, 2, soft, (soft, soft), soft, 1.5, 0.5, "m", 31, 3)
    good, message = encode_label(label), label_to_dict(label)
    odd: list[object] = [
        None, True, -1, 2**65, 10**4_000, 0.5, 1e308, "", "7", "\ud800", "\0", [], {}, [[]], [{}],
        {"label": 1}, [[[[]]]] * 50, "x" * 10_000,
    ]  # fmt: skip
    found = [payload for _, payload in hostile_payloads(seed)[::7]]
    for name in message:
        found.append(json.dumps({key: value for key, value in message.items() if key != name}).encode())
        found += [json.dumps({**message, name: value}).encode() for value in odd]
    for name in ("label", "name", "confidence"):
        found += [json.dumps({**message, "soft": [{**message["smoothed"], name: v}]}).encode() for v in odd]
    for _ in range(300):
        found.append(_flip(rng, good) if rng.random() < 0.7 else _cut(rng, good))
    found += [
        b'{"schema":"disc-stream.label/1","soft":' + b"[" * 50_000,
        json.dumps(message).encode("utf-16"),
    ]
    found += [good.replace(b"0.75", number) for number in (b"NaN", b"1e999", b"-Infinity", b'"0.75"')]
    return found


def hostile_embeddings(seed: int = 0) -> list[bytes]:
    """Embeddings that no device makes."""
    rng = random.Random(seed)
    values = np.array([[0.5, -1.25, 2.0], [0.75, -1.0, 1.5]], dtype=np.float32)
    good = encode_embeddings(Embeddings("watch", 7, "m", np.array([11, 12], dtype=np.uint32), values))
    message = cbor2.loads(good)
    found = [good, *(payload for _, payload in hostile_payloads(seed)[::7])]
    odd: list[object] = [
        None, True, -1, 2**65, 0.5, float("nan"), "", "x" * 10_000, [], {}, b"", cbor2.CBORTag(70, b"\0"),
        cbor2.CBORTag(84, b"\0\x7c" * 6), cbor2.CBORTag(70, "text"), cbor2.CBORTag(2**40, b"\0" * 8),
    ]  # fmt: skip
    for name in message:
        found.append(_dump({key: value for key, value in message.items() if key != name}))
        found += [_dump({**message, name: value}) for value in odd]
    found += [_dump({**message, "more": value}) for value in odd]
    for _ in range(300):
        found.append(_flip(rng, good) if rng.random() < 0.7 else _cut(rng, good))
    return [*found, colliding_keys(5_000), b"\xbf" + good[1:], good + b"\0"]


HOSTILE_TOPICS = [
    "", "/", "ds/v1", "ds/v1/", "ds/v1//raw", "ds/v1/a/b/raw", "ds/v1/-a/raw", "ds/v1/a b/raw", "ds/v1/a/RAW",
    "ds/v1/$server/raw", "ds/v1/" + "a" * 65 + "/raw", "ds/v1/a\0/raw", "ds/v1/ä/raw", "ds/v2/a/raw", "raw",
    "ds/v1/a/label",
    "ds/v1/../raw", "DS/V1/a/raw", "ds/v1/a/raw/", " ds/v1/a/raw",
]  # fmt: skip
