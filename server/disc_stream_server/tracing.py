"""OpenTelemetry traces of labels, from the message that completed a window to the label's publication.

::

    label ─┬─ wait      in the spool, in the session, for the encoder
           ├─ encode
           ├─ label
           └─ publish   handed to the broker's connection

Off unless ``traces`` names a collector: nothing of OpenTelemetry is imported before. Spans are made for a
share of the windows, chosen at random, and sent by a thread of the library with a bounded queue; what does
not fit is dropped there. They name no device.
"""

from __future__ import annotations

import importlib.util
import random
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from disc_stream import __version__
from disc_stream.errors import ConfigError, MissingExtraError
from disc_stream.stream.values import Labelled
from disc_stream_server.shards import virtual_shard
from disc_stream_server.stages import Mark

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_FLUSH_MS = 2_000


class LabelTraces:
    """Makes spans of labels; an instance is what ``Stages`` tells of them.

    Args:
        provider: of OpenTelemetry's library; makes and exports spans.
        share: of the windows that are traced, 0 to 1.
        seed: of the choice; None for another one each time.
    """

    def __init__(self, provider: TracerProvider, share: float, seed: int | None = None) -> None:
        self._provider, self._share = provider, share
        self._tracer = provider.get_tracer("disc_stream", __version__)
        self._random = random.Random(seed).random  # noqa: S311 - nothing secret

    def __call__(self, labelled: Sequence[Labelled], began_ns: int, marks: Sequence[Mark]) -> None:
        """Labels of one batch were handed to the broker's connection."""
        chosen = [one for one in labelled if self._random() < self._share]
        if not chosen:
            return
        to_unix = time.time_ns() - time.perf_counter_ns()
        borders = [("wait", began_ns + to_unix), *((stage, at + to_unix) for stage, at in marks)]
        for one in chosen:
            self._trace(one, borders, len(labelled))

    def _trace(self, one: Labelled, borders: Sequence[tuple[str, int]], batch: int) -> None:
        from opentelemetry.trace import SpanKind, set_span_in_context

        begin = min(one.ready.received_us * 1000, borders[0][1])  # a clock may have been put back
        label = self._tracer.start_span(
            "label",
            kind=SpanKind.CONSUMER,
            start_time=begin,
            attributes={
                "messaging.system": "mqtt",
                "messaging.batch.message_count": batch,
                "disc_stream.shard": virtual_shard(one.label.device),
                "disc_stream.model": one.label.model,
                "disc_stream.deferred": one.label.deferred,
                "disc_stream.position": one.ready.position,
            },
        )
        within = set_span_in_context(label)
        for name, end in borders:
            self._tracer.start_span(name, context=within, start_time=begin).end(end)
            begin = end
        label.end(begin)

    def close(self) -> None:
        """Send what waits, for two seconds at most."""
        self._provider.force_flush(_FLUSH_MS)
        self._provider.shutdown()


def make_traces(endpoint: str, share: float) -> LabelTraces:
    """Traces that go to a collector by OTLP over HTTP.

    ``OTEL_EXPORTER_OTLP_HEADERS``, ``OTEL_SERVICE_NAME`` and the other variables of OpenTelemetry apply.

    Args:
        endpoint: URL of the collector, such as ``http://127.0.0.1:4318/v1/traces``.
        share: of the windows that are traced.

    Raises:
        MissingExtraError: if OpenTelemetry is not installed.
        ConfigError: if the URL is none.
    """
    check_endpoint(endpoint)
    if importlib.util.find_spec("opentelemetry") is None:
        raise MissingExtraError("otel", "tracing")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    named = Resource.create({"service.version": __version__})
    if str(named.attributes.get("service.name", "")).startswith("unknown_service"):
        named = named.merge(Resource({"service.name": "disc-stream"}))
    provider = TracerProvider(resource=named, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    return LabelTraces(provider, share)


def check_endpoint(endpoint: str) -> None:
    """Check that a collector's URL is one.

    Raises:
        ConfigError: if it is not.
    """
    url = urlsplit(endpoint)
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise ConfigError(
            f"the collector of traces {endpoint!r} is not a URL",
            remedy="Use for example http://127.0.0.1:4318/v1/traces",
        )
