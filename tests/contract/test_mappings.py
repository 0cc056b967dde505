"""Our mappings by the standards' own libraries: CloudEvents, FHIR, SenML; whatever people call things."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import cbor2
import pycddl
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.v1.event import CloudEvent
from fhir.resources.R4B.bundle import Bundle
from hypothesis import given, settings
from hypothesis import strategies as st

from disc_stream.mappings.cloudevents import CONTENT_TYPE, source_of, to_cloudevent
from disc_stream.mappings.fhir import is_activity, to_bundle, to_observations
from disc_stream.mappings.senml import to_senml
from disc_stream.mappings.times import rfc3339
from disc_stream.wire.event import SCHEMA, Event, EventType, decode_event, encode_event

DAY_US = 1_790_000_000_000_000
TEXTS = st.one_of(
    st.text(max_size=30), st.sampled_from(["walking", "x" * 10_000, "\0\x1b", "<b>&\"'", " ", "Running"])
)
DEVICES = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}\Z")
TIMES = st.integers(-(2**63) + 1, 2**63 - 1)


class Episode(NamedTuple):
    device: str
    begin_us: int
    end_us: int
    goes_on: bool
    cluster: int
    name: str


class Label(NamedTuple):
    device: str
    begin_us: int
    name: str
    confidence: float


EVENTS = st.builds(
    Event, st.just(SCHEMA), st.just("0a1b2c3d-7"), st.integers(1, 2**63 - 1), st.sampled_from(EventType),
    DEVICES, TIMES, st.none() | TIMES, st.none() | TIMES, st.none() | TIMES, TEXTS.filter(str.isprintable),
)  # fmt: skip
EPISODES = st.builds(Episode, DEVICES, TIMES, TIMES, st.booleans(), st.integers(-2, 9), TEXTS)
LABELS = st.builds(Label, DEVICES, TIMES, TEXTS, st.floats(0, 1))


@given(EVENTS, st.text(max_size=20))
def test_cloudevents_own_library_reads_every_event(event: Event, client: str) -> None:
    body = json.dumps(to_cloudevent(event, source_of(client))).encode()
    read = from_http_event(HTTPMessage({"content-type": CONTENT_TYPE}, body))
    assert isinstance(read, CloudEvent)
    assert (read.get_id(), read.get_subject()) == (event.id, event.device)
    assert read.get_type() == f"disc-stream.{event.type}"
    assert decode_event(json.dumps(read.get_data()).encode()) == event == decode_event(encode_event(event))


@pytest.mark.parametrize("field", ["source", "type"])
def test_cloudevents_own_library_refuses_what_lacks_a_field(field: str) -> None:
    event = Event(SCHEMA, "0a1b2c3d-7", 7, EventType.ONLINE, "d", DAY_US)
    wrong = to_cloudevent(event, source_of("s"))
    del wrong[field]
    with pytest.raises(Exception, match=field):
        from_http_event(HTTPMessage({"content-type": CONTENT_TYPE}, json.dumps(wrong).encode()))


@settings(max_examples=25)  # the library takes its time
@given(st.lists(EPISODES, max_size=4))
def test_fhirs_own_library_takes_every_bundle(episodes: list[Episode]) -> None:
    bundle = to_bundle(episodes, "Patient/17")
    Bundle.model_validate(json.loads(json.dumps(bundle)))
    assert len(bundle.get("entry", [])) == 3 * sum(map(is_activity, episodes))


def test_an_episode_is_what_how_long_and_their_group() -> None:
    episode = Episode("watch", DAY_US, DAY_US + 90_000_000, False, 3, "Walking")
    what, took, group = to_observations(episode, "Patient/17")
    assert what["valueCodeableConcept"]["coding"][0]["code"] == "LA11834-1"
    assert took["valueQuantity"] == {
        "value": 1.5, "unit": "minutes", "system": "http://unitsofmeasure.org", "code": "min"
    }  # fmt: skip
    assert [one["reference"] for one in group["hasMember"]] == [
        f"Observation/{one['id']}" for one in (what, took)
    ]
    assert what["effectivePeriod"] == {"start": rfc3339(DAY_US), "end": rfc3339(DAY_US + 90_000_000)}
    assert to_observations(episode, "Patient/17") == [what, took, group], (
        "the same resources when exported again"
    )
    assert (
        "coding" not in to_observations(episode._replace(name="knitting"), "P/1")[0]["valueCodeableConcept"]
    )


def test_what_is_no_activity_is_left_out() -> None:
    one = Episode("watch", 0, 1, False, 3, "walking")
    assert is_activity(one)
    for other in (
        one._replace(goes_on=True), one._replace(cluster=-1), one._replace(cluster=-2),
        one._replace(name="cluster 3"),
    ):  # fmt: skip
        assert not is_activity(other)


def test_fhirs_own_library_refuses_a_wrong_observation() -> None:
    bundle = to_bundle([Episode("watch", 0, 1, False, 3, "walking")], "Patient/17")
    bundle["entry"][0]["resource"]["status"] = 7
    with pytest.raises(ValueError, match="status"):
        Bundle.model_validate(bundle)


# RFC 8428, section 5: the fields of a record and their types, in our own words. pycddl reads CBOR, so records
# are given to it as maps with the names of the JSON form. It takes fields that the schema does not name, and
# two choices at once, so `check_senml` looks at these itself.
SENML = pycddl.Schema("""
pack = [* record]
record = {
  ? "bver": 10, ? "bn": name, ? "bt": numeric, ? "bu": tstr, ? "bv": numeric, ? "bs": numeric,
  ? "n": name, ? "u": unit, ? "t": numeric, ? "ut": numeric,
  ? "v": numeric, ? "vs": tstr, ? "vb": bool, ? "vd": tstr
}
numeric = int / float
name = tstr .regexp "^[A-Za-z0-9][A-Za-z0-9:./_-]*$"
unit = "/"
""")
_VALUES = {"v", "vs", "vb", "vd"}
_FIELDS = {"bver", "bn", "bt", "bu", "bv", "bs", "n", "u", "t", "ut", *_VALUES}


def check_senml(pack: list[dict[str, Any]]) -> None:
    SENML.validate_cbor(cbor2.dumps(pack))
    for record in pack:
        if not record.keys() <= _FIELDS or len(record.keys() & _VALUES) > 1:
            raise pycddl.ValidationError(str(record))


def resolved(pack: list[dict[str, Any]]) -> list[tuple[str, float, Any]]:
    """Names, times and values, as RFC 8428 4.6 resolves them."""
    base, time, out = "", 0.0, []
    for record in pack:
        base, time = record.get("bn", base), record.get("bt", time)
        value = record.get("v", record.get("vs"))
        out.append((base + record["n"], time + record.get("t", 0), value))
    return out


@given(st.lists(LABELS, max_size=6))
def test_every_pack_is_senml_and_says_what_the_labels_do(labels: list[Label]) -> None:
    pack = to_senml(labels)
    check_senml(json.loads(json.dumps(pack)))
    kept = [one for one in labels if one.begin_us >= 2**28 * 10**6]
    found = resolved(pack)
    assert all(time >= 2**28 for _, time, _ in found), "smaller times would be relative to now"
    for label, (name, time, value), (_, _, confidence) in zip(kept, found[::2], found[1::2], strict=True):
        assert name == f"urn:disc-stream:{label.device}:activity"
        assert time == pytest.approx(label.begin_us / 1e6, rel=1e-12)
        assert value == label.name
        assert confidence == pytest.approx(label.confidence, abs=1e-6)


@pytest.mark.parametrize(
    "change", [{"bver": 11}, {"n": "a b"}, {"v": "x"}, {"t": "now"}, {"w": 1}, {"u": "%"}, {"vs": "x"}]
)
def test_the_schema_of_senml_refuses_what_is_none(change: dict[str, Any]) -> None:
    pack = to_senml([Label("watch", DAY_US, "walking", 0.9)])
    with pytest.raises(pycddl.ValidationError):
        check_senml([pack[0], {**pack[1], **change}])


@given(TIMES)
def test_every_time_can_be_written(us: int) -> None:
    assert rfc3339(us).endswith("Z")
