"""Names, kinds and meanings of all metrics; ``docs/reference/metrics.md`` says the same, and is checked.

Base units: seconds, bytes. A counter's name ends in ``_total`` where it is exposed, which is left out here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram", "info"]
PREFIX = "disc_stream_"


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric.

    Args:
        name: without prefix, and without the ``_total`` or ``_info`` that its kind adds.
        kind: of the metric.
        help: what it says, one sentence.
        labels: names of its labels.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()

    @property
    def exposed(self) -> str:
        """The name in queries; a histogram has ``_bucket``, ``_sum`` and ``_count`` behind it."""
        ending = {"counter": "_total", "info": "_info"}.get(self.kind, "")
        return f"{PREFIX}{self.name}{ending}"


SERVER = Definition(
    "server", "info", "What runs: version of disc-stream, of the model, what runs the model.",
    ("version", "model", "provider"),
)  # fmt: skip
READY = Definition("ready", "gauge", "1 if messages become labels now (as /readyz says), else 0.")
CONNECTED = Definition("broker_connected", "gauge", "1 if both connections to the broker are there, else 0.")
STARTED = Definition("start_time_seconds", "gauge", "When the server was started, Unix time.")
UPDATED = Definition("status_time_seconds", "gauge", "When these figures were taken, Unix time.")
BACKLOG = Definition("backlog_messages", "gauge", "Messages in the spool that wait to be labelled.")
REFUSED = Definition("messages_refused", "counter", "Messages that cannot be used, by reason.", ("reason",))
CPU = Definition("cpu_seconds", "counter", "Processor time, by stage.", ("stage",))
PROBLEMS = Definition(
    "devices_with_problem", "gauge", "Devices without labels now, by the code of their problem.", ("code",)
)
CLOCKS = Definition("clock_faults", "counter", "Clocks that did what they should not, by fault.", ("fault",))
LIMITED = Definition("devices_limited", "gauge", "Devices that send more than they may now, up to 20.")
STAGE = Definition(
    "stage_duration_seconds", "histogram", "How long one call of a stage took, by stage.", ("stage",)
)
DELAY = Definition(
    "label_delay_seconds", "histogram",
    "From the receipt of the message that completed a window to its label; deferred: true or false.",
    ("deferred",),
)  # fmt: skip
PHASE = Definition("retraining_phase", "gauge", "1 for the phase that a retraining is in.", ("phase",))
LAST = Definition("retraining_last", "gauge", "1 for what came of the last retraining.", ("outcome",))
RETRAINING = {
    "windows": Definition("retraining_new_windows", "gauge", "Windows since the newest version."),
    "devices": Definition("retraining_new_devices", "gauge", "Devices that are new since then."),
}
DEVICE = {
    "batches": Definition("device_batches", "counter", "Batches of a device that were taken.", ("device",)),
    "labels": Definition("device_labels", "counter", "Labels of a device.", ("device",)),
    "heard_us": Definition(
        "device_heard_time_seconds", "gauge", "When a device's last batch was taken, Unix time.", ("device",)
    ),
    "labelled_us": Definition(
        "device_labelled_time_seconds", "gauge", "When its last label was made, Unix time.", ("device",)
    ),
}
"""With ``metrics_devices`` only."""


def _counter(name: str, help: str) -> Definition:  # noqa: A002 - as Prometheus calls it
    return Definition(name, "counter", help)


def _gauge(name: str, help: str) -> Definition:  # noqa: A002
    return Definition(name, "gauge", help)


COUNTERS: dict[str, Definition] = {
    # the receiving process
    "received": _counter("messages_received", "Messages from the broker, repetitions included."),
    "received_bytes": _counter("received_bytes", "Payloads of those."),
    "groups": _counter("spool_commits", "Transactions in which messages became durable."),
    "retries": _counter("spool_failures", "Transactions that failed for want of space, and were repeated."),
    "turned_away": _counter("messages_turned_away", "Messages of QoS 0 that came too fast, and are lost."),
    "sessions_lost": _counter("broker_sessions_lost", "Connections on which the broker had lost our queue."),
    "takeovers": _counter("broker_takeovers", "Connections that ended because another client had our id."),
    "retained": _counter("messages_retained", "Retained samples, which are passed over."),
    "probes": _counter("broker_probes", "Messages of the server to itself that came back."),
    "limited": _counter("messages_delayed", "Messages that waited, for their device sent more than it may."),
    "over_quota": _counter("messages_over_quota", "Messages refused, for too many of their device waited."),
    "waiting": _gauge("messages_waiting", "Messages that wait now, for their device sent more than it may."),
    "receiver_restarts": _counter("receiver_restarts", "Times the receiving process was started again."),
    # from the spool to windows
    "messages": _counter("messages_read", "Messages read from the spool, repetitions and refused included."),
    "bytes": _counter("read_bytes", "Payloads of those."),
    "metas": _counter("descriptions", "Descriptions of devices among them."),
    "batches": _counter("batches", "Sample batches taken."),
    "boots": _counter("boots", "First batches of a boot."),
    "gaps": _counter("gaps", "Places where batches are missing."),
    "missing": _counter("batches_missing", "Batches missing there."),
    "duplicates": _counter("batches_duplicate", "Batches that came again, and are passed over."),
    "late": _counter("batches_late", "Batches that came after their place was declared a gap."),
    "reordered": _counter("batches_reordered", "Batches that waited for one before them."),
    "stray": _counter("batches_stray", "Batches far from all others of their device, which are dropped."),
    "breaks": _counter("clock_breaks", "Places where a device's clock says that samples are missing."),
    "bridged": _counter("gaps_bridged", "Gaps that were filled by straight lines."),
    "contested": _counter("batches_contested", "Batches whose times contradict the declared rate."),
    "joined": _counter("batches_joined", "Batches made of messages of several sensors."),
    "evicted": _counter("devices_evicted", "Devices that left the memory."),
    "restored": _counter("devices_restored", "Devices that came back into it."),
    "devices": _gauge("devices", "Devices in memory."),
    # labels
    "windows": _counter("windows", "Windows labelled or deferred."),
    "labels": _counter("labels", "Labels published."),
    "failed": _counter("windows_failed", "Windows that the encoder could not use."),
    "deferred": _gauge("windows_deferred", "Windows whose labels are deferred, and not made yet."),
    "windows_waiting": _gauge("windows_waiting", "Windows that wait for the encoder."),
    "refused": _counter("publishes_refused", "Messages of ours that the broker refused."),
    "spooled": _gauge("spool_position", "Position of the newest message in the spool."),
    "checkpoint": _gauge("checkpoint_position", "Position up to which everything is labelled and on disk."),
    # the machine
    "memory_bytes": _gauge("memory_bytes", "Memory of both processes."),
    "memory_limit_bytes": _gauge("memory_limit_bytes", "What they may take (memory_mb)."),
}
"""By name of a counter of the server's status."""

LEFT_OUT = {
    "queue": "backlog_messages says it",
    "empty": "messages_refused says it",
}
"""Counters of the status that no metric shows, and why."""


def all_definitions() -> list[Definition]:
    """Every metric of ours, those of single devices at the end."""
    return [
        SERVER, READY, CONNECTED, STARTED, UPDATED, BACKLOG, *COUNTERS.values(), REFUSED, CLOCKS, PROBLEMS,
        LIMITED, DELAY, STAGE, CPU, PHASE, LAST, *RETRAINING.values(), *DEVICE.values(),
    ]  # fmt: skip
