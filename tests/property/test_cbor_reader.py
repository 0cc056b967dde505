"""Our reader of CBOR against a library's: what both take, they read alike, and ours takes no more."""

from __future__ import annotations

import io
import math
from typing import Any

import cbor2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from disc_stream.errors import PayloadError
from disc_stream.wire.codecs import cbor, decode_batch
from disc_stream.wire.codecs.cbor_items import read_list, read_plain, skip
from disc_stream.wire.codecs.fields import ABSENT
from tests.support.hostile import hostile_payloads

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=300)

plain = (
    st.integers(-(2**64), 2**64 - 1)
    | st.floats()
    | st.floats(width=16)
    | st.text(max_size=300)
    | st.sampled_from([None, True, False])
)
items = st.recursive(
    plain | st.binary(max_size=300),
    lambda inner: (
        st.lists(inner, max_size=30)
        | st.dictionaries(st.text(max_size=30) | st.integers(-(2**64), 2**64 - 1), inner, max_size=30)
    ),
    max_leaves=60,
)
typed_arrays = st.builds(
    lambda tag, n: cbor2.CBORTag(tag, bytes(range(256)) * 4 * n),
    st.sampled_from([77, 78, 85]),
    st.integers(0, 70),
)


@given(items, st.binary(max_size=5), st.booleans())
@patient
def test_an_item_ends_where_it_ends(item: Any, behind: bytes, canonical: bool) -> None:
    data = cbor2.dumps(item, canonical=canonical)
    assert skip(data + behind, 0) == len(data)
    assert skip(behind + data, len(behind)) == len(behind) + len(data)


@given(plain)
@patient
def test_plain_values_come_back(value: Any) -> None:
    data = cbor2.dumps(value)
    got, end = read_plain(data + b"\x01", 0)
    assert end == len(data)
    assert same(got, value)
    assert type(got) is type(value)


@given(st.lists(plain, max_size=40))
@patient
def test_lists_of_plain_values_come_back(values: list[Any]) -> None:
    got = read_list(cbor2.dumps(values))
    assert len(got) == len(values)
    assert all(map(same, got, values))


fields = st.fixed_dictionaries(
    {},
    optional={
        "boot": items,
        "seq": plain,
        "t0": plain,
        "fs": plain,
        "samples": typed_arrays | items,
        "x-any": items,
        "x-" + "long" * 80: plain,
    },
)


@given(fields, st.booleans(), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=2))
@patient
def test_ours_takes_no_more_than_the_library_and_reads_it_alike(
    message: dict[str, Any], canonical: bool, changes: list[tuple[int, int]]
) -> None:
    payload = bytearray(cbor2.dumps(message, canonical=canonical))
    for at, byte in changes:
        payload[at % len(payload)] = byte
    compare(bytes(payload))


def test_hostile_payloads_are_read_alike() -> None:
    taken = sum(compare(payload) for _, payload in hostile_payloads() if payload[:1] >= b"\xa0")
    assert taken > 100


def compare(payload: bytes) -> bool:
    """Whether ours takes it; if so, the library agrees on everything that is not passed over."""
    try:
        ours = cbor.decode(payload)
    except PayloadError as error:
        assert_refused_for_a_cause(payload, error)
        return False
    theirs = by_the_library(payload)
    if theirs is None:  # what is passed over need not be valid, as long as its end is known
        assert b"x-" in payload
        return True
    assert isinstance(theirs, dict)
    for name, value in (("boot", ours.boot), ("seq", ours.seq), ("t0", ours.t0), ("fs", ours.fs)):
        if name not in theirs:
            assert value is ABSENT
        elif isinstance(theirs[name], (bytes, list, dict)):
            assert value == type(theirs[name])()
        elif isinstance(theirs[name], (cbor2.CBORSimpleValue, type(cbor2.undefined))):
            assert type(value) is object
        else:
            assert same(value, theirs[name])
    samples = theirs["samples"]
    assert samples.tag == {"int16": 77, "int32": 78, "float32": 85}[ours.samples.dtype.name]
    assert samples.value == ours.samples.tobytes()
    return True


def assert_refused_for_a_cause(payload: bytes, error: PayloadError) -> None:
    """What ours calls malformed, the library refuses too, or it is not of definite length, or no such map."""
    if error.reason != "malformed":
        return
    theirs = by_the_library(payload)
    assert theirs is None or not isinstance(theirs, dict) or any(type(key) is not str for key in theirs)


def by_the_library(payload: bytes) -> Any:
    """What the library reads under our rules; None if it refuses."""
    source = io.BytesIO(payload)
    decoder = cbor2.CBORDecoder(source, allow_indefinite=False, allow_duplicate_keys=False)
    try:
        message = decoder.decode()
    except (cbor2.CBORDecodeError, ValueError, OverflowError, RecursionError):
        return None
    try:
        decoder.read(1)
    except cbor2.CBORDecodeEOF:
        return message
    return None


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isnan(other):
        return math.isnan(one)
    return bool(one == other)


def describing(channels: list[str], units: str = "g") -> bytes:
    samples = cbor2.CBORTag(77, bytes(2 * 12 * len(channels)))
    message = {"boot": 1, "seq": 2, "t0": 3, "fs": 50.0, "channels": channels, "units": units}
    return cbor2.dumps({**message, "samples": samples})


LONG = [f"acceleration_{axis}" for axis in "xyz"]


def test_equal_descriptions_give_the_same_tuple() -> None:
    first, second = (decode_batch(describing(LONG), device=device).channels for device in ("a", "b"))
    assert first is second
    assert decode_batch(describing(LONG, "mg"), device="a").channels != first


def test_a_list_that_was_cut_off_is_not_remembered_as_the_whole() -> None:
    """Or a stranger could have others' messages refused."""
    names = [f"poisoned_{axis}" for axis in "xyz"]
    whole = describing(names)
    end = whole.index(b"poisoned_z")
    for cut in range(end - 15, end + 10):
        with pytest.raises(PayloadError) as caught:
            decode_batch(whole[:cut], device="stranger")
        assert caught.value.reason == "malformed"
    assert [channel.name for channel in decode_batch(whole, device="a").channels] == names


def test_lists_that_begin_alike_are_told_apart() -> None:
    for n in (2, 3, 4, 3, 2):
        names = [f"acceleration_{i}" for i in range(n)]
        got = decode_batch(describing(names), device="a")
        assert [channel.name for channel in got.channels] == names
        assert got.samples.shape == (12, n)


def test_what_is_remembered_has_its_limits() -> None:
    for i in range(3 * cbor._MOST_KNOWN):
        decode_batch(describing([f"channel_{i}_{j}" for j in range(3)]), device="a")
    assert len(cbor._tuples) <= cbor._MOST_KNOWN
    assert len(cbor._lists) <= cbor._MOST_KNOWN
    decode_batch(describing([f"wide_{i}" for i in range(200)]), device="a")
    assert max(map(len, cbor._tuples.values())) <= cbor._MOST_CHANNELS
    assert max(map(len, cbor._lists.values())) <= cbor._MOST_BYTES
