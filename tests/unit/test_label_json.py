"""Label messages."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from disc_stream.errors import PayloadError
from disc_stream.types import Label, SoftLabel
from disc_stream.wire.label import decode_label, encode_label, label_to_dict

LABEL = Label(
    device="watch-1",
    boot=7,
    window=12,
    t0_us=30_720_000,
    t1_us=33_280_000,
    best=SoftLabel(2, "walking", 0.75),
    soft=(SoftLabel(2, "walking", 0.75), SoftLabel(0, "sitting", 0.25)),
    smoothed=SoftLabel(0, "sitting", 0.6),
    distance=1.5,
    novelty=0.5,
    model="0123456789ab",
    seq=31,
    published_us=1_700_000_000_000_000,
)


def test_a_label_survives_the_wire() -> None:
    assert decode_label(encode_label(LABEL)) == LABEL


def test_how_far_the_centroids_followed_survives_the_wire() -> None:
    found = msgspec.structs.replace(LABEL, adapted=0.4)
    assert decode_label(encode_label(found)) == found
    assert label_to_dict(found)["adapted"] == 0.4
    assert "adapted" not in label_to_dict(LABEL)


def test_the_message_is_this() -> None:
    """Listeners outside this repository rely on these names."""
    assert label_to_dict(LABEL) == {
        "schema": "disc-stream.label/1",
        "device": "watch-1",
        "boot": 7,
        "window": 12,
        "t0": 30_720_000,
        "t1": 33_280_000,
        "label": 2,
        "name": "walking",
        "confidence": 0.75,
        "soft": [
            {"label": 2, "name": "walking", "confidence": 0.75},
            {"label": 0, "name": "sitting", "confidence": 0.25},
        ],
        "smoothed": {"label": 0, "name": "sitting", "confidence": 0.6},
        "distance": 1.5,
        "novelty": 0.5,
        "model": "0123456789ab",
        "seq": 31,
        "published": 1_700_000_000_000_000,
    }


def test_unknown_novelty_is_null() -> None:
    label = decode_label(json.dumps(label_to_dict(LABEL) | {"novelty": None}).encode())
    assert label.novelty is None


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"{}",
        json.dumps(label_to_dict(LABEL) | {"schema": "disc-stream.label/9"}).encode(),
        json.dumps(label_to_dict(LABEL) | {"t0": "soon"}).encode(),
        json.dumps(label_to_dict(LABEL) | {"soft": 3}).encode(),
        json.dumps(label_to_dict(LABEL) | {"smoothed": {}}).encode(),
        b"[" * 100_000,
    ],
)
def test_anything_else_is_refused(payload: bytes) -> None:
    with pytest.raises(PayloadError) as caught:
        decode_label(payload)
    assert caught.value.reason == "label"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schema": "disc-stream.label/9"}, "the schema of the label is 'disc-stream.label/9'"),
        ({"t0": "soon"}, "t0 of the label must be an integer, got text"),
        ({"boot": -1}, "boot of the label must be >= 0"),
        ({"soft": [{"label": 1, "name": "a"}]}, "the field 'soft[0].confidence' of the label is missing"),
        ({"novelty": "high"}, "novelty of the label must be a number or null, got text"),
    ],
)
def test_a_refusal_names_the_field(changes: dict[str, object], words: str) -> None:
    with pytest.raises(PayloadError) as caught:
        decode_label(json.dumps(label_to_dict(LABEL) | changes).encode())
    assert words in caught.value.message


def test_fields_of_later_versions_are_passed_over() -> None:
    assert decode_label(json.dumps(label_to_dict(LABEL) | {"mood": "good"}).encode()) == LABEL


def test_the_bytes_and_the_dictionary_say_the_same() -> None:
    full = msgspec.structs.replace(LABEL, t0_unix_us=-5, bridged=True, deferred=True, novelty=None)
    for label in (LABEL, full, msgspec.structs.replace(LABEL, best=SoftLabel(1, "Gehen zu Fuß ✓", 1 / 3))):
        assert json.loads(encode_label(label)) == label_to_dict(label)
    assert decode_label(encode_label(full)) == full


def test_what_is_not_finite_is_refused_by_readers() -> None:
    """The server goes on; whoever reads the label is told which number is missing."""
    broken = encode_label(msgspec.structs.replace(LABEL, distance=float("nan")))
    with pytest.raises(PayloadError, match="distance of the label must be a number, got null"):
        decode_label(broken)


@given(st.binary(max_size=200))
def test_no_bytes_cause_another_exception(payload: bytes) -> None:
    with pytest.raises(PayloadError):
        decode_label(payload)
