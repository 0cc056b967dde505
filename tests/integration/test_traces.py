"""Traces of labels, as a collector receives them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from disc_stream.config import ServeConfig
from disc_stream.errors import ConfigError
from disc_stream_server.tracing import check_endpoint
from tests.integration.conftest import StartServer
from tests.support.device import REST, Sender, constant, make_batch
from tests.support.listener import Listener


class Collector:
    """Takes spans by OTLP over HTTP."""

    def __init__(self) -> None:
        collector = self
        self.requests: list[ExportTraceServiceRequest] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    import gzip

                    body = gzip.decompress(body)
                collector.requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/traces"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def spans(self) -> list[Any]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()


@pytest.mark.broker
def test_a_trace_spans_a_label_from_its_message_to_its_publication(
    start_server: StartServer, sender: Sender, listener: Listener, collector: Collector
) -> None:
    server = start_server(traces=collector.url, traces_share=1.0)
    for seq in range(3):
        sender.send(make_batch("watch-17", seq, constant(REST, 8)))
    listener.wait_for_labels(3)
    assert server.stop()  # sends what waits
    spans = collector.spans
    labels = [span for span in spans if span.name == "label" and not span.parent_span_id]
    assert len(labels) == 3
    for label in labels:
        parts = sorted(
            (span for span in spans if span.parent_span_id == label.span_id),
            key=lambda span: span.start_time_unix_nano,
        )
        assert [span.name for span in parts] == ["wait", "encode", "label", "publish"]
        assert {span.trace_id for span in parts} == {label.trace_id}
        borders = [parts[0].start_time_unix_nano, *(span.end_time_unix_nano for span in parts)]
        assert borders == sorted(borders)
        assert (label.start_time_unix_nano, label.end_time_unix_nano) == (borders[0], borders[-1])
        values = {one.key: one.value for one in label.attributes}
        assert values["messaging.system"].string_value == "mqtt"
        assert values["disc_stream.model"].string_value == listener.labels[0].model
    text = b"".join(request.SerializeToString() for request in collector.requests)
    assert b"watch-17" not in text, "traces name no device"
    assert b"disc-stream" in text, "the service's name"


@pytest.mark.broker
def test_a_collector_that_is_not_there_delays_no_label(
    start_server: StartServer, sender: Sender, listener: Listener, collector: Collector
) -> None:
    collector.server.shutdown()
    collector.server.server_close()
    start_server(traces=collector.url, traces_share=1.0)
    for seq in range(3):
        sender.send(make_batch("watch", seq, constant(REST, 8)))
    listener.wait_for_labels(3, timeout=30)


@pytest.mark.parametrize("url", ["localhost:4318", "grpc://127.0.0.1:4317", "http://"])
def test_what_is_no_collector_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="is not a URL"):
        check_endpoint(url)
    with pytest.raises(ValueError, match="less than or equal to 1"):
        ServeConfig(collect=True, traces_share=1.5)


def test_nothing_of_it_is_imported_without_the_setting() -> None:
    code = (
        "import sys, disc_stream_server.app, disc_stream_server.service;"
        "print(sorted(name for name in sys.modules if name.partition('.')[0] in"
        " {'opentelemetry', 'prometheus_client', 'requests', 'google'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
