"""From a snapshot to what Prometheus reads, by its own client library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.utils import floatToGoString

from disc_stream import __version__
from disc_stream.wire.status import ServerStatus
from disc_stream_server.metrics import definitions as known
from disc_stream_server.metrics.definitions import PREFIX, Definition
from disc_stream_server.metrics.snapshot import DeviceFacts, Exposition, Snapshot
from disc_stream_server.stages import Distribution

_Values = Mapping[tuple[str, ...], float]


def render_metrics(snapshot: Snapshot | None, accept: str = "") -> Exposition:
    """What Prometheus reads.

    Args:
        snapshot: of the server; None before its first status, when only the process shows.
        accept: the header of the request: the text format, or OpenMetrics where that is asked for.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_SnapshotCollector(snapshot))
    registry.register(_process())
    encode, content_type = choose_encoder(accept)
    return Exposition(content_type, encode(registry))


@cache
def _process() -> ProcessCollector:
    """Processor time, memory and open files of this process, as all Prometheus clients name them."""
    return ProcessCollector(registry=None)


class _SnapshotCollector:
    """The metrics of one snapshot."""

    def __init__(self, snapshot: Snapshot | None) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterable[Metric]:
        """All of them."""
        if self._snapshot is None:
            return
        yield from _state(self._snapshot)
        yield from _counted(self._snapshot.status)
        yield from _timed(self._snapshot)
        yield from _retraining(self._snapshot.status)
        yield from _devices(self._snapshot.devices)


def _state(snapshot: Snapshot) -> Iterator[Metric]:
    status = snapshot.status
    about = InfoMetricFamily(f"{PREFIX}{known.SERVER.name}", known.SERVER.help)
    about.add_metric([], {"version": __version__, "model": status.model, "provider": status.provider})
    yield about
    yield _one(known.READY, snapshot.ready)
    yield _one(known.CONNECTED, snapshot.connected)
    yield _one(known.STARTED, (status.since_us or 0) / 1e6)
    yield _one(known.UPDATED, (status.updated_us or 0) / 1e6)
    yield _one(known.BACKLOG, snapshot.backlog)
    yield _one(known.LIMITED, len(status.limited))


def _counted(status: ServerStatus) -> Iterator[Metric]:
    counters = status.counters
    for name, definition in known.COUNTERS.items():
        if name in counters:
            yield _one(definition, counters[name])
    yield _many(known.REFUSED, {(reason,): count for reason, count in status.rejected.items()})
    yield _many(known.CPU, {name: us / 1e6 for name, us in _beginning(counters, "cpu_us_").items()})
    yield _many(known.CLOCKS, _beginning(counters, "clock_"))
    yield _many(known.PROBLEMS, _beginning(counters, "problem_"))


def _timed(snapshot: Snapshot) -> Iterator[Metric]:
    delays = {str(deferred).lower(): one for deferred, one in snapshot.delays.items()}
    yield _histogram(known.DELAY, delays)
    yield _histogram(known.STAGE, snapshot.stages)


def _retraining(status: ServerStatus) -> Iterator[Metric]:
    facts = status.retraining
    if not facts:
        return
    yield _many(known.PHASE, {(str(facts.get("phase", "")),): 1})
    if facts.get("last"):
        yield _many(known.LAST, {(str(facts["last"]),): 1})
    for name, definition in known.RETRAINING.items():
        if name in facts:
            yield _one(definition, float(facts[name]))


def _devices(devices: Mapping[str, DeviceFacts]) -> Iterator[Metric]:
    if not devices:
        return
    for name, definition in known.DEVICE.items():
        scale = 1e6 if name.endswith("_us") else 1
        yield _many(definition, {(device,): getattr(one, name) / scale for device, one in devices.items()})


def _beginning(counters: Mapping[str, int], prefix: str) -> dict[tuple[str, ...], float]:
    """Counters by what stands behind a prefix of their names."""
    found = {name: value for name, value in counters.items() if name.startswith(prefix)}
    return {(name.removeprefix(prefix),): value for name, value in found.items()}


def _one(definition: Definition, value: float) -> Metric:
    return _many(definition, {(): value})


def _many(definition: Definition, values: _Values) -> Metric:
    kind = CounterMetricFamily if definition.kind == "counter" else GaugeMetricFamily
    family = kind(f"{PREFIX}{definition.name}", definition.help, labels=definition.labels)
    for labels, value in values.items():
        family.add_metric(labels, float(value))
    return family


def _histogram(definition: Definition, values: Mapping[str, Distribution]) -> Metric:
    family = HistogramMetricFamily(f"{PREFIX}{definition.name}", definition.help, labels=definition.labels)
    for label, one in values.items():
        bounds = [*map(floatToGoString, one.bounds), "+Inf"]
        family.add_metric([label], list(zip(bounds, accumulate(one.counts), strict=True)), one.total)
    return family
