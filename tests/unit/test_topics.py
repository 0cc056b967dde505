"""The topic grammar."""

from __future__ import annotations

import pytest

from disc_stream.errors import TopicError
from disc_stream.wire.topics import Kind, Topics, check_device

TOPICS = Topics()


@pytest.mark.parametrize(
    "device", ["a", "watch-1", "AA:BB:CC:00:11:22", "hapt-exp01-user01", "x" * 64, "7_x.y"]
)
@pytest.mark.parametrize("kind", list(Kind))
def test_topics_are_parsed_as_they_were_made(device: str, kind: Kind) -> None:
    assert TOPICS.parse(TOPICS.of(device, kind)) == (device, kind)


def test_the_server_has_topics_that_no_device_can_have() -> None:
    for topic in (TOPICS.server_status, TOPICS.server_model):
        assert topic.startswith("ds/v1/$server/")
        with pytest.raises(TopicError):
            TOPICS.parse(topic)


def test_only_the_server_s_probe_and_doctor_s_topics_are_tests() -> None:
    assert TOPICS.is_test(TOPICS.reading_probe)
    assert TOPICS.is_test("ds/v1/doctor-1/raw")
    for topic in ("ds/v1/watch/raw", "ds/v1/-/raw", "ds/v1/$server/status", "ds/v0/x/raw", "ds/v2/x/raw"):
        assert not TOPICS.is_test(topic)


def test_filters_match_every_device() -> None:
    assert TOPICS.all_of(Kind.RAW) == "ds/v1/+/raw"
    assert Topics("home").all_of(Kind.LABEL) == "home/+/label"


@pytest.mark.parametrize(
    "device", ["", "a/b", "+", "#", "$sys", "-x", ".x", "ä", "a b", "x" * 65, "a\n", "a\x00"]
)
def test_other_device_ids_are_refused(device: str) -> None:
    with pytest.raises(TopicError, match=r"device id .* is not valid\. Use 1 to 64"):
        check_device(device)


@pytest.mark.parametrize("prefix", ["", "/", "a/", "/a", "a//b", "a/+", "#", "$SYS", "ä"])
def test_other_prefixes_are_refused(prefix: str) -> None:
    with pytest.raises(TopicError, match="topic prefix"):
        Topics(prefix)


@pytest.mark.parametrize(
    ("topic", "says"),
    [
        ("ds/v2/watch/raw", "is not ds/v1/<device>/<kind>"),
        ("ds/v1/watch", "is not ds/v1/<device>/<kind>"),
        ("ds/v1/watch/raw/x", "is not ds/v1/<device>/<kind>"),
        ("ds/v1/watch/cooked", "'cooked', not one of raw, meta, status, label"),
        ("ds/v1/wa tch/raw", "device id 'wa tch' is not valid"),
    ],
)
def test_errors_say_what_is_wrong_with_a_topic(topic: str, says: str) -> None:
    with pytest.raises(TopicError) as caught:
        TOPICS.parse(topic)
    assert says in str(caught.value)
