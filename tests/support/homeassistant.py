"""What Home Assistant documents of device discovery, as a JSON schema in our own words.

Written from the pages "MQTT" (device discovery payload, availability, origin), "MQTT sensor" and "MQTT binary
sensor" of its documentation. Home Assistant's own validation runs in test_homeassistant_real.py where it is
installed; it needs a newer Python than we do.
"""

from __future__ import annotations

import json
from typing import Any

import jsonschema

TEXT = {"type": "string", "minLength": 1}
TOPIC = {"type": "string", "pattern": r"^[^+#\0]+$", "maxLength": 65_535}
AVAILABILITY = {
    "type": "object",
    "additionalProperties": False,
    "required": ["topic"],
    "properties": {
        "topic": TOPIC,
        "payload_available": TEXT,
        "payload_not_available": TEXT,
        "value_template": TEXT,
    },
}
SHARED = {"availability": {"type": "array", "items": AVAILABILITY}, "qos": {"enum": [0, 1, 2]}}
ENTITY = {
    **SHARED,
    "unique_id": TEXT,
    "name": {"type": ["string", "null"]},
    "entity_category": {"enum": ["config", "diagnostic"]},
    "state_topic": TOPIC,
    "value_template": TEXT,
    "expire_after": {"type": "integer", "minimum": 0},
    "icon": {"type": "string", "pattern": "^mdi:"},
}


def _platform(name: str, required: list[str], **fields: Any) -> dict[str, Any]:
    return {
        "if": {"properties": {"platform": {"const": name}}},
        "then": {
            "required": ["platform", "unique_id", *required],
            "additionalProperties": False,
            "properties": {"platform": {"const": name}, **ENTITY, **fields},
        },
    }


COMPONENT = {
    "type": "object",
    "required": ["platform"],
    "properties": {"platform": {"enum": ["sensor", "binary_sensor", "event"]}},
    "allOf": [
        _platform(
            "sensor", ["state_topic"], device_class={"enum": ["enum"]},
            options={
                "type": "array", "items": {"type": "string", "maxLength": 255}, "minItems": 1,
                "uniqueItems": True,
            },
        ),
        _platform(
            "binary_sensor", ["state_topic"], device_class={"enum": ["connectivity", "problem", "occupancy"]},
            payload_on=TEXT, payload_off=TEXT,
        ),
        _platform(
            "event", ["state_topic", "event_types"], device_class={"enum": ["motion"]},
            event_types={"type": "array", "items": TEXT, "minItems": 1},
        ),
    ],
}  # fmt: skip
SCHEMA = {
    "type": "object",
    "required": ["device", "origin", "components"],
    "additionalProperties": False,
    "properties": {
        **SHARED,
        "device": {
            "type": "object",
            "required": ["identifiers"],
            "additionalProperties": False,
            "properties": {
                "identifiers": {"type": "array", "items": TEXT, "minItems": 1},
                **dict.fromkeys(("name", "manufacturer", "model", "sw_version", "serial_number"), TEXT),
            },
        },
        "origin": {
            "type": "object",
            "required": ["name"],
            "additionalProperties": False,
            "properties": {"name": TEXT, "sw_version": TEXT, "support_url": TEXT},
        },
        "components": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": "^[A-Za-z0-9_-]+$"},
            "additionalProperties": COMPONENT,
        },
    },
}


def check_discovery(topic: str, payload: bytes) -> dict[str, Any]:
    """Assert that Home Assistant takes a discovery message; what it says, {} if it removes the device."""
    head, _, rest = topic.partition("/device/")
    object_id, _, last = rest.partition("/")
    assert head
    assert last == "config"
    assert object_id.replace("-", "").replace("_", "").isalnum()
    assert object_id.isascii()
    if not payload:
        return {}
    message: dict[str, Any] = json.loads(payload)
    jsonschema.Draft7Validator(SCHEMA).validate(message)
    return message


def check_activity(discovery: dict[str, Any], payload: bytes) -> str:
    """Assert that a state is one that was announced; the state."""
    state = json.loads(payload)["activity"]
    assert state in discovery["components"]["activity"]["options"]
    assert len(state) <= 255
    return str(state)
