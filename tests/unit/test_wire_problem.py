"""The retained problem of a device."""

from __future__ import annotations

import json
from typing import Any

import pytest

from disc_stream.errors import PayloadError
from disc_stream.types import Problem
from disc_stream.wire.problem import decode_problem, encode_problem
from disc_stream.wire.topics import Kind, Topics

PROBLEM = Problem("rate-differs", "fs is 50 Hz and 100 Hz come", 1_700_000_000_000_000, 7, "Correct fs")
GOOD = {"schema": "disc-stream.problem/1", "code": "no-meta", "words": "Send meta.", "since": 5, "count": 1}


def payload(**changes: Any) -> bytes:
    return json.dumps({k: v for k, v in {**GOOD, **changes}.items() if v is not ...}).encode()


def test_a_problem_survives_the_wire() -> None:
    assert decode_problem(encode_problem(PROBLEM)) == PROBLEM
    assert json.loads(encode_problem(PROBLEM)) == {
        "schema": "disc-stream.problem/1",
        "code": "rate-differs",
        "words": "fs is 50 Hz and 100 Hz come",
        "since": 1_700_000_000_000_000,
        "count": 7,
        "remedy": "Correct fs",
    }


def test_an_empty_payload_says_that_it_is_over() -> None:
    assert encode_problem(None) == b""
    assert decode_problem(b"") is None


def test_fields_of_later_versions_are_passed_over() -> None:
    assert decode_problem(payload(channel="acc_x")) == Problem("no-meta", "Send meta.", 5, 1)


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"schema": "disc-stream.problem/2"}, "version", "'disc-stream.problem/2'; this version reads"),
        ({"schema": ...}, "version", "the schema of the problem is missing"),
        ({"code": ...}, "missing", "the field 'code' of the problem is missing"),
        ({"code": "No Meta"}, "range", "code of the problem"),
        ({"words": ""}, "range", "words of the problem"),
        ({"words": "two\nlines"}, "text", "words of the problem must be one line"),
        ({"since": "now"}, "type", "since of the problem must be an integer, got text"),
        ({"since": -1}, "range", "since of the problem must be >= 0"),
        ({"count": 0}, "range", "count of the problem must be >= 1"),
        ({"count": 1.5}, "type", "count of the problem must be an integer, got a number with a fraction"),
    ],
)
def test_a_wrong_one_is_refused_in_words(changes: dict[str, Any], reason: str, words: str) -> None:
    with pytest.raises(PayloadError) as caught:
        decode_problem(payload(**changes))
    assert caught.value.reason == reason
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_its_topic() -> None:
    assert Topics().of("watch-1", Kind.PROBLEM) == "ds/v1/watch-1/problem"
    assert Topics().parse("ds/v1/watch-1/problem") == ("watch-1", Kind.PROBLEM)
