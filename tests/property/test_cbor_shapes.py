"""Messages read by the shape of an earlier one say exactly what they say when they are read item by item."""

from __future__ import annotations

from typing import Any

import cbor2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from disc_stream.errors import PayloadError
from disc_stream.wire.codecs import cbor
from disc_stream.wire.codecs.cbor_shapes import Shapes
from disc_stream.wire.codecs.fields import Fields

NUMBERS = st.one_of(
    st.integers(-(2**16), 2**53), st.floats(width=32), st.floats(), st.sampled_from([0, 23, 24, 255, 256])
)
FURTHER = st.dictionaries(
    st.text("abxyz-", max_size=6).map(lambda name: f"x-{name}"),
    st.one_of(NUMBERS, st.text(max_size=8), st.booleans(), st.lists(st.integers(), max_size=3)),
    max_size=3,
)
DESCRIBED: dict[str, Any] = {"channels": ["a", "b"], "units": ["g", "g"], "scale": [0.5, 1.0]}


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    values = draw(st.lists(st.integers(-100, 100), max_size=12))
    message: dict[str, Any] = {name: draw(NUMBERS) for name in ("boot", "seq", "t0", "fs")}
    message |= draw(FURTHER) | (DESCRIBED if draw(st.booleans()) else {})
    message["samples"] = cbor2.CBORTag(77, np.array(values, dtype="<i2").tobytes())
    return dict(draw(st.permutations(list(message.items()))))


def said(fields: Fields | None) -> object:
    """Everything that the fields say, comparable also where a number is NaN."""
    if fields is None:
        return None
    plain = [repr(one) for one in (fields.boot, fields.seq, fields.t0, fields.fs)]
    return plain, fields.channels, fields.samples.dtype, fields.samples.tolist(), fields.fs_is_float32


def read(payload: bytes) -> object:
    """The same of a message that is read item by item; None if it is refused."""
    try:
        return said(cbor._read(payload))
    except PayloadError:
        return None


@given(messages(), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4))
def test_a_message_of_a_known_shape_says_what_it_says_item_by_item(
    message: dict[str, Any], changes: list[tuple[int, int]]
) -> None:
    payload = cbor2.dumps(message)
    shapes = Shapes()
    shapes.learn(payload, cbor._read(payload))
    assert said(shapes.read(payload)) == read(payload)
    changed = bytearray(payload)
    for at, value in changes:
        changed[at % len(payload)] = value
    found = said(shapes.read(bytes(changed)))
    assert found is None or found == read(bytes(changed))


@given(messages(), messages())
def test_another_message_of_the_same_length_is_not_taken_for_one_of_the_shape(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    first, second = cbor2.dumps(one), cbor2.dumps(other)
    longest = max(len(first), len(second))
    first, second = (
        cbor2.dumps(one | {"x-": "." * (longest - len(raw))}) for one, raw in ((one, first), (other, second))
    )
    shapes = Shapes()
    shapes.learn(first, cbor._read(first))
    found = said(shapes.read(second))
    assert found is None or found == read(second)


def test_numbers_and_samples_may_differ_and_are_read() -> None:
    def payload(seq: int, value: int) -> bytes:
        samples = cbor2.CBORTag(77, np.full(6, value, dtype="<i2").tobytes())
        return cbor2.dumps({"boot": 70_000, "seq": seq, "t0": 2**40 + seq, "fs": 50.0, "samples": samples})

    shapes = Shapes()
    shapes.learn(payload(1_000, 1), cbor._read(payload(1_000, 1)))
    found = shapes.read(payload(2_000, 7))
    assert found is not None
    assert (found.boot, found.seq, found.t0, found.fs) == (70_000, 2_000, 2**40 + 2_000, 50.0)
    assert found.samples.tolist() == [7] * 6
    assert shapes.read(payload(2_000_000, 7)) is None, "its number is wider"


def test_a_shape_that_fits_no_more_gives_way() -> None:
    def payload(name: str) -> bytes:
        samples = cbor2.CBORTag(77, np.zeros(6, dtype="<i2").tobytes())
        return cbor2.dumps({"boot": 1, "seq": 1_000, "t0": 2**40, "fs": 50.0, "samples": samples, name: 1})

    shapes = Shapes()
    shapes.learn(payload("x-a"), cbor._read(payload("x-a")))
    for _ in range(20):
        if shapes.read(payload("x-b")) is None:
            shapes.learn(payload("x-b"), cbor._read(payload("x-b")))
    assert shapes.read(payload("x-b")) is not None
