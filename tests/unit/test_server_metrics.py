"""What Prometheus is shown: rendered by its library, read back by its own parser."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from disc_stream.clock import ManualClock
from disc_stream.config import ServeConfig
from disc_stream.errors import ConfigError
from disc_stream.wire.status import ServerStatus, State
from disc_stream_server.api.parts import Parts
from disc_stream_server.exposing import Exposure, check_addresses
from disc_stream_server.metrics import definitions as known
from disc_stream_server.metrics.devices import DeviceBook
from disc_stream_server.metrics.rendering import render_metrics
from disc_stream_server.metrics.snapshot import DeviceFacts, Snapshot
from disc_stream_server.stages import DELAY_BOUNDS_S, Histogram
from tests.support.device import REST, constant, make_batch
from tests.support.shown import label

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


def snapshot(**facts: object) -> Snapshot:
    """One in which every metric shows."""
    status = ServerStatus(
        State.ONLINE,
        since_us=1_000_000,
        updated_us=3_500_000,
        model="m1",
        provider="cpu",
        counters={
            **dict.fromkeys(known.COUNTERS, 7), "cpu_us_encode": 2_500_000, "clock_frozen": 1,
            "problem_gap": 4,
        },
        rejected={"truncated": 3},
        limited={"watch": {"waiting": 1}},
        retraining={"phase": "train", "last": "promoted", "windows": 12, "devices": 2, "due": 0},
    )  # fmt: skip
    delays = Histogram(DELAY_BOUNDS_S)
    for seconds in (0.004, 0.01, 0.3, 7200.0):
        delays.add(seconds)
    shown = {"delays": {False: delays.distribution()}, "stages": {"encode": delays.distribution()}}
    return Snapshot(status, connected=True, backlog=9, ready=True, **{**shown, **facts})  # type: ignore[arg-type]


def values(body: bytes) -> Mapping[str, float]:
    """By name and labels, as in the text."""
    found = {}
    for family in read_text(body.decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def test_figures_are_those_of_the_snapshot_in_base_units() -> None:
    shown = values(render_metrics(snapshot()).body)
    assert shown["disc_stream_ready{}"] == 1
    assert shown["disc_stream_backlog_messages{}"] == 9
    assert shown["disc_stream_labels_total{}"] == 7
    assert shown["disc_stream_cpu_seconds_total{stage=encode}"] == 2.5
    assert shown["disc_stream_start_time_seconds{}"] == 1.0
    assert shown["disc_stream_status_time_seconds{}"] == 3.5
    assert shown["disc_stream_messages_refused_total{reason=truncated}"] == 3
    assert shown["disc_stream_clock_faults_total{fault=frozen}"] == 1
    assert shown["disc_stream_devices_with_problem{code=gap}"] == 4
    assert shown["disc_stream_devices_limited{}"] == 1
    assert shown["disc_stream_retraining_phase{phase=train}"] == 1
    assert shown["disc_stream_retraining_last{outcome=promoted}"] == 1


def test_a_histogram_counts_what_is_at_most_each_bound() -> None:
    shown = values(render_metrics(snapshot()).body)
    bucket = "disc_stream_label_delay_seconds_bucket{deferred=false,le=%s}"
    assert [shown[bucket % le] for le in ("0.01", "0.25", "0.5", "3600.0", "+Inf")] == [2, 2, 3, 3, 4]
    assert shown["disc_stream_label_delay_seconds_sum{deferred=false}"] == pytest.approx(7200.314)
    assert shown["disc_stream_label_delay_seconds_count{deferred=false}"] == 4


def test_both_forms_are_valid_and_openmetrics_is_given_where_it_is_asked_for() -> None:
    plain, open_ = render_metrics(snapshot()), render_metrics(snapshot(), OPENMETRICS)
    assert plain.content_type.startswith("text/plain")
    assert open_.content_type.startswith("application/openmetrics-text")
    names = {family.name for family in read_openmetrics(open_.body.decode())}
    assert {"disc_stream_labels", "disc_stream_server", "process_cpu_seconds"} <= names


def test_no_device_is_named_unless_somebody_asks_for_it() -> None:
    assert b"watch" not in render_metrics(snapshot()).body
    devices = {"watch": DeviceFacts(3, 1, 5_000_000, 6_000_000)}
    shown = values(render_metrics(snapshot(devices=devices)).body)
    assert shown["disc_stream_device_batches_total{device=watch}"] == 3
    assert shown["disc_stream_device_heard_time_seconds{device=watch}"] == 5


def test_before_the_first_status_there_is_the_process_and_nothing_is_made_up() -> None:
    shown = values(render_metrics(None).body)
    assert shown["process_open_fds{}"] > 0
    assert not any(name.startswith("disc_stream_") for name in shown)


def test_every_metric_is_rendered_and_documented_and_no_other() -> None:
    devices = {"watch": DeviceFacts(3, 1, 5_000_000, 6_000_000)}
    body = render_metrics(snapshot(devices=devices)).body.decode()
    rendered = set(re.findall(r"^# TYPE (disc_stream_\w+) ", body, re.MULTILINE))
    defined = {one.exposed: one for one in known.all_definitions()}
    assert rendered == set(defined)
    rows = re.findall(
        r"^\| `(disc_stream_\w+)` \| (\w+) \| (.*?) \| (.+?) \|$", PAGE.read_text(), re.MULTILINE
    )
    assert {name: (kind, labels, help_) for name, kind, labels, help_ in rows} == {
        name: (one.kind, ", ".join(f"`{label}`" for label in one.labels), one.help)
        for name, one in defined.items()
    }


def test_a_device_book_keeps_those_that_were_heard_last() -> None:
    clock = ManualClock(10)
    book = DeviceBook(2, clock)
    for device in ("a", "b", "a", "c"):
        book.on_batch(make_batch(device, 0, constant(REST, 8)))
    book.on_label(label(0, device="a"))
    book.on_label(label(0, device="b"))  # left to make room
    assert book.shown() == {}, "nothing before a status"
    book.on_status({})
    assert {device: (one.batches, one.labels) for device, one in book.shown().items()} == {
        "a": (2, 1),
        "c": (1, 0),
    }
    book.on_forget("a")
    assert set(book.shown()) == {"c"}, "an erased device is gone at once"


class Quiet:
    """A server that has not said anything yet."""

    def waits_for(self) -> str | None:
        return "its first status"

    def snapshot(self) -> Snapshot | None:
        return None


def test_an_address_of_its_own_needs_no_page() -> None:
    import http.client

    config = ServeConfig(collect=True, http=None, metrics_bind="127.0.0.1:0")
    exposure = Exposure(config, Quiet(), Parts(ready=Quiet().waits_for), ManualClock(0))
    exposure.start()
    try:
        assert exposure.page is None
        url = exposure.metrics_url or ""
        answers = {}
        for path, host in (("/metrics", None), ("/", None), ("/metrics", "elsewhere.example")):
            connection = http.client.HTTPConnection(url.removeprefix("http://").removesuffix("/metrics"))
            connection.request("GET", path, headers={"Host": host} if host else {})
            answer = connection.getresponse()
            answers[path, host] = answer.status, answer.read()
            connection.close()
        assert answers["/metrics", None][0] == 200
        assert b"process_cpu_seconds_total" in answers["/metrics", None][1]
        assert answers["/", None][0] == 404
        assert answers["/metrics", "elsewhere.example"][0] == 421, "a name that was made to lead here"
    finally:
        exposure.stop()
        exposure.stop()


def test_devices_are_not_named_to_a_whole_network() -> None:
    check_addresses(ServeConfig(collect=True, metrics_bind="127.0.0.1:9464", metrics_devices=5))
    check_addresses(ServeConfig(collect=True, metrics_bind="0.0.0.0:9464"))
    with pytest.raises(ConfigError, match="would be open to everybody"):
        check_addresses(ServeConfig(collect=True, metrics_bind="0.0.0.0:9464", metrics_devices=5))
    with pytest.raises(ConfigError, match="HOST:PORT"):
        check_addresses(ServeConfig(collect=True, metrics_bind="9464"))
