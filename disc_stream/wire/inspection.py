"""What a payload is and what would be refused, for whoever writes a device: ``disc-stream wire check``."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from disc_stream.errors import PayloadError
from disc_stream.types import Channel, DeviceMeta, SampleBatch
from disc_stream.wire.activity import SCHEMA as ACTIVITY_SCHEMA
from disc_stream.wire.activity import decode_activity
from disc_stream.wire.codecs import Encoding, decode_batch, encoding_of
from disc_stream.wire.codecs.json_text import BYTE_ORDER_MARK, load_object, trimmed
from disc_stream.wire.embedding import SCHEMA as EMBEDDING_SCHEMA
from disc_stream.wire.embedding import decode_embeddings, schema_of
from disc_stream.wire.event import SCHEMA as EVENT_SCHEMA
from disc_stream.wire.event import decode_event, event_to_dict
from disc_stream.wire.label import SCHEMA as LABEL_SCHEMA
from disc_stream.wire.label import decode_label, label_to_dict
from disc_stream.wire.meta import SCHEMA as META_SCHEMA
from disc_stream.wire.meta import decode_meta
from disc_stream.wire.problem import SCHEMA as PROBLEM_SCHEMA
from disc_stream.wire.problem import decode_problem
from disc_stream.wire.servermodel import SCHEMA as MODEL_SCHEMA
from disc_stream.wire.servermodel import decode_model, model_message_to_dict
from disc_stream.wire.status import DEVICE_SCHEMA, SERVER_SCHEMA, decode_device_status, decode_server_status

REMEDIES: dict[str, str] = {
    "empty": "Send something; an empty retained meta withdraws the description",
    "oversized": "Send fewer rows in each message",
    "encoding": "Send no content type, or that of CBOR, packed or JSON, and bytes that begin as it does",
    "malformed": "Check the program that writes it with a CBOR or JSON library",
    "truncated": "Send the header of 24 bytes and whole rows: channels x size of a sample x rows",
    "version": "Use the version and sample types, or the schema, that docs/reference/wire.md names",
    "missing": "Add the field",
    "unknown-field": "Correct the name, or let it begin with x- to be ignored",
    "type": "Send the field with the type that docs/reference/wire.md names",
    "range": "Keep within the limits of docs/reference/wire.md",
    "channels": "Send one name, unit and scale for each channel, no name twice",
    "text": "Use printable characters on one line, within the length",
    "shape": "Send one value per channel in each row",
    "no-meta": "Send channels and units in the message, or a retained meta; here: --meta FILE",
    "meta-mismatch": "Let meta and messages have the same number of channels",
    "non-finite": "Leave samples out that are NaN or infinite, or send the last good value",
    "label": "Write it as docs/reference/wire.md shows",
}
"""What to do about each reason of the codecs."""

_UNIX_FROM_US, _UNIX_TO_US = 1_400_000_000_000_000, 4_102_444_800_000_000  # 2014 to 2100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CLOCK_UNITS = {"microseconds": 1_000, "milliseconds": 1_000_000, "seconds": 10**9, "nanoseconds": 1}


@dataclass(frozen=True, slots=True)
class Report:
    """What was found.

    Args:
        kind: ``sample batch``, ``meta``, ``status``, ``server status``, ``label``, ``problem``,
            ``activity``, ``event``, ``model`` or ``embeddings``.
        encoding: ``cbor``, ``packed`` or ``json``; "" if none was recognised.
        n_bytes: size of the payload.
        facts: what it says, as plain JSON values.
        notes: what is worth knowing although it is accepted.
        refusal: reason, words and remedy, where it would be refused.
    """

    kind: str
    encoding: str
    n_bytes: int
    facts: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    refusal: tuple[str, str, str] | None = None

    @property
    def accepted(self) -> bool:
        """Whether it would be taken."""
        return self.refusal is None


def inspect_payload(
    payload: bytes,
    *,
    content_type: str = "",
    meta: DeviceMeta | None = None,
    known_units: Collection[str] = (),
) -> Report:
    """Say what a payload is; nothing is raised, whatever the bytes.

    Args:
        payload: bytes as they would be published.
        content_type: MQTT 5 content type, "" for none.
        meta: the device's description, for messages that describe no channels.
        known_units: units that can be converted; others are noted.
    """
    try:
        encoding = encoding_of(payload, content_type)
    except PayloadError as error:
        return Report("payload", "", len(payload), refusal=_refusal(error))
    schema = _SCHEMA_READERS[encoding](payload)
    unknown = ("message" if schema else "sample batch", None)
    messages = _MESSAGES if encoding is Encoding.JSON else _CBOR_MESSAGES
    kind, describe = messages.get(schema, unknown) if schema else unknown
    report = Report(kind, encoding.value, len(payload), notes=tuple(_around(payload, encoding)))
    try:
        if describe is not None:
            return replace(report, facts=describe(payload))
        if schema is not None:
            known = ", ".join(messages)
            words = f"schema {ascii(schema)[:80]} is not known; known: {known}"
            return replace(report, refusal=_refusal(PayloadError("version", words)))
        batch = decode_batch(payload, device="device", content_type=content_type, meta=meta)
    except PayloadError as error:
        return replace(report, refusal=_refusal(error))
    notes = (*_batch_notes(batch, meta, known_units), *report.notes)
    return replace(report, facts=_batch_facts(batch), notes=notes)


def clock_words(t0: int) -> str:
    """What a ``t0`` can be: a time of day in some unit, or a time since the boot.

    Examples:
        >>> clock_words(1_700_000_000_123_456)
        'Unix time 2023-11-14T22:13:20.123456Z in microseconds'
        >>> clock_words(1_700_000_000_123_456_789)
        'Unix time 2023-11-14T22:13:20.123456Z in nanoseconds, which is recognised; microseconds are meant'
        >>> clock_words(90_000_000)
        '0:01:30 since the boot in microseconds'
    """
    for unit, nanoseconds in _CLOCK_UNITS.items():
        us = t0 * nanoseconds // 1_000
        if not _UNIX_FROM_US <= us < _UNIX_TO_US:
            continue
        if unit == "microseconds":
            return f"Unix time {_iso(us)} in microseconds"
        words = f"Unix time {_iso(us)} in {unit}, which is recognised; microseconds are meant"
        if unit == "nanoseconds":
            return words
        since = timedelta(microseconds=t0)
        return f"{words}. If it is a time since the boot: {since}. The next batches tell which"
    if t0 < _UNIX_TO_US:
        return f"{timedelta(microseconds=t0)} since the boot in microseconds"
    since = timedelta(microseconds=t0 // 1_000)
    return f"{since} since the boot in nanoseconds, which is recognised; microseconds are meant"


def _batch_facts(batch: SampleBatch) -> dict[str, Any]:
    rows = len(batch.samples)
    return {
        "boot": batch.boot,
        "seq": batch.seq,
        "t0": batch.t0_us,
        "t0_means": clock_words(batch.t0_us),
        "fs": batch.fs,
        "rows": rows,
        "duration_s": rows / batch.fs,
        "sample_type": str(batch.samples.dtype),
        "channels": _channel_facts(batch.channels),
        "first_row": [float(value) for value in batch.physical()[0]],
    }


def _channel_facts(channels: tuple[Channel, ...]) -> list[dict[str, Any]]:
    return [{"name": one.name, "unit": one.unit, "scale": one.scale} for one in channels]


def _batch_notes(
    batch: SampleBatch, meta: DeviceMeta | None, known_units: Collection[str]
) -> tuple[str, ...]:
    notes = []
    unknown = sorted({one.unit for one in batch.channels} - set(known_units)) if known_units else []
    if unknown:
        notes.append(
            f"The unit {', '.join(map(repr, unknown))} cannot be converted: a model is served only if it was "
            f"trained in the same. Units that can: {', '.join(sorted(known_units))}"
        )
    if meta is not None and batch.channels is not meta.channels:
        notes.append("The message describes its channels itself; the meta is not used")
    if meta is not None and batch.fs != meta.fs:
        notes.append(f"fs is {batch.fs:g} Hz here and {meta.fs:g} Hz in the meta; that of the message counts")
    return tuple(notes)


def _around(payload: bytes, encoding: Encoding) -> list[str]:
    if encoding is not Encoding.JSON:
        return []
    notes = []
    if payload.startswith(BYTE_ORDER_MARK):
        notes.append("A byte order mark before the JSON is ignored")
    if b"\0" in payload[len(trimmed(payload)) :]:
        notes.append("NUL bytes behind the JSON are ignored")
    return notes


def _schema_of(payload: bytes) -> str | None:
    """The schema that a JSON object names; None if it names none or is no object."""
    try:
        schema = load_object(payload).get("schema")
    except PayloadError:
        return None
    return None if schema is None else str(schema)


def _meta_facts(payload: bytes) -> dict[str, Any]:
    meta = decode_meta(payload)
    return {
        "fs": meta.fs,
        "channels": _channel_facts(meta.channels),
        "placement": meta.placement,
        "model": meta.model,
        "firmware": meta.firmware,
    }


def _status_facts(payload: bytes) -> dict[str, Any]:
    status = decode_device_status(payload)
    return {"state": status.state.value, "boot": status.boot, "since": _when(status.since_us)}


def _server_facts(payload: bytes) -> dict[str, Any]:
    status = decode_server_status(payload)
    return {
        "state": status.state.value,
        "since": _when(status.since_us),
        "updated": _when(status.updated_us),
        "model": status.model,
        "provider": status.provider,
        "counters": dict(status.counters),
        "rejected": dict(status.rejected),
    }


def _label_facts(payload: bytes) -> dict[str, Any]:
    return {name: value for name, value in label_to_dict(decode_label(payload)).items() if name != "schema"}


def _problem_facts(payload: bytes) -> dict[str, Any]:
    problem = decode_problem(payload)
    if problem is None:
        return {}
    return {
        "code": problem.code,
        "words": problem.words,
        "remedy": problem.remedy,
        "since": _when(problem.since_us),
        "count": problem.count,
    }


def _activity_facts(payload: bytes) -> dict[str, Any]:
    activity = decode_activity(payload)
    return {"activity": activity.activity, "label": activity.label, "since": _when(activity.since_us)}


def _event_facts(payload: bytes) -> dict[str, Any]:
    return {name: value for name, value in event_to_dict(decode_event(payload)).items() if name != "schema"}


def _embedding_facts(payload: bytes) -> dict[str, Any]:
    found = decode_embeddings(payload, "device")
    return {
        "boot": found.boot,
        "model": found.model,
        "dimensions": found.values.shape[1],
        "windows": found.windows.tolist(),
        "first_row": [float(value) for value in found.values[0]],
    }


def _model_facts(payload: bytes) -> dict[str, Any]:
    plain = model_message_to_dict(decode_model(payload))
    return {name: value for name, value in plain.items() if name != "schema"}


def _when(us: int | None) -> str | None:
    return None if us is None else _iso(us)


def _iso(us: int) -> str:
    try:
        return (_EPOCH + timedelta(microseconds=us)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return f"{us} microseconds, beyond the year 9999"


def _refusal(error: PayloadError) -> tuple[str, str, str]:
    return error.reason, error.message, REMEDIES[error.reason]


_MESSAGES: dict[str, tuple[str, Callable[[bytes], dict[str, Any]]]] = {
    META_SCHEMA: ("meta", _meta_facts),
    DEVICE_SCHEMA: ("status", _status_facts),
    SERVER_SCHEMA: ("server status", _server_facts),
    LABEL_SCHEMA: ("label", _label_facts),
    PROBLEM_SCHEMA: ("problem", _problem_facts),
    ACTIVITY_SCHEMA: ("activity", _activity_facts),
    EVENT_SCHEMA: ("event", _event_facts),
    MODEL_SCHEMA: ("model", _model_facts),
}
_CBOR_MESSAGES = {EMBEDDING_SCHEMA: ("embeddings", _embedding_facts)}
_SCHEMA_READERS: dict[Encoding, Callable[[bytes], str | None]] = {
    Encoding.JSON: _schema_of,
    Encoding.CBOR: schema_of,
    Encoding.PACKED: lambda _payload: None,
}
