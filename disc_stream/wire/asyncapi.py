"""The AsyncAPI 3 document of the MQTT side, generated from the messages' own schemas.

``disc-stream wire asyncapi`` prints it; ``docs/reference/asyncapi.yaml`` is that text, as a test
asserts. Schemas come from the ``msgspec`` structures that encode and decode the messages, limits from
``wire.limits``, topics from ``wire.topics``, examples from the encoders (``wire.examples``).

Source: AsyncAPI 3.0.0, and its MQTT bindings 0.2.0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import yaml

from disc_stream.wire import examples, limits
from disc_stream.wire.activity import ActivityMessage
from disc_stream.wire.codecs import CONTENT_TYPES, Encoding
from disc_stream.wire.embedding import CONTENT_TYPE as EMBEDDING_TYPE
from disc_stream.wire.event import Event
from disc_stream.wire.label import LabelMessage
from disc_stream.wire.meta import MetaMessage
from disc_stream.wire.problem import ProblemMessage
from disc_stream.wire.servermodel import ModelMessage
from disc_stream.wire.status import DeviceStatusMessage, ServerStatusMessage
from disc_stream.wire.topics import DEFAULT_PREFIX, DEVICE_PATTERN, Kind, Topics

VERSION = "1.0.0"
"""Of what the document describes: the wire, whose first version this is; not of the program."""

_BINDING = "0.2.0"
_DEVICE = "{device}"
_SCHEMAS = "#/components/schemas/{name}"


@dataclass(frozen=True, slots=True)
class Form:
    """One kind of message.

    Args:
        name: in the document, a word in camel case.
        summary: one line.
        payload: its structure, or a JSON schema.
        examples: payloads as they are published, by name.
        content_type: MQTT 5 content type.
        description: more than one line of it, "" for nothing more.
    """

    name: str
    summary: str
    payload: type[msgspec.Struct] | Mapping[str, Any]
    examples: Mapping[str, bytes]
    content_type: str = "application/json"
    description: str = ""

    @property
    def is_json(self) -> bool:
        """Whether the payload is JSON; examples of others are written as hexadecimal digits."""
        return self.content_type.endswith("json")


@dataclass(frozen=True, slots=True)
class Channel:
    """One topic, or one for each device.

    Args:
        name: in the document.
        address: the topic.
        summary: one line.
        forms: what is published there.
        sent: whether the server publishes there (True), reads there (False), or does neither (None).
        retained: whether the broker keeps the last message.
    """

    name: str
    address: str
    summary: str
    forms: tuple[Form, ...]
    sent: bool | None
    retained: bool = True
    description: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)


def channels(prefix: str = DEFAULT_PREFIX) -> tuple[Channel, ...]:
    """All channels, with the examples of their messages.

    Raises:
        TopicError: if the prefix is not usable.
    """
    topics = Topics(prefix)

    def of(kind: Kind) -> str:
        return f"{topics.prefix}/{_DEVICE}/{kind.value}"

    one = examples
    return (
        Channel("raw", of(Kind.RAW), "Samples of a device.", _batches(), sent=False, retained=False),
        Channel(
            "meta", of(Kind.META), "What a device's samples are. An empty payload withdraws it.",
            (Form("meta", "Rate, channels, units, scales.", MetaMessage, {"wrist": one.meta()}),), sent=False,
        ),
        Channel(
            "status", of(Kind.STATUS), "Whether a device is connected; also its last will.",
            (Form("status", "Online or offline.", DeviceStatusMessage, one.device_status()),), sent=False,
        ),
        Channel(
            "label", of(Kind.LABEL), "The label of a device's latest window.",
            (Form("label", "What the device's wearer does.", LabelMessage, one.labels()),), sent=True,
            description="Labels that were deferred come later, say so, and are not retained. A device that "
            "labels itself publishes its labels here; the server does not read them.",
        ),
        Channel(
            "embedding", of(Kind.EMBEDDING), "Embeddings of windows that a device has labelled itself.",
            (
                Form(
                    "embedding", "Embeddings of some windows as one CBOR map.", _EMBEDDING,
                    {"twoWindows": one.embedding()}, EMBEDDING_TYPE,
                ),
            ),
            sent=None, retained=False,
            description="From disc-stream edge label --upload embeddings to whoever wants them; the server "
            "does not read them.",
        ),
        Channel(
            "problem", of(Kind.PROBLEM), "Why a device gets no labels. An empty payload: it is over.",
            (Form("problem", "What is wrong and what to do.", ProblemMessage, {"rate": one.problem()}),),
            sent=True,
        ),
        Channel(
            "activity", of(Kind.ACTIVITY), "What a device's wearer does, when that changes and stays.",
            (Form("activity", "An activity.", ActivityMessage, {"walking": one.activity()}),), sent=True,
            description="With serve --home-assistant: at most once in 5 s, and again while it holds.",
        ),
        Channel(
            "event", of(Kind.EVENT), "What begins and ends, and who comes and goes.",
            (Form("event", "An event; it may come twice, with the same id.", Event, one.events()),),
            sent=True, retained=False, description="With serve --events.",
        ),
        Channel(
            "serverStatus", topics.server_status, "Whether the server works; also its last will.",
            (Form("serverStatus", "State and counters.", ServerStatusMessage, one.server_status()),),
            sent=True,
        ),
        Channel(
            "serverModel", topics.server_model, "The model that serves.",
            (Form("serverModel", "What it reads, and its clusters.", ModelMessage, {"wrist": one.model()}),),
            sent=True,
        ),
        Channel(
            "serverAvailability", topics.server_availability,
            "Whether activities are told; also the last will.",
            (Form("availability", "One word.", _AVAILABILITY, {"online": b"online"}, "text/plain"),),
            sent=True,
        ),
    )  # fmt: skip


def document(prefix: str = DEFAULT_PREFIX) -> dict[str, Any]:
    """The document as plain values.

    Raises:
        TopicError: if the prefix is not usable.
    """
    every = channels(prefix)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Motion and labels over MQTT",
            "version": VERSION,
            "description": " ".join(_ABOUT.split()),
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": "127.0.0.1:1883",
                "protocol": "mqtt",
                "description": "The broker that devices, server and readers share; MQTT 3.1.1 or 5.",
            }
        },
        "channels": {one.name: _channel(one) for one in every},
        "operations": {_operation_name(one): _operation(one) for one in every if one.sent is not None},
        "components": {
            "messages": {form.name: _message(form) for one in every for form in one.forms},
            "schemas": _schemas(every),
        },
    }


def as_yaml(prefix: str = DEFAULT_PREFIX) -> str:
    """The document as YAML, as it stands in ``docs/reference/asyncapi.yaml``."""
    return yaml.dump(document(prefix), Dumper=_Plain, sort_keys=False, allow_unicode=True, width=110)


class _Plain(yaml.SafeDumper):
    """Writes values out wherever they stand: no anchors, which some readers of AsyncAPI do not know."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class's signature
        return True


def _channel(one: Channel) -> dict[str, Any]:
    messages = {form.name: {"$ref": f"#/components/messages/{form.name}"} for form in one.forms}
    out: dict[str, Any] = {"address": one.address, "summary": one.summary}
    if one.description:
        out["description"] = one.description
    if _DEVICE in one.address:
        out["parameters"] = {
            "device": {
                "description": f"Id of the device: {DEVICE_PATTERN}",
                "examples": [examples.DEVICE],
            }
        }
    return {**out, "messages": messages}


def _operation_name(one: Channel) -> str:
    return f"{'send' if one.sent else 'receive'}{one.name[0].upper()}{one.name[1:]}"


def _operation(one: Channel) -> dict[str, Any]:
    return {
        "action": "send" if one.sent else "receive",
        "channel": {"$ref": f"#/channels/{one.name}"},
        "summary": one.summary,
        "messages": [{"$ref": f"#/channels/{one.name}/messages/{form.name}"} for form in one.forms],
        "bindings": {"mqtt": {"qos": 1, "retain": one.retained, "bindingVersion": _BINDING}},
    }


def _message(form: Form) -> dict[str, Any]:
    shown = {name: _shown(form, payload) for name, payload in form.examples.items()}
    out: dict[str, Any] = {"name": form.name, "summary": form.summary, "contentType": form.content_type}
    if form.description:
        out["description"] = form.description
    out["payload"] = {"$ref": _SCHEMAS.format(name=_schema_name(form))}
    out["examples"] = [{"name": name, "payload": payload} for name, payload in shown.items()]
    return out


def _shown(form: Form, payload: bytes) -> Any:
    if form.content_type == "text/plain":
        return payload.decode()
    return json.loads(payload) if form.is_json else payload.hex().upper()


def _schema_name(form: Form) -> str:
    if isinstance(form.payload, Mapping):
        return str(form.payload["title"])
    return form.payload.__name__


def _schemas(every: tuple[Channel, ...]) -> dict[str, Any]:
    forms = [form for one in every for form in one.forms]
    structures = [form.payload for form in forms if not isinstance(form.payload, Mapping)]
    _, found = msgspec.json.schema_components(structures, ref_template=_SCHEMAS)
    written = {_schema_name(form): form.payload for form in forms if isinstance(form.payload, Mapping)}
    return {**written, **{name: _tidy(schema) for name, schema in found.items()}}


def _tidy(schema: Any) -> Any:
    """Descriptions as one paragraph, without the marks of docstrings."""
    if isinstance(schema, dict):
        return {name: _words(part) if name == "description" else _tidy(part) for name, part in schema.items()}
    return [_tidy(part) for part in schema] if isinstance(schema, list | tuple) else schema


def _words(text: Any) -> Any:
    if not isinstance(text, str):
        return _tidy(text)
    return " ".join(text.partition("\n\nArgs:")[0].replace("``", "").split())


def _batches() -> tuple[Form, ...]:
    return tuple(
        Form(
            f"batch{encoding.value.capitalize()}",
            f"A batch of samples as {words}.",
            _batch_schema() if encoding is Encoding.JSON else _bytes_schema(encoding, words),
            {"twoRows": examples.batch(encoding)},
            CONTENT_TYPES[encoding],
        )
        for encoding, words in _ENCODINGS.items()
    )


_ENCODINGS = {
    Encoding.CBOR: "one CBOR map, its samples a typed array of RFC 8746",
    Encoding.PACKED: "a packed C structure",
    Encoding.JSON: "JSON",
}


def _bytes_schema(encoding: Encoding, words: str) -> dict[str, Any]:
    return {
        "title": f"Batch{encoding.value.capitalize()}",
        "description": f"Bytes: {words}; see docs/reference/wire.md. Examples are hexadecimal digits.",
        "type": "string",
        "contentEncoding": "base16",
    }


def _batch_schema() -> dict[str, Any]:
    """A batch in JSON, whose reader is written by hand (``wire.codecs``); tests compare the two."""
    top = {"type": "integer", "minimum": 0, "maximum": limits.MAX_UINT32}
    name = {"type": "string", "minLength": 1, "maxLength": limits.MAX_NAME}
    unit = {"type": "string", "minLength": 1, "maxLength": limits.MAX_UNIT}
    scale = {"type": "number", "minimum": -limits.MAX_SCALE, "maximum": limits.MAX_SCALE, "not": {"const": 0}}
    most = {"minItems": 1, "maxItems": limits.MAX_CHANNELS}
    value = {"type": "number", "minimum": -limits.MAX_VALUE, "maximum": limits.MAX_VALUE}
    return {
        "title": "BatchJson",
        "description": "Consecutive samples of one device, one row per moment.",
        "type": "object",
        "required": ["boot", "seq", "t0", "fs", "samples"],
        "properties": {
            "boot": {**top, "description": "Changes whenever seq begins again."},
            "seq": {**top, "description": "Number of the batch within the boot."},
            "t0": {**top, "maximum": limits.MAX_T0_US, "description": "Device clock, microseconds."},
            "fs": {"type": "number", "exclusiveMinimum": 0, "maximum": limits.MAX_FS, "description": "Hz."},
            "channels": {"type": "array", "items": name, "uniqueItems": True, **most},
            "units": {"oneOf": [unit, {"type": "array", "items": unit, **most}]},
            "scale": {"oneOf": [scale, {"type": "array", "items": scale, **most}]},
            "samples": {
                "type": "array", "minItems": 1, "maxItems": limits.MAX_SAMPLES,
                "items": {"type": "array", "items": value, **most},
            },
        },
        "patternProperties": {"^x-": {}},
        "additionalProperties": False,
        "dependencies": {"channels": ["units"], "units": ["channels"], "scale": ["channels"]},
    }  # fmt: skip


def every_example(prefix: str = DEFAULT_PREFIX) -> Iterator[tuple[Channel, Form, str, bytes]]:
    """Each example of the document, as it would be published."""
    for one in channels(prefix):
        for form in one.forms:
            for name, payload in form.examples.items():
                yield one, form, name, payload


_EMBEDDING = {
    "title": "EmbeddingCbor",
    "description": "Bytes: one CBOR map with the keys schema, boot, model, d, windows (tag 70, uint32) and "
    "values (tag 84, float16); see docs/reference/wire.md. Examples are hexadecimal digits.",
    "type": "string",
    "contentEncoding": "base16",
}
_AVAILABILITY = {"title": "Availability", "type": "string", "enum": ["online", "offline"]}

_ABOUT = """\
What wearables, the server and whoever reads its labels say to each other over an MQTT broker.
Operations are those of the server: it receives samples, and sends labels. All messages have QoS 1, which may
deliver one twice. Readers pass over fields that they do not know, in all messages but batches of samples.
docs/reference/wire.md says more than a schema can. What Home Assistant is told (serve --home-assistant, on
homeassistant/device/OBJECT/config) is not here: the form of that message is Home Assistant's, its MQTT
documentation describes it, and it changes with Home Assistant, not with this document. A channel without an
operation is between devices and whoever reads them.
"""
