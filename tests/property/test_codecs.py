"""What must hold for all payloads: every batch comes back, and no bytes bring the decoder down."""

from __future__ import annotations

import json
from collections.abc import Callable

import cbor2
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from disc_stream.errors import PayloadError
from disc_stream.types import Channel, DeviceMeta, SampleBatch
from disc_stream.wire.codecs import (
    CONTENT_TYPES,
    MAX_BYTES,
    REASONS,
    Encoding,
    decode_batch,
    encode_batch,
)
from disc_stream.wire.limits import MAX_T0_US, MAX_UINT32
from disc_stream.wire.meta import decode_meta, encode_meta
from disc_stream.wire.problem import decode_problem
from disc_stream.wire.status import decode_device_status, decode_server_status

# A busy machine is no failure.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
thorough = settings(patient, max_examples=300)

names = st.text("abcXYZ_0-µ.", min_size=1, max_size=8)
scales = st.floats(1e-9, 1e3)
units = st.sampled_from(["g", "m/s2", "rad/s", "µT", "1"])


@st.composite
def channel_tuples(draw: st.DrawFn) -> tuple[Channel, ...]:
    unique = draw(st.lists(names, min_size=1, max_size=5, unique=True))
    return tuple(Channel(name, draw(units), draw(scales)) for name in unique)


@st.composite
def batches(draw: st.DrawFn) -> SampleBatch:
    channels = draw(channel_tuples())
    dtype = draw(st.sampled_from([np.int16, np.int32, np.float32]))
    shape = (draw(st.integers(1, 12)), len(channels))
    elements = (
        st.floats(-(2.0**39), 2.0**39, width=32) if dtype is np.float32 else npst.from_dtype(np.dtype(dtype))
    )
    return SampleBatch(
        "dev",
        boot=draw(st.integers(0, MAX_UINT32)),
        seq=draw(st.integers(0, MAX_UINT32)),
        t0_us=draw(st.integers(0, MAX_T0_US)),
        fs=draw(st.floats(2**-10, 10_000, width=32)),
        channels=channels,
        samples=draw(npst.arrays(dtype, shape, elements=elements)),
    )


@given(batches(), st.sampled_from(Encoding), st.booleans())
@patient
def test_every_batch_comes_back(batch: SampleBatch, encoding: Encoding, describe: bool) -> None:
    payload = encode_batch(batch, encoding, describe_channels=describe)
    meta = None if describe and encoding is not Encoding.PACKED else DeviceMeta(batch.fs, batch.channels)
    got = decode_batch(payload, device="dev", meta=meta)
    assert (got.boot, got.seq, got.t0_us, got.fs) == (batch.boot, batch.seq, batch.t0_us, batch.fs)
    assert got.channels == batch.channels
    # Bit for bit: what a label is computed from does not depend on the encoding.
    assert got.physical().tobytes() == batch.physical().tobytes()


@given(
    batches(), st.sampled_from([b"", b"\xef\xbb\xbf"]), st.text(" \r\n\t\0", max_size=4),
    st.text("\r\n \t", max_size=3),
    st.sampled_from(["", "text/plain", "Application/JSON; charset=utf-8", "application/octet-stream"]),
)  # fmt: skip
@patient
def test_json_of_other_writers_says_the_same(
    batch: SampleBatch, mark: bytes, behind: str, before: str, content_type: str
) -> None:
    """With what they put around it, and without integers: every whole number is a float."""
    message = json.loads(encode_batch(batch, Encoding.JSON, describe_channels=True))
    exact = {
        name: float(message[name]) for name in ("boot", "seq", "t0") if float(message[name]) == message[name]
    }
    payload = mark + before.encode() + json.dumps({**message, **exact}).encode() + behind.encode()
    got = decode_batch(payload, device="dev", content_type=content_type)
    assert (got.boot, got.seq, got.t0_us, got.fs) == (batch.boot, batch.seq, batch.t0_us, batch.fs)
    assert got.physical().tobytes() == batch.physical().tobytes()


@given(batches(), st.sampled_from(Encoding), st.booleans(), st.data())
@thorough
def test_a_damaged_payload_decodes_or_is_refused(
    batch: SampleBatch, encoding: Encoding, describe: bool, data: st.DataObject
) -> None:
    payload = bytearray(encode_batch(batch, encoding, describe_channels=describe))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(payload) - 1))
        match data.draw(st.sampled_from(["change", "cut", "insert"])):
            case "change":
                payload[at] = data.draw(st.integers(0, 255))
            case "cut":
                del payload[max(at, 1) :]
            case "insert":
                payload[at:at] = data.draw(st.binary(max_size=9))
    survives(bytes(payload), DeviceMeta(batch.fs, batch.channels))


@given(st.binary(max_size=200), st.sampled_from(["", *CONTENT_TYPES.values(), "text/plain", "\x00"]))
@thorough
def test_any_bytes_decode_or_are_refused(payload: bytes, content_type: str) -> None:
    survives(payload, META, content_type)
    survives(b"\xd5\x10\x01\x00" + payload, META)
    survives(b"\xa5" + payload, META)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("ab,µ\x00", max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("ab,µ\x00", max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)
FIELDS = ("boot", "seq", "t0", "fs", "channels", "units", "scale", "samples")
META = DeviceMeta(50.0, (Channel("a", "g"),))


@given(st.dictionaries(st.sampled_from(FIELDS), json_values), st.booleans())
@thorough
def test_wrong_values_in_right_fields_are_refused(changes: dict[str, object], in_cbor: bool) -> None:
    message = {"boot": 1, "seq": 1, "t0": 1, "fs": 50, "samples": [[1.0]], **changes}
    if in_cbor and "samples" not in changes:
        message["samples"] = cbor2.CBORTag(77, bytes(2))
    survives(cbor2.dumps(message) if in_cbor else json.dumps(message).encode(), META)


@given(st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
@patient
def test_meta_and_status_refuse_what_they_cannot_read(payload: bytes) -> None:
    for decode in (decode_meta, decode_device_status, decode_server_status, decode_problem):
        assert refusal(lambda decode=decode: decode(payload)) in {None, *REASONS}


@given(channel_tuples(), st.floats(0.1, 10_000), st.text("ab µ✓", max_size=20))
@patient
def test_every_meta_comes_back(channels: tuple[Channel, ...], fs: float, free: str) -> None:
    meta = DeviceMeta(fs, channels, placement=free, model=free, firmware=free)
    assert decode_meta(encode_meta(meta)) == meta


def refusal(call: Callable[[], object]) -> str | None:
    """The reason of the PayloadError that a call raises, or None; other exceptions come through."""
    try:
        call()
    except PayloadError as error:
        return error.reason
    return None


def survives(payload: bytes, meta: DeviceMeta | None, content_type: str = "") -> None:
    """Decodes within the limits, or raises PayloadError with a documented reason; nothing else."""

    def decode() -> SampleBatch:
        return decode_batch(payload, device="dev", content_type=content_type, meta=meta)

    reason = refusal(decode)
    if reason is not None:
        assert reason in REASONS
        return
    got = decode()
    assert len(payload) <= MAX_BYTES
    assert 0 < got.fs <= 10_000
    assert got.samples.shape == (len(got.samples), len(got.channels))
    assert np.isfinite(got.physical()).all()
    for encoding in (Encoding.CBOR, Encoding.JSON):  # what was taken can be said again, and is the same
        again = decode_batch(encode_batch(got, encoding, describe_channels=True), device="dev")
        assert (again.boot, again.seq, again.t0_us, again.fs) == (got.boot, got.seq, got.t0_us, got.fs)
        assert again.channels == got.channels
        assert again.physical().tobytes() == got.physical().tobytes()
